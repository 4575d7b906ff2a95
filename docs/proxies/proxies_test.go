// Package proxies_test runs nginx, HAProxy and Caddy with the configurations of the documentation in front of a relay.
package proxies_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// each runs a test with each proxy.
func each(t *testing.T, test func(t *testing.T, b *bed, k kind)) {
	t.Helper()
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, newBed(t, time.Hour), k)
		})
	}
}

type message struct {
	Type, Link, Outcome string
	Version             int64
	Verified, Final     bool
}

// listen opens a page's WebSocket.
func listen(t *testing.T, client *http.Client, token string) (*websocket.Conn, error) {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "wss://"+host+"/v1/page/stream", &websocket.DialOptions{
		HTTPClient: client, Subprotocols: []string{"dollr-relay.v1", "bearer." + token},
	})
	if err == nil {
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, err
}

// events returns a function that reads the next message of an event stream.
func events(stream io.Reader) func() ([]byte, error) {
	lines := bufio.NewScanner(stream)
	return func() ([]byte, error) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return []byte(data), nil
			}
		}
		return nil, cmp.Or(lines.Err(), io.EOF)
	}
}

// hear reads messages from next until one is as it is wanted.
func hear(t *testing.T, what string, next func() ([]byte, error), want func(message) bool) message {
	t.Helper()
	for {
		body, err := next()
		if err != nil {
			t.Fatalf("%v before %s", err, what)
		}
		var m message
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatalf("message %q: %v", body, err)
		}
		if want(m) {
			return m
		}
	}
}

func present(m message) bool { return m.Type == "status" && m.Outcome == "pending" }
func linked(m message) bool  { return m.Type == "link" && m.Link == "live" }
func verified(m message) bool {
	return m.Type == "status" && m.Outcome == "succeeded" && m.Verified && m.Final
}

func TestWebSocket_bringsTheLiveStatus(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bed, k kind) {
		p := k.start(t, b)
		client := b.client(customer, p.secure)
		p.settle(b, client)
		paid := b.pay(t, client)
		conn, err := listen(t, client, paid.token)
		if err != nil {
			t.Fatal(err)
		}
		next := func() ([]byte, error) { _, body, err := conn.Read(t.Context()); return body, err }
		hear(t, "the present status", next, present)
		hear(t, "that the link is live", next, linked)
		b.complete(t, paid)
		hear(t, "the success", next, verified)
		for err == nil {
			_, err = next()
		}
		if got := websocket.CloseStatus(err); got != websocket.StatusNormalClosure {
			t.Errorf("the connection ended with %v, want close code 1000", err)
		}
	})
}

// TestEventStream_isNotHeldBack causes each event only after it has read the one before.
func TestEventStream_isNotHeldBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bed, k kind) {
		p := k.start(t, b)
		for _, protocol := range []string{"http/1.1", "h2"} {
			client := b.client(customer, p.secure, protocol)
			p.settle(b, client)
			paid := b.pay(t, client)
			r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+host+"/v1/page/events?token="+paid.token, nil)
			r.Header.Set("Accept", "text/event-stream")
			r.Header.Set("Accept-Encoding", "gzip, br") // as browsers do: a proxy that compresses would hold back
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = answer.Body.Close() }()
			if answer.StatusCode != 200 || answer.Header.Get("Content-Encoding") != "" || (answer.ProtoMajor == 2) != (protocol == "h2") {
				t.Fatalf("the stream = %d %s, %v, want it plain on %s", answer.StatusCode, answer.Proto, answer.Header, protocol)
			}
			next := events(answer.Body)
			hear(t, "the present status", next, present)
			hear(t, "that the link is live", next, linked)
			b.complete(t, paid)
			hear(t, "the success", next, verified)
		}
	})
}

func TestLongPoll_isAnsweredWhenThereIsNews(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bed, k kind) {
		p := k.start(t, b)
		client := b.client(customer, p.secure, "h2")
		p.settle(b, client)
		paid := b.pay(t, client)
		poll := func(query string) map[string]any {
			code, news := send(t, client, "GET", "https://"+host+"/v1/page/status"+query, paid.token, "")
			if code != 200 {
				t.Errorf("poll = %d %v, want news", code, news)
			}
			return news
		}
		version := poll("")["version"]
		answered := make(chan map[string]any, 1)
		go func() { answered <- poll(fmt.Sprintf("?wait=60s&since=%v", version)) }()
		b.complete(t, paid)
		if news := <-answered; news["version"].(float64) < version.(float64) {
			t.Errorf("a held poll brought %v after version %v", news, version)
		}
		until(t, "polled the success", func() bool { return poll("")["outcome"] == "succeeded" })
	})
}

// TestIdle_streamsOutliveTheProxysTimeouts makes the proxy's 75 s 5 s, and the fresh tokens of a short life, every second or
// two, stand for the messages that the relay sends every 25 s otherwise.
func TestIdle_streamsOutliveTheProxysTimeouts(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		if k.name == "caddy" {
			continue // it has no such time-outs
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 2*time.Second)
			p := k.start(t, b, " 75s", " 5s")
			client := b.client(customer, p.secure)
			p.settle(b, client)
			token := b.aged(t, b.pay(t, client))
			conn, err := listen(t, client, token)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Get("https://" + host + "/v1/page/events?token=" + token)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = answer.Body.Close() })

			var listeners sync.WaitGroup
			began := time.Now()
			for name, next := range map[string]func() ([]byte, error){
				"WebSocket": func() ([]byte, error) { _, body, err := conn.Read(t.Context()); return body, err },
				"stream":    events(answer.Body),
			} {
				listeners.Go(func() {
					for time.Since(began) < 7*time.Second {
						if _, err := next(); err != nil {
							t.Errorf("the %s ended after %s: %v", name, time.Since(began), err)
							return
						}
					}
				})
			}
			silent, news := send(t, client, "GET", "https://"+host+"/v1/events?wait=60s", apiKey, "")
			if silent < 500 {
				t.Errorf("what stays silent for longer = %d %v, want it cut: else this test shows nothing", silent, news)
			}
			listeners.Wait()
		})
	}
}

// TestRestart_pagesComeBack ends the proxy under an open page.
func TestRestart_pagesComeBack(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bed, k kind) {
		p := k.start(t, b)
		client := b.client(customer, p.secure)
		p.settle(b, client)
		paid := b.pay(t, client)
		conn, err := listen(t, client, paid.token)
		if err != nil {
			t.Fatal(err)
		}
		next := func() ([]byte, error) { _, body, err := conn.Read(t.Context()); return body, err }
		before := hear(t, "that the link is live", next, linked)
		p.stop()
		for err == nil {
			_, err = next()
		}
		b.complete(t, paid)
		p.up()
		until(t, "connected again", func() bool { conn, err = listen(t, client, paid.token); return err == nil })
		after := hear(t, "the success", next, verified)
		if after.Version < before.Version {
			t.Errorf("version %d after %d", after.Version, before.Version)
		}
	})
}

// TestAddress_isBelievedFromTrustedProxiesOnly looks at whom the relay limits for guessing keys: it lets addresses of
// loopback guess on, and so customers of this test who do not look like coming from elsewhere.
func TestAddress_isBelievedFromTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bed, k kind) {
		p := k.start(t, b)
		p.settle(b, b.client(customer, p.secure))
		limited := func(from, claims string) bool {
			client := b.client(from, p.secure)
			for range 200 {
				if code, _ := send(t, client, "GET", "https://"+host+"/v1/payments", "a wrong key", "", "X-Forwarded-For", claims); code == 429 {
					return true
				}
			}
			return false
		}
		if limited(customer, "203.0.113.7") {
			t.Error("a customer was taken for the address that it claimed")
		}
		// A proxy that is trusted, too, is believed where ours passes on what it says; Caddy believes nobody but those
		// that its own configuration names.
		if got, want := limited(farProxy, "203.0.113.7"), k.name != "caddy"; got != want {
			t.Errorf("guesses that a trusted proxy reports are limited: %t, want %t", got, want)
		}
	})
}

func TestAdmin_isNotExposed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bed, k kind) {
		p := k.start(t, b)
		client := b.client(customer, p.secure)
		p.settle(b, client)
		for _, path := range []string{"/readyz", "/healthz", "/metrics", "/"} {
			if code, _ := send(t, client, "GET", "https://"+host+path, "", ""); code != 404 {
				t.Errorf("GET %s through the proxy = %d, want 404", path, code)
			}
		}
	})
}

// TestLogs_holdNoToken has tokens in all the places that a page may put them in, also when no relay is there.
func TestLogs_holdNoToken(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bed, k kind) {
		working := k.start(t, b)
		client := b.client(customer, working.secure)
		working.settle(b, client)
		paid := b.pay(t, client)
		b.complete(t, paid)
		edits := []string{"relay-1:", relay2 + ":", "relay-3:", relay2 + ":"}
		if k.name == "caddy" {
			edits = append(edits, "lb_try_duration 5s", "lb_try_duration 50ms")
		}
		alone := k.start(t, b, edits...)
		for _, p := range []*proxy{working, alone} {
			client := b.client(customer, p.secure)
			_, _ = listen(t, client, paid.token) // refused by one of them
			for _, what := range []string{"view", "events"} {
				code, _ := send(t, client, "GET", "https://"+host+"/v1/page/"+what+"?token="+paid.token, "", "")
				if (code == 200) != (p == working) {
					t.Errorf("GET %s = %d with the relays at work: %t", what, code, p == working)
				}
			}
			p.stop()
			if logs := p.logs(); strings.Contains(logs, paid.token) {
				t.Errorf("a token is in the log: %s", logs)
			} else if !strings.Contains(logs, "/v1/page/view") && (k.name != "caddy" || p == alone) {
				t.Errorf("the log says nothing of the request: %s", logs)
			}
		}
	})
}

func TestPlainHTTP_isSentToHTTPS(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bed, k kind) {
		p := k.start(t, b)
		client := b.client(customer, p.plain)
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		answer, err := client.Get("http://" + host + "/docs")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if to := answer.Header.Get("Location"); answer.StatusCode != 301 && answer.StatusCode != 308 || !strings.HasPrefix(to, "https://"+host) || !strings.HasSuffix(to, "/docs") {
			t.Errorf("plain HTTP = %d to %q, want a redirect to the same at https://%s", answer.StatusCode, to, host)
		}
	})
}
