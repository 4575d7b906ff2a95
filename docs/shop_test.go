package docs_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
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

// shop is a guide's shop at work, beside the sandbox and the relay of the quickstart.
type shop struct {
	*desk
	terminal *terminal
}

// visit lets a customer buy and pay in a browser, and says what he met if that did not end in thanks.
func (s *shop) visit(t *testing.T, how ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	args := []string{"testdata/customer.mjs", s.ports.Replace("http://localhost:3000/"), s.ports.Replace("http://localhost:8090")}
	cmd := exec.CommandContext(ctx, "node", append(args, how...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the customer: %v\n%s", err, out)
	}
}

// shipsOnce waits until the shop has shipped, has the same callback sent again, adds what must not move it, and counts.
func (s *shop) shipsOnce(t *testing.T) {
	t.Helper()
	s.terminal.waitFor(t, "shipping order ", 1)
	text, _ := s.terminal.said()
	found := regexp.MustCompile(`shipping order (\w+)`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("the shop names no order:\n%s", text)
	}
	number := found[1]
	listed := s.paste(t, "callbacks list", ". ./shop.env; ./dollr-relay callbacks list")
	id := regexp.MustCompile(`evt_\w+`).FindString(listed)
	s.paste(t, "redeliver", ". ./shop.env; ./dollr-relay callbacks redeliver "+id)
	s.acknowledged(t, id)

	another := `{"type":"payment.succeeded","data":{"metadata":{"order":"` + number + `"}}}`
	for _, tt := range []struct {
		what, body string
		stranger   bool
		code       int
	}{
		{"another payment of the same order", another, false, 2},
		{"a payment of an unknown order", strings.Replace(another, number, "77", 1), false, 2},
		{"a test", `{"test":true,` + another[1:], false, 2},
		{"an unknown type", strings.Replace(another, "payment.succeeded", "payment.dreamt", 1), false, 2},
		{"a refund", strings.Replace(another, "payment.", "refund.", 1), false, 2},
		{"an amount that differs", strings.Replace(another, "succeeded", "mismatch", 1), false, 2},
		{"a late failure", strings.Replace(another, "succeeded", "failed", 1), false, 2},
		{"the success after it", another, false, 2},
		{"a stranger's signature", another, true, 4},
	} {
		if got := s.post(t, tt.body, tt.stranger); got/100 != tt.code {
			t.Errorf("%s was answered %d, want %dxx", tt.what, got, tt.code)
		}
	}
	if text, _ = s.terminal.said(); strings.Count(text, "shipping order") != 1 {
		t.Errorf("the shop shipped %d times, want once:\n%s", strings.Count(text, "shipping order"), text)
	}
}

// acknowledged waits until a callback that was sent again has been taken a second time.
func (s *shop) acknowledged(t *testing.T, id string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		said := s.paste(t, "callbacks list", ". ./shop.env; ./dollr-relay callbacks list --json")
		if strings.Contains(said, id) && strings.Contains(said, `"state":"delivered"`) && strings.Count(said, `"duration_ms"`) >= 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the callback was not acknowledged again: %s", said)
		}
	}
}

// post sends an event that the relay never sent, signed with its secret or with a stranger's.
func (s *shop) post(t *testing.T, body string, stranger bool) int {
	t.Helper()
	env, err := os.ReadFile(filepath.Join(s.folder, "shop.env"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`whsec_\S+`).FindString(string(env))
	if stranger {
		text = callback.NewSecretText()
	}
	secret, err := callback.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	url := s.ports.Replace("http://localhost:3000/hooks/dollr")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(callback.HeaderID, "evt_"+strconv.FormatInt(now.UnixNano(), 36))
	request.Header.Set(callback.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	request.Header.Set(callback.HeaderSignature, callback.Sign(request.Header.Get(callback.HeaderID), now, []byte(body), []callback.Secret{secret}))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode
}

// install does what the guide's npm commands do, but with the versions that this folder's lock file pins, and without a
// network: scripts/setup.sh has installed them.
func (d *desk) install(t *testing.T, g guide) {
	t.Helper()
	code, ok := g.runs["install"]
	if !ok {
		return
	}
	packages, npm := strings.CutPrefix(strings.TrimSpace(code), "npm install ")
	if !npm || strings.HasPrefix(packages, "next ") && os.Getenv("NEXT") != "" {
		d.paste(t, "install", code)
		return
	}
	const installed = "integration/node_modules"
	if _, err := os.Stat(installed); err != nil {
		out, err := exec.CommandContext(t.Context(), "npm", "ci", "--prefix", "integration", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error").CombinedOutput()
		if err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	for name := range strings.FieldsSeq(packages) {
		if name == "next" {
			continue // see testdata/approuter.mjs
		}
		if _, err := os.Stat(filepath.Join(installed, name)); err != nil {
			t.Errorf("the guide installs %s, and integration/package.json does not", name)
		}
	}
	path, err := filepath.Abs(installed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(d.folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
}

// skeleton puts an application without anything of the guide into the folder, for a framework whose own generator cannot
// be had: Composer's packages are no Debian packages.
func (d *desk) skeleton(t *testing.T, name string) {
	t.Helper()
	source := filepath.Join("testdata", name)
	if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err := os.CopyFS(d.folder, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"bootstrap/cache", "storage/framework/sessions", "storage/framework/views"} {
		if err := os.MkdirAll(filepath.Join(d.folder, folder), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(d.folder, "storage/shop.sqlite"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
