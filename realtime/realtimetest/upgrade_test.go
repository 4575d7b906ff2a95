package realtimetest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

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
		{"unknown algorithm", "/realtime/v1/websocket", "2.0.0", unsigned, 401, "Failed to generate JWT signer, check your JWT secret or JWKS configuration"},
		{"exp is no number", "/realtime/v1/websocket", "2.0.0", func(s *realtimetest.Served) string { return s.Token(time.Hour, map[string]any{"exp": "x"}) }, 500, "Error connecting to Realtime"},
		{"a key in percent-encoding with spaces", "/realtime/v1/websocket", "2.0.0", func(s *realtimetest.Served) string {
			return " " + strings.Replace(s.Token(time.Hour), ".", "%2E", 1) + "\n"
		}, 101, ""},
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

// unsigned is a key that says it needs no signature.
func unsigned(*realtimetest.Served) string {
	key, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"role": "anon", "exp": 4102444800}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		panic(err)
	}
	return key
}

// foreign is a key of another project.
func foreign(*realtimetest.Served) string {
	return realtimetest.New(realtimetest.Options{JWTSecret: secret.New("another project's secret, as long")}).Token(time.Hour)
}

func TestS2_refusalsOnDemandAndOtherRequests(t *testing.T) {
	t.Parallel()
	for code, text := range map[int]string{
		403: "Realtime was disabled for this tenant", 404: "Tenant not found", 429: "Too many joins per second", 500: "Error connecting to Realtime",
	} {
		run(t, realtimetest.Options{ConnectErrorDelay: -1}, func(b *bench) {
			b.srv.SetFaults(realtimetest.Faults{ConnectStatus: code, ConnectError: text})
			_, resp, err := b.dial("/realtime/v1/websocket", "2.0.0", good(b.srv))
			if err == nil || resp == nil || resp.StatusCode != code || resp.Header.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Fatalf("upgrade: %v, %v, want %d in JSON", resp, err, code)
			}
			if body, _ := io.ReadAll(resp.Body); strings.TrimSpace(string(body)) != `{"error":"`+text+`"}` {
				t.Errorf("body %s, want the error %q", body, text)
			}
		})
	}
	for method, want := range map[string]int{http.MethodPost: 400, http.MethodGet: 400} { // GET without the upgrade headers
		run(t, realtimetest.Options{}, func(b *bench) {
			request, err := http.NewRequestWithContext(b.t.Context(), method, b.srv.URL+"/realtime/v1/websocket?vsn=2.0.0", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := b.srv.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s answered %d, want %d", method, resp.StatusCode, want)
			}
		})
	}
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
