package app_test

import (
	"bufio"
	"context"
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

// everyTransport are the ways in which a page can listen.
func everyTransport() []string { return []string{"websocket", "sse", "poll"} }

// viewer is a customer's page in a dream. It notes what it is told; connections of it may follow each other.
type viewer struct {
	d     *dream
	token string
	check func(m map[string]any) // may be nil

	mu    sync.Mutex
	heard []heard
}

// heard is a message, or what else a page notices: a comment, a retry.
type heard struct {
	at   time.Time
	kind string
	m    map[string]any
}

func (v *viewer) hear(kind, text string) (final bool) {
	m := map[string]any{}
	if kind == "" {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			v.d.t.Errorf("a page hears %q: %v", text, err)
		}
		kind, _ = m["type"].(string)
	}
	v.mu.Lock()
	v.heard = append(v.heard, heard{time.Now(), kind, m})
	v.mu.Unlock()
	if kind == "status" && v.check != nil {
		v.check(m)
	}
	return kind == "status" && m["final"] == true
}

// of are the messages of a kind so far.
func (v *viewer) of(kind string) (of []heard) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, h := range v.heard {
		if h.kind == kind {
			of = append(of, h)
		}
	}
	return of
}

// story tells the statuses and links that a page was shown.
func (v *viewer) story(kind string) string {
	var b strings.Builder
	for _, h := range v.of(kind) {
		if kind == "link" {
			fmt.Fprintf(&b, "%v; ", h.m["link"])
		} else {
			fmt.Fprintf(&b, "%v %v %v verified %v final %v via %v; ", h.m["version"], h.m["status"], h.m["outcome"], h.m["verified"], h.m["final"], h.m["via"])
		}
	}
	return b.String()
}

// watch connects once and listens until the connection ends. It returns why: a close code, an HTTP status, or "end".
func (v *viewer) watch(ctx context.Context, transport string) string {
	switch transport {
	case "websocket":
		return v.watchSocket(ctx)
	case "sse":
		return v.watchEvents(ctx, "")
	}
	return v.poll(ctx)
}

func (v *viewer) watchSocket(ctx context.Context) string {
	conn, answer, err := websocket.Dial(ctx, v.d.relay+"/v1/page/stream", &websocket.DialOptions{
		HTTPClient: v.d.client, Subprotocols: []string{"dollr-relay.v1", "bearer." + v.token},
		OnPingReceived: func(context.Context, []byte) bool { v.hear("protocol ping", ""); return true },
	})
	if answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Sprint(answer.StatusCode)
	}
	if err != nil {
		return "no connection"
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		_, body, err := conn.Read(ctx)
		if err != nil {
			return fmt.Sprint(int(websocket.CloseStatus(err)))
		}
		v.hear("", string(body))
	}
}

// get asks for a page's address.
func (v *viewer) get(ctx context.Context, path, seen string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.d.relay+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+v.token)
	if seen != "" {
		r.Header.Set("Last-Event-ID", seen)
	}
	return v.d.client.Do(r)
}

func (v *viewer) watchEvents(ctx context.Context, seen string) string {
	answer, err := v.get(ctx, "/v1/page/events", seen)
	if err != nil {
		return "no connection"
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Sprint(answer.StatusCode)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch name {
		case "data":
			v.hear("", value)
		case "retry":
			v.hear("retry", value)
		case "":
			if lines.Text() == ":" {
				v.hear("comment", "")
			}
		}
	}
	return "end"
}

// poll polls as the page script does, until there is a final status.
func (v *viewer) poll(ctx context.Context) string {
	since, wait := "", "0s"
	link := ""
	for ctx.Err() == nil {
		answer, err := v.get(ctx, "/v1/page/status?since="+since+"&wait="+wait, "")
		if err != nil {
			return "no connection"
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode >= http.StatusMultipleChoices {
			return fmt.Sprint(answer.StatusCode)
		}
		v.hear(fmt.Sprint(answer.StatusCode), "")
		final := len(body) > 0 && v.hear("", string(body))
		if now := answer.Header.Get("Relay-Link"); now != link || since == "" {
			link = now
			text, _ := json.Marshal(map[string]any{"type": "link", "link": map[bool]any{true: nil, false: now}[now == ""]})
			v.hear("", string(text))
		}
		if final {
			return "end"
		}
		since, wait = answer.Header.Get("Relay-Position"), "25s"
		pause(ctx, time.Second)
	}
	return "end"
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// view opens a page on a transport, and returns it with the function that waits for its end.
func (d *dream) view(t *testing.T, token, transport string) (v *viewer, ended func() string) {
	t.Helper()
	v = &viewer{d: d, token: token}
	ctx, cancel := context.WithCancel(context.Background())
	why := make(chan string, 1)
	go func() { why <- v.watch(ctx, transport) }()
	return v, func() string {
		defer cancel()
		select {
		case reason := <-why:
			return reason
		case <-time.After(time.Hour): // invented
			cancel()
			<-why
			return "open"
		}
	}
}
