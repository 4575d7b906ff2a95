package realtimetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

const (
	jwtSecret = "a-jwt-secret-for-tests-of-32-bytes!"
	reference = "550e8400-e29b-41d4-a716-446655440000"
	topic     = "realtime:payment-intent:55:" + reference
	binding   = `{"event":"*","schema":"public","table":"checkout_payment_intent_public_status","filter":"reference_id=eq.` + reference + `"}`
)

// bench is a raw client on a served stand-in, in a bubble.
type bench struct {
	t    *testing.T
	srv  *realtimetest.Served
	conn *websocket.Conn
}

func run(t *testing.T, o realtimetest.Options, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.JWTSecret = secret.New(jwtSecret)
		srv := realtimetest.NewServer(t, o)
		test(&bench{t: t, srv: srv})
	})
}

// request is an upgrade request with the given path, query and key.
func (b *bench) dial(path, vsn, key string) (*websocket.Conn, *http.Response, error) {
	query := url.Values{}
	if vsn != "" {
		query.Set("vsn", vsn)
	}
	if key != "" {
		query.Set("apikey", key)
	}
	return websocket.Dial(b.t.Context(), b.srv.URL+path+"?"+query.Encode(), &websocket.DialOptions{HTTPClient: b.srv.Client()})
}

// connect opens a socket that the test reads by [bench.next].
func (b *bench) connect(vsn string) {
	b.t.Helper()
	conn, _, err := b.dial("/realtime/v1/websocket", vsn, b.srv.Token(time.Hour))
	if err != nil {
		b.t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	b.conn = conn
	b.t.Cleanup(func() { _ = conn.CloseNow() })
}

func (b *bench) send(format string, args ...any) {
	b.t.Helper()
	if err := b.conn.Write(b.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		b.t.Fatal(err)
	}
}

var errSilence = errors.New("nothing came")

// next is the next text frame, if it comes within d; asking ends the connection if it does not.
func (b *bench) next(d time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	_, data, err := b.conn.Read(ctx)
	if ctx.Err() != nil {
		return "", errSilence
	}
	return string(data), err
}

func (b *bench) expect(want string) {
	b.t.Helper()
	got, err := b.next(30 * time.Second)
	if err != nil || got != want {
		b.t.Fatalf("received %s, %v\nwant %s", got, err, want)
	}
}

func (b *bench) expectClose(want websocket.StatusCode) {
	b.t.Helper()
	got, err := b.next(3 * time.Minute)
	if websocket.CloseStatus(err) != want {
		b.t.Fatalf("received %s, %v, want close %d", got, err, want)
	}
}

func (b *bench) join(ref, token, bindings string) {
	b.t.Helper()
	b.send(`["%s","%s","%s","phx_join",{"config":{"postgres_changes":%s},"access_token":"%s"}]`, ref, ref, topic, bindings, token)
}

// joined joins and reads reply and confirmation, and returns the binding's id.
func (b *bench) joined(ref, token string) string {
	b.t.Helper()
	b.join(ref, token, "["+binding+"]")
	reply, err := b.next(time.Second)
	if err != nil || !strings.HasPrefix(reply, fmt.Sprintf(`["%s","%s","%s","phx_reply",{"response":{"postgres_changes":[`, ref, ref, topic)) {
		b.t.Fatalf("join answered %s, %v", reply, err)
	}
	b.expect(systemFrame(ref, "postgres_changes", "Subscribed to PostgreSQL", "ok"))
	_, rest, _ := strings.Cut(reply, `"id":`)
	id, _, _ := strings.Cut(rest, "}")
	return id
}

func systemFrame(ref, extension, message, status string) string {
	text, _ := json.Marshal(message)
	return fmt.Sprintf(`["%s",null,"%s","system",{"channel":"%s","extension":"%s","message":%s,"status":"%s"}]`,
		ref, topic, strings.TrimPrefix(topic, "realtime:"), extension, text, status)
}

func errorFrame(ref, reason string) string {
	return fmt.Sprintf(`["%s","%s","%s","phx_reply",{"response":{"reason":"%s"},"status":"error"}]`, ref, ref, topic, reason)
}

func closeFrame(ref string) string {
	return fmt.Sprintf(`["%s","%s","%s","phx_close",{}]`, ref, ref, topic)
}
