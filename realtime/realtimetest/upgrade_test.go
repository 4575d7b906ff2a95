package realtimetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

func TestS1S2_upgrades(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, path, vsn string
		key             func(s *realtimetest.Served) string
		status          int
		text            string
	}{
		{"public path", "/realtime/v1/websocket", "2.0.0", good, 101, ""},
		{"native path", "/socket/websocket", "1.0.0", good, 101, ""},
		{"no vsn", "/realtime/v1/websocket", "", good, 101, ""},
		{"unknown vsn", "/realtime/v1/websocket", "3.0.0", good, 403, ""},
		{"no key", "/realtime/v1/websocket", "2.0.0", func(*realtimetest.Served) string { return "" }, 401, "API key is missing"},
		{"expired", "/realtime/v1/websocket", "2.0.0", func(s *realtimetest.Served) string { return s.Token(-time.Second) }, 401, "Token has expired"},
		{"no role", "/realtime/v1/websocket", "2.0.0", func(s *realtimetest.Served) string { return s.Token(time.Hour, map[string]any{"role": nil}) }, 401, "Fields `role` and `exp` are required in JWT"},
		{"no JWT", "/realtime/v1/websocket", "2.0.0", func(*realtimetest.Served) string { return "sb_publishable_x" }, 401, "The token provided is not a valid JWT"},
		{"bad signature", "/realtime/v1/websocket", "2.0.0", foreign, 401, "Failed to validate JWT signature"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			run(t, realtimetest.Options{}, func(b *bench) {
				start := time.Now()
				conn, resp, err := b.dial(tt.path, tt.vsn, tt.key(b.srv))
				if resp == nil || resp.StatusCode != tt.status || (err == nil) != (tt.status == 101) {
					t.Fatalf("upgrade: %v, %v, want status %d", resp, err, tt.status)
				}
				if conn != nil {
					_ = conn.CloseNow()
					return
				}
				body, _ := io.ReadAll(resp.Body)
				var answer struct{ Error string }
				if len(body) > 0 {
					if err := json.Unmarshal(body, &answer); err != nil {
						t.Fatalf("body %q: %v", body, err)
					}
				}
				if answer.Error != tt.text {
					t.Errorf("error %q, want %q", answer.Error, tt.text)
				}
				if took := time.Since(start); tt.text != "" && took != 2*time.Second {
					t.Errorf("answered after %s, want 2 s", took)
				}
			})
		})
	}
}

func good(s *realtimetest.Served) string { return s.Token(time.Hour) }

// foreign is a key of another project.
func foreign(*realtimetest.Served) string {
	return realtimetest.New(realtimetest.Options{JWTSecret: secret.New("another project's secret, as long")}).Token(time.Hour)
}

func TestS2_tooManySockets(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{MaxSockets: 1}, func(b *bench) {
		b.connect("2.0.0")
		_, resp, err := b.dial("/realtime/v1/websocket", "2.0.0", b.srv.Token(time.Hour))
		if err == nil || resp == nil || resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("second socket: %v, %v, want 429", resp, err)
		}
	})
}
