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

// capturedFrames are the frames of one serializer by their note.
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
		switch {
		case c.Vsn != vsn:
		case c.Dir == "client":
			client[c.Note] = string(c.Frame)
		default:
			server[strings.TrimSuffix(c.Note, " [simulated]")] = string(c.Frame)
		}
	}
	return client, server
}

// replay plays captured frames of the official client to the server and compares the answers with the captured ones.
type replay struct {
	*bench

	client, server map[string]string
	id             string // of the server's binding, which may be any stable hash
	seen           map[string]bool
}

// say sends a captured frame with a key of this server in place of the captured one.
func (r *replay) say(note string) {
	r.t.Helper()
	frame, ok := r.client[note]
	if !ok {
		r.t.Fatalf("nothing is captured as %q", note)
	}
	if start := strings.Index(frame, "eyJ"); start >= 0 {
		end := start + strings.IndexByte(frame[start:], '"')
		frame = frame[:start] + r.srv.Token(time.Hour) + frame[end:]
	}
	r.send("%s", frame)
}

// compare reads a frame, which has to be the captured one.
func (r *replay) compare(note string) {
	r.t.Helper()
	want, ok := r.server[note]
	if !ok { // a few frames were captured over one serializer only
		r.skip(1)
		return
	}
	r.seen[note] = true
	got, err := r.next(10 * time.Second)
	if err != nil {
		r.t.Fatalf("%s: %v", note, err)
	}
	if _, rest, ok := strings.Cut(got, `"id":`); ok && r.id == "" {
		r.id, _, _ = strings.Cut(rest, "}")
	}
	const captured = "83664710"
	got = strings.NewReplacer(`"id":`+r.id+"}", `"id":`+captured+"}", `"ids":[`+r.id+"]", `"ids":[`+captured+"]").Replace(got)
	if !equalJSON(r.t, got, want) {
		r.t.Errorf("%s: sent\n%s\nwant\n%s", note, got, want)
	}
}

// skip reads frames that are not compared.
func (r *replay) skip(n int) {
	r.t.Helper()
	for range n {
		if _, err := r.next(10 * time.Second); err != nil {
			r.t.Fatal(err)
		}
	}
}

func capturedRow(status string) realtimetest.Row {
	return realtimetest.Row{
		"id": 7, "reference_id": reference, "status": status, "amount": 10.5, "paid": true, "meta": map[string]any{"a": 1}, "tags": []int{1, 2},
		"labels": []string{"a", "b"}, "created": "2026-01-02T03:04:05.678", "updated_at": "2026-01-02T03:04:05.678+00:00",
	}
}

// TestCapture_framesAreTheCapturedOnes covers every captured server frame.
func TestCapture_framesAreTheCapturedOnes(t *testing.T) {
	t.Parallel()
	for _, vsn := range []string{"1.0.0", "2.0.0"} {
		t.Run(vsn, func(t *testing.T) {
			t.Parallel()
			client, server := capturedFrames(t, vsn)
			commit := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
			seen := map[string]bool{}
			play := func(o realtimetest.Options, test func(r *replay)) {
				t.Helper()
				o.Now = func() time.Time { return commit }
				if o.Tables == nil {
					o.Tables = []realtimetest.Table{capturedTable()}
				}
				run(t, o, func(b *bench) {
					b.connect(vsn)
					test(&replay{bench: b, client: client, server: server, seen: seen})
				})
			}
			play(realtimetest.Options{}, happyPath)
			play(realtimetest.Options{}, wholeTable)
			if vsn == "2.0.0" { // the others were captured in this one only
				play(realtimetest.Options{}, endings)
				play(realtimetest.Options{Tables: []realtimetest.Table{{Schema: "public", Name: "other"}}}, func(r *replay) {
					r.say("happy: phx_join")
					r.skip(1)
					r.compare("system-error: system")
				})
			}
			for note := range server {
				if !seen[note] {
					t.Errorf("no frame was compared with the captured %q", note)
				}
			}
		})
	}
}

func happyPath(r *replay) {
	r.say("happy: phx_join")
	r.compare("happy: join reply ok")
	r.compare("happy: system ok")
	r.srv.Change(capturedRow("paid"))
	r.compare("happy: INSERT (native JSON cells, as the real server sends)")
	r.srv.Change(capturedRow("refunded"))
	r.compare("happy: UPDATE")
	r.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Record: capturedRow("paid"), OldRecord: capturedRow("x"), Error: realtimetest.ErrorUnauthorized})
	r.compare("happy: UPDATE unauthorized")
	r.srv.Publish(realtimetest.Change{Type: realtimetest.Insert, Record: realtimetest.Row{
		"id": "9007199254740993", "reference_id": reference, "status": "paid", "amount": "10.50", "paid": "t", "meta": `{"a":1}`, "tags": "{1,2}",
		"labels": `{a,"b"}`, "created": "2026-01-02 03:04:05.678", "updated_at": "2026-01-02T03:04:05.678+00:00",
	}})
	r.compare("happy: INSERT with text cells (casting probe)")
	r.say("happy: heartbeat")
	r.compare("happy: heartbeat reply")
	r.say("happy: phx_leave")
	r.compare("happy: leave reply")
	r.compare("happy: phx_close after leave")
}

// wholeTable plays changes that the captured filter would keep away from a client, so it joins without one.
func wholeTable(r *replay) {
	r.client["unfiltered join"] = strings.Replace(r.client["happy: phx_join"], `,"filter":"reference_id=eq.`+reference+`"`, "", 1)
	r.say("unfiltered join")
	reply, err := r.next(time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(reply, `"id":`)
	r.id, _, _ = strings.Cut(rest, "}")
	r.skip(1)
	r.srv.Publish(realtimetest.Change{Type: realtimetest.Delete, OldRecord: capturedRow("paid")})
	r.compare("happy: DELETE")
	r.srv.Publish(realtimetest.Change{
		Type: realtimetest.Update, Error: realtimetest.ErrorTooLarge, OldRecord: capturedRow("paid"),
		Record: realtimetest.Row{"id": 7, "status": "paid", "paid": nil, "meta": strings.Repeat("x", 100)},
	})
	r.compare("happy: UPDATE payload too large")
	r.srv.SetFaults(realtimetest.Faults{ForeignIDs: true})
	r.srv.Publish(realtimetest.Change{Type: realtimetest.Insert, Record: realtimetest.Row{"id": 7}})
	r.compare("happy: INSERT with a foreign id (client drops it)")
}

// endings are the frames of joins and channels that fail.
func endings(r *replay) {
	r.srv.SetFaults(realtimetest.Faults{JoinError: "ChannelRateLimitReached: Too many channels"})
	r.say("happy: phx_join")
	r.compare("join-error-loop: phx_reply")
	r.srv.SetFaults(realtimetest.Faults{})
	r.send("%s", strings.Replace(r.client["happy: access_token"], `["6","9"`, `["6","77"`, 1)) // nothing is joined
	r.compare("unmatched-topic-reply: phx_reply")

	r.client["first join"] = strings.Replace(r.client["happy: phx_join"], `["6","6"`, `["1","1"`, 1)
	r.say("first join")
	r.skip(2)
	r.say("happy: phx_join")
	r.skip(1)
	r.compare("superseded-join-close: phx_close")
	r.skip(1)
	r.srv.Crash("")
	r.compare("phx_error: phx_error")

	r.say("happy: phx_join")
	r.skip(2)
	r.srv.Expel("", "Token has expired 0 seconds ago")
	r.compare("token-expired: system")
	r.compare("token-expired: phx_close")

	r.srv.SetFaults(realtimetest.Faults{WrongEcho: true})
	r.id = "1"
	r.say("happy: phx_join")
	r.compare("reply-filter-mismatch: phx_reply")
	r.say("reply-filter-mismatch: phx_leave")
	r.skip(2)

	r.srv.SetFaults(realtimetest.Faults{})
	r.say("happy: phx_join")
	r.skip(2)
	r.srv.Drain()
	r.compare("server-drain: system")
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
