package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

const (
	testKey  = "test-api-key-with-at-least-32-characters"
	patience = 30 * time.Second
)

// site is what a relay process needs around it: a sandbox, and the environment that points to it.
type site struct {
	t       *testing.T
	binary  string
	sandbox string
	secret  string // signs the callbacks
	config  string // the user's configuration folder
	env     []string
}

// buildRelay builds the binary and returns where it is.
func buildRelay(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "dollr-relay")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// newSite builds the binary and starts a sandbox; callbacks go to hook.
func newSite(t *testing.T, hook string, env ...string) *site {
	t.Helper()
	return newSiteOf(t, buildRelay(t), hook, env...)
}

// newSiteOf is newSite with a binary that is built already.
func newSiteOf(t *testing.T, binary, hook string, env ...string) *site {
	t.Helper()
	folder := t.TempDir()
	s := &site{t: t, binary: binary, secret: callback.NewSecretText(), config: filepath.Join(folder, "config")}
	stand := sandbox.New(sandbox.Options{})
	server := httptest.NewServer(stand.Handler())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- stand.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("sandbox: %v", err)
		}
		server.Close()
	})
	s.sandbox = server.URL
	s.env = append(os.Environ(),
		"RELAY_LISTEN=127.0.0.1:0", "RELAY_ADMIN_LISTEN=127.0.0.1:0", "RELAY_DATABASE_URL=sqlite:"+filepath.Join(folder, "relay.db"),
		"RELAY_API_KEYS="+testKey, "RELAY_PAGE_SECRETS="+strings.Repeat("page-secret-", 4), "RELAY_POLL_MIN=500ms", "DOLLR_RATE=1000",
		"RELAY_CALLBACK_URLS="+hook, "RELAY_CALLBACK_SECRETS="+s.secret, "RELAY_SHUTDOWN_GRACE=2s", "XDG_CONFIG_HOME="+s.config)
	for _, pair := range sandbox.Environment(s.sandbox) {
		s.env = append(s.env, pair[0]+"="+pair[1])
	}
	s.env = append(s.env, env...)
	return s
}

// process is a running relay.
type process struct {
	cmd        *exec.Cmd
	url, admin string
	done       chan struct{} // closed when its log has ended
}

// start runs `serve` and waits until it is up.
func (s *site) start() *process {
	s.t.Helper()
	p := &process{cmd: exec.Command(s.binary, "serve"), done: make(chan struct{})} // killed by the test, or below
	p.cmd.Env = s.env
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	up := make(chan [2]string, 1)
	var log bytes.Buffer
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, Listen, Admin string }
			_ = json.Unmarshal(lines.Bytes(), &line)
			if line.Msg == "relay is up" {
				up <- [2]string{"http://" + line.Listen, "http://" + line.Admin}
			}
			_, _ = log.Write(append(lines.Bytes(), '\n'))
		}
	}()
	s.t.Cleanup(p.kill)
	select {
	case addresses := <-up:
		p.url, p.admin = addresses[0], addresses[1]
	case <-p.done:
		s.t.Fatalf("the relay ended:\n%s", log.String())
	case <-time.After(patience):
		s.t.Fatal("the relay does not come up")
	}
	return p
}

// kill ends the process as a crash would. Again is fine.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // SIGKILL; an error means that it is gone
	<-p.done
	_ = p.cmd.Wait()
}

// metrics is one look at all metrics of the process: what moves from one to another is not missed between two.
func (p *process) metrics(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	answer, err := http.Get(p.admin + "/metrics")
	if err != nil {
		t.Errorf("metrics: %v", err)
		return all
	}
	defer func() { _ = answer.Body.Close() }()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if end := strings.LastIndexByte(lines.Text(), ' '); end > 0 {
			all[lines.Text()[:end]] = lines.Text()[end+1:]
		}
	}
	return all
}

// ready is the code of /readyz, 0 without an answer.
func (p *process) ready() int {
	answer, err := http.Get(p.admin + "/readyz")
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// do makes a JSON request. An error means that there was no answer.
func do(ctx context.Context, method, url, body string) (int, map[string]any, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+testKey)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil, err
	}
	var fields map[string]any
	err = json.Unmarshal(text, &fields)
	return answer.StatusCode, fields, err
}

// must makes a request that the sandbox, or a relay that stays up, answers as wanted. Any goroutine may
// call it, so a failure does not end the test.
func (s *site) must(method, url, body string, want int) map[string]any {
	s.t.Helper()
	code, fields, err := do(s.t.Context(), method, url, body)
	if err != nil || code != want {
		s.t.Errorf("%s %s = %d, %v, %v; want %d", method, url, code, fields, err, want)
	}
	return fields
}

// payment makes a payment at the sandbox's Dollr and returns its reference and the body that registers it.
func (s *site) payment() (reference, registration string) {
	s.t.Helper()
	p := s.must("POST", s.sandbox+"/_sandbox/payments", `{"payee_amount":"250.00","payee_currency":"USD"}`, 201)
	reference, _ = p["reference_id"].(string)
	return reference, fmt.Sprintf(`{"operation":"collection","reference_id":%q,"session_id":%.0f,"source_type":"INVOICE"}`, reference, p["session_id"])
}

func (s *site) set(reference, status string) {
	s.t.Helper()
	s.must("PUT", s.sandbox+"/_sandbox/payments/"+reference+"/status", fmt.Sprintf(`{"status":%q}`, status), 200)
}

// output collects what a command writes, and can be read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// eventually fails the test if something does not become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !await(ok) {
		t.Fatalf("never: %s", what)
	}
}

// await reports whether something becomes true.
func await(ok func() bool) bool { return awaitFor(patience, ok) }

func awaitFor(limit time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// freeAddress is one that nobody listens to now.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func anyVerifier(t *testing.T, secrets ...string) *callback.Verifier {
	t.Helper()
	var parsed []callback.Secret
	for _, text := range secrets {
		secret, err := callback.ParseSecret(text)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, secret)
	}
	verifier, err := callback.NewVerifier(parsed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}
