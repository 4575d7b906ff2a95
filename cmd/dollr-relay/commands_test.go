package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// command runs one operator command against a relay and returns its exit code and what it wrote.
func command(relay *process, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(append(args, "--relay-url", relay.url, "--api-key", testKey), &out, &errs)
	return code, out.String(), errs.String()
}

// fine runs a command that must succeed and returns what it wrote.
func fine(t *testing.T, relay *process, args ...string) string {
	t.Helper()
	code, stdout, stderr := command(relay, args...)
	if code != exitFine {
		t.Fatalf("%v = %d: %s", args, code, stderr)
	}
	return stdout
}

// settle registers a payment, completes it and returns its id.
func (s *site) settle(relay *process, status string) string {
	s.t.Helper()
	reference, registration := s.payment()
	id, _ := s.must("POST", relay.url+"/v1/payments", registration, 201)["id"].(string)
	s.set(reference, status)
	eventually(s.t, "the payment is final", func() bool {
		return s.must("POST", relay.url+"/v1/payments/"+id+"/verify", "", 200)["final"] == true
	})
	return id
}

func TestCommands_operatorSeesAndRedelivers(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	down.Store(true)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, "the shop is being rebuilt", http.StatusTeapot)
		}
	}))
	t.Cleanup(hook.Close)
	site := newSite(t, hook.URL, "RELAY_CALLBACK_SCHEDULE=0s")
	relay := site.start()
	paid, failed := site.settle(relay, "COMPLETED"), site.settle(relay, "FAILED")

	eventually(t, "both callbacks are listed as dead, with the answer", func() bool {
		list := fine(t, relay, "callbacks", "list", "--state", "dead")
		return strings.Contains(list, paid) && strings.Contains(list, failed) && strings.Contains(list, "418")
	})
	var first struct {
		ID, State string
		Attempts  []struct{ Response string }
	}
	lines := strings.Split(strings.TrimSpace(fine(t, relay, "callbacks", "list", "--json")), "\n")
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || len(lines) != 2 {
		t.Fatalf("callbacks list --json = %v, %v; want two JSON lines", lines, err)
	}
	if first.State != "dead" || len(first.Attempts) != 1 || !strings.Contains(first.Attempts[0].Response, "being rebuilt") {
		t.Errorf("the newest callback = %+v, want dead after one attempt with the receiver's words", first)
	}

	if out := fine(t, relay, "callbacks", "redeliver", "--dead", "--since", "1ns"); !strings.HasPrefix(out, "0 callbacks") {
		t.Errorf("redeliver --dead --since 1ns: %s, want none of the older ones", out)
	}
	down.Store(false)
	if out := fine(t, relay, "callbacks", "redeliver", "--dead", "--since", "24h"); !strings.HasPrefix(out, "2 callbacks") {
		t.Errorf("redeliver --dead: %s, want both", out)
	}
	eventually(t, "both are delivered", func() bool {
		return strings.Count(fine(t, relay, "callbacks", "list", "--state", "delivered", "--json"), "\n") == 2
	})
	if out := fine(t, relay, "callbacks", "redeliver", first.ID); !strings.HasPrefix(out, "1 callback ") {
		t.Errorf("redeliver ID of a delivered callback: %s, want it on its way again", out)
	}
	if code, _, stderr := command(relay, "callbacks", "redeliver", "evt_unknown"); code != exitFailed || !strings.Contains(stderr, "evt_unknown") {
		t.Errorf("redeliver of an unknown id = %d, %s; want 1 and its name", code, stderr)
	}

	if out := fine(t, relay, "payments", "list", "--outcome", "succeeded"); !strings.Contains(out, paid) || strings.Contains(out, failed) {
		t.Errorf("payments list --outcome succeeded:\n%s, want %s only", out, paid)
	}
	if out := fine(t, relay, "payments", "show", paid); !strings.Contains(out, "payee_amount=250.00") || !strings.Contains(out, "Registered") {
		t.Errorf("payments show:\n%s, want amounts and timeline", out)
	}
	var shown struct{ ID string }
	if err := json.Unmarshal([]byte(fine(t, relay, "payments", "verify", paid, "--json")), &shown); err != nil || shown.ID != paid {
		t.Errorf("payments verify --json = %+v, %v; want the payment", shown, err)
	}
	if out := fine(t, relay, "payments", "reconcile"); !strings.Contains(out, "asked about") {
		t.Errorf("payments reconcile:\n%s, want its report", out)
	}
}

func TestCommands_sayWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no key", []string{"payments", "list", "--relay-url", "http://localhost:1"}, exitUsage, "RELAY_API_KEY"},
		{"no URL", []string{"payments", "list", "--relay-url", "localhost", "--api-key", testKey}, exitUsage, "RELAY_URL"},
		{"nothing to redeliver", []string{"callbacks", "redeliver", "--api-key", testKey}, exitUsage, "--dead"},
		{"since without dead", []string{"callbacks", "redeliver", "evt_1", "--since", "24h", "--api-key", testKey}, exitUsage, "--since"},
		{"an unknown state", []string{"callbacks", "list", "--state", "lost", "--api-key", testKey}, exitUsage, "pending"},
		{"an unknown type", []string{"callbacks", "trigger", "payment.done", "--forward", "http://localhost:1"}, exitUsage, "payment.succeeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			if code := run(tt.args, &out, &errs); code != tt.code || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("%v = %d, %s; want %d with %q", tt.args, code, errs.String(), tt.code, tt.want)
			}
		})
	}
}

// A developer listens, stops, and listens again, while the relay restarts in between: each event comes
// once, signed with the printed secret.
func TestCommands_listenResumes(t *testing.T) {
	t.Parallel()
	received := make(chan string, 10)
	var verifier atomic.Pointer[callback.Verifier]
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		message, err := verifier.Load().Read(r)
		if err != nil {
			t.Errorf("forwarded event: %v", err)
		}
		var event struct {
			Type string
			Test bool
			Data struct{ ID string }
		}
		if err := json.Unmarshal(message.Body, &event); err != nil {
			t.Errorf("forwarded event: %v", err)
		}
		received <- fmt.Sprintf("%s %s %t", event.Type, event.Data.ID, event.Test)
	}))
	t.Cleanup(backend.Close)
	site := newSite(t, "http://127.0.0.1:1/nobody")
	port := strings.TrimPrefix(freeAddress(t), "127.0.0.1:")
	site.env = append(site.env, "RELAY_LISTEN=127.0.0.1:"+port, "RELAY_URL=http://127.0.0.1:"+port, "RELAY_API_KEY="+testKey)
	next := func(what, want string) {
		t.Helper()
		select {
		case got := <-received:
			if !strings.HasPrefix(got, want) {
				t.Fatalf("%s: %s came, want %s", what, got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s: nothing came", what)
		}
	}

	secretFile := filepath.Join(site.config, "dollr-relay", "listen.secret")
	relay := site.start()
	listener := site.listen(backend.URL)
	eventually(t, "the secret is printed and kept", func() bool {
		kept, err := os.ReadFile(secretFile)
		return err == nil && strings.Contains(listener.out.String(), "whsec_") && strings.Contains(listener.out.String(), strings.TrimSpace(string(kept)))
	})
	kept, err := os.ReadFile(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(kept)) == site.secret {
		t.Error("the developer's secret is the relay's own")
	}
	if info, err := os.Stat(secretFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file: %v, %v; want mode 0600", info.Mode(), err)
	}
	verifier.Store(anyVerifier(t, strings.TrimSpace(string(kept))))

	first := site.settle(relay, "COMPLETED")
	next("the first event", "payment.succeeded "+first+" false")
	relay.kill()
	relay = site.start()
	second := site.settle(relay, "FAILED")
	next("after the relay's restart", "payment.failed "+second+" false")
	listener.stop()
	third := site.settle(relay, "COMPLETED")
	listener = site.listen(backend.URL)
	next("after the listener's restart", "payment.succeeded "+third+" false")
	trigger := exec.CommandContext(t.Context(), site.binary, "callbacks", "trigger", "payment.failed", "--forward", backend.URL)
	trigger.Env = site.env
	if out, err := trigger.CombinedOutput(); err != nil {
		t.Fatalf("callbacks trigger: %v\n%s", err, out)
	}
	next("an invented event", "payment.failed pay_")
	listener.stop()
	select {
	case got := <-received:
		t.Errorf("%s came again", got)
	default:
	}
}

// listening is a running `callbacks listen`.
type listening struct {
	cmd *exec.Cmd
	out *output
}

func (s *site) listen(forward string) *listening {
	s.t.Helper()
	l := &listening{cmd: exec.Command(s.binary, "callbacks", "listen", "--forward", forward), out: &output{}}
	l.cmd.Env, l.cmd.Stdout, l.cmd.Stderr = s.env, l.out, l.out
	if err := l.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if l.cmd.ProcessState == nil {
			_ = l.cmd.Process.Kill()
			_ = l.cmd.Wait()
		}
		if s.t.Failed() {
			s.t.Logf("callbacks listen said:\n%s", l.out)
		}
	})
	return l
}

// stop ends it as Ctrl+C does.
func (l *listening) stop() {
	_ = l.cmd.Process.Signal(os.Interrupt)
	_ = l.cmd.Wait()
}
