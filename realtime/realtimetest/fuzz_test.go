package realtimetest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// FuzzClientFrames sends any text frame over both serializers, and then publishes a row change: the server lives, keeps the connection
// and goes on answering heartbeats.
func FuzzClientFrames(f *testing.F) {
	data, err := os.ReadFile("testdata/supabase-js-capture.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var c struct{ Frame json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			f.Fatal(err)
		}
		f.Add(string(c.Frame))
	}
	srv := realtimetest.New(realtimetest.Options{
		JWTSecret: secret.New(jwtSecret), JoinErrorDelay: -1, SystemDelay: -1, TokenDelay: -1, PollInterval: -1, MaxJoinsPerSecond: 1e9,
	})
	web := httptest.NewServer(srv)
	f.Cleanup(func() {
		srv.Close()
		web.Close()
	})
	join := `["1","1","realtime:x","phx_join",{"config":{"postgres_changes":[%s]}}]`
	for _, binding := range []string{
		`{"event":"INSERT","schema":"p%","table":"check___%","filter":"reference_id=not.in.(1,\"a,b\"),status=ilike.%"}`,
		`{"schema":"*","filter":"id=is.null,id=match.(((,status=isdistinct."}`, `{"table":null}`, `null`, `7`, `{"filter":{}}`, `{"select":["id"],"table":"*"}`,
	} {
		f.Add(fmt.Sprintf(join, binding))
	}
	conns := map[string]*websocket.Conn{}
	for _, vsn := range []string{"1.0.0", "2.0.0"} {
		conn, _, err := websocket.Dial(f.Context(), web.URL+"/realtime/v1/websocket?vsn="+vsn+"&apikey="+srv.Token(time.Hour), nil)
		if err != nil {
			f.Fatal(err)
		}
		conn.SetReadLimit(-1)
		f.Cleanup(func() { _ = conn.CloseNow() })
		conns[vsn] = conn
	}
	beats := 0
	f.Fuzz(func(t *testing.T, frame string) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for vsn, conn := range conns {
			beats++
			beat := fmt.Sprintf(`[null,"beat %d","phoenix","heartbeat",{}]`, beats)
			if vsn == "1.0.0" {
				beat = fmt.Sprintf(`{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"beat %d"}`, beats)
			}
			for _, text := range []string{frame, beat} {
				if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
					t.Fatalf("after %q over %s: %v", frame, vsn, err)
				}
			}
			srv.Change(realtimetest.Row{"id": json.Number("7"), "reference_id": reference, "status": "PAID", "note": nil})
			for answered := false; !answered; {
				_, got, err := conn.Read(ctx)
				if err != nil {
					t.Fatalf("no heartbeat is answered after %q over %s: %v", frame, vsn, err)
				}
				answered = strings.Contains(string(got), fmt.Sprintf(`"beat %d"`, beats))
			}
		}
	})
}
