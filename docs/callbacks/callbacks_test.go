// Package callbacks_test runs the documentation's callback handlers, each with its own runtime, and
// compares docs/callbacks.md with them.
package callbacks_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

const patience = 60 * time.Second // the first run compiles, or installs the npm package

// backend is a language's handler at work: where it listens, and the lines that its shop prints.
type backend struct {
	url   string
	lines chan string
}

// language is how a handler is run. Without its runtime on the machine only the documentation's text is
// checked; needed ones are always there.
type language struct {
	name   string
	needed bool
	there  func(t *testing.T) bool
	run    func(t *testing.T, secret string) *backend
}

func languages() []language {
	answers := func(name string, args ...string) func(*testing.T) bool {
		return func(t *testing.T) bool {
			t.Helper()
			return exec.CommandContext(t.Context(), name, args...).Run() == nil
		}
	}
	always := func(*testing.T) bool { return true }
	return []language{
		{"Go", true, always, func(t *testing.T, secret string) *backend {
			t.Helper()
			binary := filepath.Join(t.TempDir(), "backend")
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./go").CombinedOutput(); err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
			return start(t, exec.Command(binary), secret)
		}},
		{"Node", true, always, func(t *testing.T, secret string) *backend {
			t.Helper()
			if _, err := os.Stat("node/node_modules/standardwebhooks"); err != nil {
				install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
				install.Dir = "node"
				if out, err := install.CombinedOutput(); err != nil {
					t.Fatalf("npm ci: %v\n%s", err, out)
				}
			}
			return start(t, exec.Command("node", "node/serve.mjs"), secret)
		}},
		{"Laravel", false, answers("php", "-r", "require 'Illuminate/Http/autoload.php';"), func(t *testing.T, secret string) *backend {
			t.Helper()
			address := freeAddress(t)
			cmd := exec.Command("php", "-S", address, "laravel/serve.php")
			cmd.Env = append(os.Environ(), "SHOP_FILE="+filepath.Join(t.TempDir(), "shop"))
			b := start(t, cmd, secret)
			b.url = "http://" + address
			return b
		}},
		// Debian's python3-django belongs to Debian's Python.
		{"Django", false, answers("/usr/bin/python3", "-c", "import django"), func(t *testing.T, secret string) *backend {
			t.Helper()
			return start(t, exec.Command("/usr/bin/python3", "django/serve.py"), secret)
		}},
	}
}

// start runs a backend and waits until it listens. Its first line of the form "listening PORT", or PHP's
// word that it has started, says so.
func start(t *testing.T, cmd *exec.Cmd, secret string) *backend {
	t.Helper()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "DOLLR_CALLBACK_SECRET="+secret)
	output, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = input, input
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = input.Close()
	b := &backend{lines: make(chan string, 100)}
	read := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		<-read
		_ = output.Close()
	})
	up := make(chan string, 1)
	go func() {
		defer close(read)
		defer close(b.lines)
		for text := bufio.NewScanner(output); text.Scan(); {
			line := regexp.MustCompile(`^\[[^\]]*\] `).ReplaceAllString(text.Text(), "") // PHP's time
			what, rest, _ := strings.Cut(line, " ")
			switch {
			case what == "listening":
				up <- rest
			case strings.Contains(line, "Development Server"):
				up <- ""
			case what == "fulfilled" || what == "unpaid" || what == "asked":
				b.lines <- line
			default:
				if !strings.Contains(line, "Accepted") && !strings.Contains(line, "Closing") { // PHP names every connection
					t.Logf("backend: %s", line)
				}
			}
		}
	}()
	select {
	case port := <-up:
		b.url = "http://127.0.0.1:" + port
	case <-read:
		t.Fatal("the backend ended")
	case <-time.After(patience):
		t.Fatal("the backend does not come up")
	}
	return b
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// sent is one callback on its way: what is signed, and what arrives.
type sent struct {
	name, id, body, arrives string // arrives: body, unless something on the way changes it
	at                      time.Time
	secrets                 []string
	code                    int    // wanted answer
	line                    string // wanted line of the shop
}

func event(kind, order, extra string) string {
	return fmt.Sprintf(`{"type":%q,"timestamp":"2026-11-22T10:00:00.000Z"%s,"data":{"id":"pay_1","amounts":{"payee_amount":"250.00"},"metadata":{"order":%q,"name":"Zo\u00eb \u003cé\u003e 日本"}}}`, kind, extra, order)
}

func TestHandlers_acceptWhatTheRelaySignsAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, lang := range languages() {
		t.Run(lang.name, func(t *testing.T) {
			t.Parallel()
			if !lang.needed && !lang.there(t) {
				t.Logf("%s is not on this machine: its handler was compared with the documentation, but not run", lang.name)
				return
			}
			now, mine, other := time.Now(), callback.NewSecretText(), callback.NewSecretText()
			b := lang.run(t, mine)
			paid := event("payment.succeeded", "1042", "")
			for _, s := range []sent{
				{name: "a success", id: "evt_1", body: paid, code: 204, line: "fulfilled 1042"},
				{name: "the same again", id: "evt_1", body: paid, code: 204},
				{name: "a second payment of the same order", id: "evt_2", body: paid, code: 204},
				{name: "during a rotation of secrets", id: "evt_3", body: event("payment.succeeded", "1043", ""), secrets: []string{other, mine}, code: 204, line: "fulfilled 1043"},
				{name: "a failure", id: "evt_4", body: event("payment.failed", "1044", ""), code: 204, line: "unpaid 1044"},
				{name: "a mismatch", id: "evt_5", body: event("payment.mismatch", "1045", ""), code: 204, line: "asked 1045"},
				{name: "an unknown type", id: "evt_6", body: event("refund.succeeded", "1046", ""), code: 204},
				{name: "a test", id: "evt_7", body: event("payment.succeeded", "1047", `,"test":true`), code: 204},
				{name: "a stranger's secret", id: "evt_8", body: paid, secrets: []string{other}, code: 401},
				{name: "a changed body", id: "evt_9", body: paid, arrives: strings.Replace(paid, "1042", "1048", 1), code: 401},
				{name: "a body that was parsed and written again", id: "evt_10", body: paid, arrives: strings.ReplaceAll(paid, `":`, `": `), code: 401},
				{name: "an old recording", id: "evt_11", body: paid, at: now.Add(-6 * time.Minute), code: 401},
				{name: "one from the future", id: "evt_12", body: paid, at: now.Add(6 * time.Minute), code: 401},
				{name: "the last", id: "evt_13", body: event("payment.succeeded", "1049", ""), code: 204, line: "fulfilled 1049"},
			} {
				b.post(t, s, mine)
			}
		})
	}
}

// post sends a callback and compares what the backend answers, and what its shop does.
func (b *backend) post(t *testing.T, s sent, mine string) {
	t.Helper()
	if s.at.IsZero() {
		s.at = time.Now()
	}
	if s.arrives == "" {
		s.arrives = s.body
	}
	if s.secrets == nil {
		s.secrets = []string{mine}
	}
	var secrets []callback.Secret
	for _, text := range s.secrets {
		secret, err := callback.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/", strings.NewReader(s.arrives))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(callback.HeaderID, s.id)
	request.Header.Set(callback.HeaderTimestamp, strconv.FormatInt(s.at.Unix(), 10))
	request.Header.Set(callback.HeaderSignature, callback.Sign(s.id, s.at, []byte(s.body), secrets))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	said, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode != s.code {
		t.Errorf("%s: answered %d %s, want %d", s.name, answer.StatusCode, said, s.code)
	}
	if s.line == "" {
		return // a line that nobody wanted is found by the next one that is wanted
	}
	select {
	case got := <-b.lines:
		if got != s.line {
			t.Errorf("%s: the shop did %q, want %q", s.name, got, s.line)
		}
	case <-time.After(patience):
		t.Errorf("%s: the shop did nothing, want %q", s.name, s.line)
	}
}

// The documentation shows the handlers as they were tested. UPDATE_DOCS=1 writes them into it.
func TestDocument_showsTheHandlersThatAreTested(t *testing.T) {
	t.Parallel()
	const document = "../callbacks.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	block := regexp.MustCompile("(?s)<!-- (callbacks/[a-z/]+[A-Za-z.]+) -->\n```([a-z]+)\n(.*?)```\n")
	updated := block.ReplaceAllFunc(text, func(found []byte) []byte {
		parts := block.FindSubmatch(found)
		file, err := os.ReadFile(filepath.Join("..", string(parts[1])))
		if err != nil {
			t.Error(err)
			return found
		}
		shown++
		return fmt.Appendf(nil, "<!-- %s -->\n```%s\n%s```\n", parts[1], parts[2], file)
	})
	if want := len(languages()); shown != want {
		t.Errorf("%s shows %d handlers, want %d", document, shown, want)
	}
	if bytes.Equal(updated, text) {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Errorf("%s shows another text than the files; write it by UPDATE_DOCS=1 go test ./docs/callbacks", document)
		return
	}
	if err := os.WriteFile(document, updated, 0o644); err != nil {
		t.Error(err)
	}
}
