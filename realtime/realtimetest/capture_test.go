package realtimetest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// capturedTable is the table that the captured frames are about.
func capturedTable() realtimetest.Table {
	t := realtimetest.StatusTable()
	t.Columns = []realtimetest.Column{
		{Name: "id", Type: "int8"},
		{Name: "reference_id", Type: "uuid"},
		{Name: "status", Type: "text"},
		{Name: "amount", Type: "numeric"},
		{Name: "paid", Type: "bool"},
		{Name: "meta", Type: "jsonb"},
		{Name: "tags", Type: "_int4"},
		{Name: "labels", Type: "_text"},
		{Name: "created", Type: "timestamp"},
		{Name: "updated_at", Type: "timestamptz"},
	}
	return t
}

func capturedFrames(t *testing.T, vsn string) (client, server map[string]string) {
	t.Helper()
	data, err := os.ReadFile("testdata/supabase-js-capture.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	client, server = map[string]string{}, map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var c struct {
			Dir, Vsn, Note string
			Frame          json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		note, isHappy := strings.CutPrefix(c.Note, "happy: ")
		switch {
		case c.Vsn != vsn || !isHappy:
		case c.Dir == "client":
			client[note] = string(c.Frame)
		default:
			server[strings.TrimSuffix(note, " [simulated]")] = string(c.Frame)
		}
	}
	return client, server
}

// TestCapture_happyPath plays the official client's captured frames to the server and compares its answers with the captured ones.
func TestCapture_happyPath(t *testing.T) {
	t.Parallel()
	const capturedID = "83664710" // any stable hash will do
	for _, vsn := range []string{"1.0.0", "2.0.0"} {
		t.Run(vsn, func(t *testing.T) {
			t.Parallel()
			client, server := capturedFrames(t, vsn)
			commit := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
			run(t, realtimetest.Options{Tables: []realtimetest.Table{capturedTable()}, Now: func() time.Time { return commit }}, func(b *bench) {
				b.connect(vsn)
				id := ""
				compare := func(note string) {
					t.Helper()
					got, err := b.next(5 * time.Second)
					if err != nil {
						t.Fatalf("%s: %v", note, err)
					}
					if _, rest, ok := strings.Cut(got, `"id":`); ok && id == "" {
						id, _, _ = strings.Cut(rest, "}")
					}
					got = strings.NewReplacer(`"id":`+id+"}", `"id":`+capturedID+"}", `"ids":[`+id+"]", `"ids":[`+capturedID+"]").Replace(got)
					if !equalJSON(t, got, server[note]) {
						t.Errorf("%s: sent\n%s\nwant\n%s", note, got, server[note])
					}
				}
				token := b.srv.Token(time.Hour)
				say := func(note string) {
					t.Helper()
					frame := client[note]
					if start := strings.Index(frame, "eyJ"); start >= 0 { // signed with a secret that we do not have
						end := start + strings.IndexByte(frame[start:], '"')
						frame = frame[:start] + token + frame[end:]
					}
					b.send("%s", frame)
				}
				say("phx_join")
				compare("join reply ok")
				compare("system ok")
				row := func(status string) realtimetest.Row {
					return realtimetest.Row{
						"id": 7, "reference_id": reference, "status": status, "amount": 10.5, "paid": true, "meta": map[string]any{"a": 1}, "tags": []int{1, 2},
						"labels": []string{"a", "b"}, "created": "2026-01-02T03:04:05.678", "updated_at": "2026-01-02T03:04:05.678+00:00",
					}
				}
				b.srv.Change(row("paid"))
				compare("INSERT (native JSON cells, as the real server sends)")
				b.srv.Change(row("refunded"))
				compare("UPDATE")
				b.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Record: row("paid"), OldRecord: row("x"), Error: realtimetest.ErrorUnauthorized})
				compare("UPDATE unauthorized")
				say("heartbeat")
				compare("heartbeat reply")
				say("phx_leave")
				compare("leave reply")
				compare("phx_close after leave")
			})
		})
	}
}

func equalJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Fatalf("captured %q: %v", b, err)
	}
	return reflect.DeepEqual(x, y)
}
