package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/sandbox"
)

// running is a relay process.
type running struct {
	public, admin string
	process       *exec.Cmd
	done          chan struct{}

	mu  sync.Mutex
	buf bytes.Buffer
}

// Write collects the log.
func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *running) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// launch starts a relay and waits until it is up.
func launch(tb testing.TB, env map[string]string, args ...string) *running {
	tb.Helper()
	r := &running{process: command(tb, env, args...), done: make(chan struct{})}
	r.process.Stderr = r
	if err := r.process.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		_ = r.process.Wait() // the code says it
		close(r.done)
	}()
	tb.Cleanup(func() {
		_ = r.process.Process.Kill()
		<-r.done
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		for line := range strings.Lines(r.log()) {
			var up struct{ Msg, Listen, Admin string }
			if json.Unmarshal([]byte(line), &up) == nil && up.Msg == "relay is up" {
				r.public, r.admin = "http://"+up.Listen, "http://"+up.Admin
				return r
			}
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the relay does not come up: %s", r.log())
		}
	}
}

// stop asks the relay to stop and returns its exit code.
func (r *running) stop(tb testing.TB) int {
	tb.Helper()
	if err := r.process.Process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
	return r.exit(tb)
}

func (r *running) exit(tb testing.TB) int {
	tb.Helper()
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		tb.Fatal("the relay does not end")
	}
	return r.process.ProcessState.ExitCode()
}

func (r *running) get(tb testing.TB, address, key string) (int, string) {
	tb.Helper()
	return r.call(tb, "GET", address, key, "")
}

// call returns the answer's code and body; 0 if there is none.
func (r *running) call(tb testing.TB, method, address, key, body string) (int, string) {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), method, address, strings.NewReader(body))
	if err != nil {
		tb.Error(err)
		return 0, ""
	}
	request.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// TestServe_gracefulStop is the contract's stop, seen from outside of the process.
func TestServe_gracefulStop(t *testing.T) {
	t.Parallel()
	const grace = 5 * time.Second
	arrived, finished := make(chan struct{}, 1), make(chan time.Time, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-time.After(time.Second):
			finished <- time.Now()
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
			t.Error("a callback in flight was cut off")
		}
	}))
	t.Cleanup(backend.Close)
	stand := httptest.NewServer(sandbox.New(sandbox.Options{}).Handler())
	t.Cleanup(stand.Close)
	env := good(t)
	for _, pair := range sandbox.Environment(stand.URL)[:3] {
		env[pair[0]] = pair[1]
	}
	env["RELAY_SHUTDOWN_GRACE"] = grace.String()
	env["RELAY_CALLBACK_URLS"], env["RELAY_CALLBACK_SECRETS"] = backend.URL, "whsec_"+strings.Repeat("A", 36)
	r := launch(t, env, "serve")
	key := env["RELAY_API_KEYS"]

	register := func() (id, reference, token string) {
		_, text := r.call(t, "POST", stand.URL+"/_sandbox/payments", "", `{"payee_amount":"1.00","payee_currency":"USD"}`)
		var made struct {
			ReferenceID string `json:"reference_id"`
		}
		_ = json.Unmarshal([]byte(text), &made)
		code, text := r.call(t, "POST", r.public+"/v1/payments", key, fmt.Sprintf(`{"operation":"collection","reference_id":%q}`, made.ReferenceID))
		var known struct {
			ID   string
			Page struct{ Token string }
		}
		if err := json.Unmarshal([]byte(text), &known); err != nil || code != 201 {
			t.Fatalf("register = %d %s", code, text)
		}
		return known.ID, made.ReferenceID, known.Page.Token
	}
	id, _, token := register()
	const pages = 10
	closed := make(chan time.Time, pages)
	for range pages {
		conn, _, err := websocket.Dial(t.Context(), r.public+"/v1/page/stream", &websocket.DialOptions{Subprotocols: []string{"dollr-relay.v1", "bearer." + token}})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, _, err := conn.Read(context.WithoutCancel(t.Context())); err != nil {
					if code := websocket.CloseStatus(err); code != websocket.StatusServiceRestart {
						t.Errorf("a page is closed with %d, want 1012", code)
					}
					closed <- time.Now()
					return
				}
			}
		}()
	}
	held := make(chan int, 2)
	go func() {
		code, _ := r.get(t, r.public+"/v1/events?wait=60s", key)
		held <- code
	}()
	go func() {
		code, _ := r.get(t, r.public+"/v1/payments/"+id+"?wait=60s&since=2", key)
		held <- code
	}()
	if code, _ := r.get(t, r.admin+"/readyz", ""); code != 200 {
		t.Errorf("readyz before the stop = %d, want 200", code)
	}
	other, reference, _ := register()
	r.call(t, "PUT", stand.URL+"/_sandbox/payments/"+reference+"/status", "", `{"status":"COMPLETED"}`)
	r.call(t, "POST", r.public+"/v1/payments/"+other+"/verify", key, "")
	<-arrived

	began := time.Now()
	if err := r.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The feed was answered by the outcome; the other held request by the stop.
	for range 2 {
		select {
		case code := <-held:
			if code != 200 {
				t.Errorf("a held request is answered %d, want 200", code)
			}
		case <-time.After(2 * time.Second):
			t.Error("a held request is not answered at once")
		}
	}
	time.Sleep(100 * time.Millisecond)
	if code, _ := r.get(t, r.admin+"/readyz", ""); code != 503 {
		t.Errorf("readyz while stopping = %d, want 503", code)
	}
	if code, _ := r.get(t, r.admin+"/healthz", ""); code != 200 {
		t.Errorf("healthz while stopping = %d, want 200", code)
	}
	if code, text := r.call(t, "POST", r.public+"/v1/payments", key, `{}`); code != 503 {
		t.Errorf("new work while stopping = %d %s, want 503", code, text)
	}
	if code, _ := r.get(t, r.public+"/v1/page/status", token); code != 503 {
		t.Errorf("a new page while stopping = %d, want 503", code)
	}
	var times []time.Time
	for range pages {
		times = append(times, <-closed)
	}
	first, last := slices.MinFunc(times, time.Time.Compare), slices.MaxFunc(times, time.Time.Compare)
	if spread := last.Sub(first); spread < grace/2 || last.Sub(began) > grace {
		t.Errorf("closes are spread over %s and end after %s, want at least %s and at most %s", spread, last.Sub(began), grace/2, grace)
	}
	if code := r.exit(t); code != 0 {
		t.Errorf("exit %d, want 0: %s", code, r.log())
	}
	if took := time.Since(began); took > grace+500*time.Millisecond {
		t.Errorf("the stop took %s, want at most %s", took, grace)
	}
	if want := fmt.Sprintf(`"msg":"stopping","grace":"%s"`, grace); !strings.Contains(r.log(), want) {
		t.Errorf("the log lacks %s, durations with their unit: %s", want, r.log())
	}
	select {
	case <-finished:
	default:
		t.Error("the callback in flight was not finished")
	}
}

func TestServe_secondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	env := good(t)
	env["RELAY_SHUTDOWN_GRACE"] = "60s"
	r := launch(t, env, "serve")
	code, text := r.call(t, "POST", r.public+"/v1/payments", env["RELAY_API_KEYS"], `{"operation":"source","source_type":"ORDER","source_id":1}`)
	var known struct{ Page struct{ Token string } }
	if err := json.Unmarshal([]byte(text), &known); err != nil || code != 201 {
		t.Fatalf("register = %d %s", code, text)
	}
	for range 2 { // the second one leaves after 36 s
		conn, _, err := websocket.Dial(t.Context(), r.public+"/v1/page/stream", &websocket.DialOptions{Subprotocols: []string{"dollr-relay.v1", "bearer." + known.Page.Token}})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _, _ = conn.Reader(t.Context()) }()
	}
	if err := r.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(r.log(), `"stopping"`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first signal is not heard")
		}
	}
	began := time.Now()
	if err := r.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.exit(t)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("after the second signal it took %s, want an end at once", took)
	}
}
