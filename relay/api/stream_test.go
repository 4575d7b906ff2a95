package api_test

import (
	"bufio"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/api"
)

// listen opens an event stream and returns its lines as they come.
func (s *system) listen(token string) *bufio.Scanner {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/v1/page/events?token="+token, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != 200 || answer.Header.Get("X-Accel-Buffering") != "no" || !strings.Contains(answer.Header.Get("Cache-Control"), "no-transform") {
		s.t.Fatalf("stream = %d %v", answer.StatusCode, answer.Header)
	}
	return bufio.NewScanner(answer.Body)
}

func TestEventStream_endsAfterAFinalStatus(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	lines := s.listen(p.token)
	if !lines.Scan() || lines.Text() != "event: status" || !lines.Scan() || !strings.HasPrefix(lines.Text(), "id: ") {
		t.Fatalf("first line = %q, want the present status with its version", lines.Text())
	}
	s.set(p, "COMPLETED")
	s.verify(p)
	last, id := "", ""
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = text
		}
		if strings.HasPrefix(lines.Text(), `data: {"type":"status"`) {
			last = lines.Text()
		}
	}
	if lines.Err() != nil || !strings.Contains(last, `"outcome":"succeeded","verified":true,"final":true`) {
		t.Errorf("the stream ended with %v after %s, want a proper end after the final status", lines.Err(), last)
	}
	got := s.send(request{method: "GET", path: "/v1/page/events", header: with(bearer(p.token), "Last-Event-ID", id)})
	if got.code != 204 {
		t.Errorf("connecting again = %d, want 204", got.code)
	}
	if got := s.send(request{method: "GET", path: "/v1/page/events", header: bearer(p.token)}); got.code != 200 || !strings.Contains(string(got.body), `"final":true`) {
		t.Errorf("a page that has not seen it = %d %s, want the final status", got.code, got.body)
	}
}

func TestEventStream_asksToComeBackWhenTheServerStops(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	lines := s.listen(p.token)
	lines.Scan()
	s.stop()
	last := ""
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	if !strings.HasPrefix(last, "retry: ") || lines.Err() != nil {
		t.Errorf("the stream ends with %q, %v, want retry and a proper end", last, lines.Err())
	}
}

func TestLongPoll_bringsWhatIsNewer(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.pay()
	until(t, "read once", func() bool { return s.call(200, "GET", "/v1/payments/"+p.id, "")["status"] == "PENDING" })
	poll := func(query string) reply {
		return s.send(request{method: "GET", path: "/v1/page/status" + query, header: bearer(p.token)})
	}
	if got := poll(""); got.code != 200 || got.fields["version"] != 2.0 || got.fields["verified"] != true {
		t.Errorf("poll = %d %s, want the present status", got.code, got.body)
	}
	if got := poll("?since=2"); got.code != 204 || got.header.Get("Relay-Link") != "polling" {
		t.Errorf("poll after it = %d, link %q, want 204 and polling", got.code, got.header.Get("Relay-Link"))
	}
	answered := make(chan reply, 1)
	go func() {
		got, err := s.try(request{method: "GET", path: "/v1/page/status?since=2&wait=20s", header: bearer(p.token)})
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	s.set(p, "FAILED")
	s.verify(p)
	select {
	case got := <-answered:
		if got.code != 200 || got.fields["outcome"] != "failed" || got.fields["final"] != true {
			t.Errorf("held poll = %d %s, want failed and final", got.code, got.body)
		}
	case <-time.After(10 * time.Second):
		t.Error("a held poll does not hear of the change")
	}
}

func TestPanic_endsOneRequestOnly(t *testing.T) {
	t.Parallel()
	logs := &lockedBuffer{}
	public, _ := url.Parse("http://relay.test")
	server, err := api.New(api.Options{
		APIKeys: []secret.Value{secret.New(apiKey)}, PageSecrets: []secret.Value{secret.New(pageSecret)}, PublicURL: public, Now: time.Now,
		Logger: slog.New(slog.NewJSONHandler(logs, nil)),
		Mounts: map[string]http.Handler{"/broken": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a secret thought") })},
	})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server.Handler())
	t.Cleanup(web.Close)
	for range 2 {
		answer, err := http.Get(web.URL + "/broken")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != 500 || answer.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(string(body), "goroutine") || strings.Contains(string(body), "secret") {
			t.Errorf("panic = %d %s, want 500 and no trace", answer.StatusCode, body)
		}
	}
	if log := logs.String(); strings.Count(log, "request panicked") != 2 || !strings.Contains(log, "stream_test.go") || strings.Contains(log, "secret thought") {
		t.Errorf("log = %s, want where it happened, twice, without what was said", log)
	}
}
