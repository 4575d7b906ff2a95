package realtime

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// FuzzFrames gives a live channel any frame that a server could send: it must stay in a state from which it goes on.
func FuzzFrames(f *testing.F) {
	file, err := os.Open("realtimetest/testdata/supabase-js-capture.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var c struct{ Frame json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(c.Frame))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, now := liveChannel()
		came, ok := decode(&socket{number: 1}, data).(frameCame)
		if !ok {
			return
		}
		var event any
		switch body := came.body.(type) {
		case reply:
			event = evReply{1, came.frame.JoinRef, came.frame.Ref, body}
		case system:
			event = evSystem{1, came.frame.JoinRef, body}
		case change:
			event = evChange{1, came.frame.JoinRef, body}
		default:
			event = evEnd{1, came.frame.JoinRef, came.frame.Event == eventError}
		}
		after, effects := step(c, event, now, func() float64 { return 0.5 })
		due := after.due()
		if !due.After(now) && !after.minting {
			t.Errorf("after %s the channel is due at %s, now is %s", data, due, now)
		}
		if (after.reported == Live) != (after.main.phase == live) {
			t.Errorf("after %s reported %v in phase %d", data, after.reported, after.main.phase)
		}
		for _, e := range effects {
			if n, ok := e.(doNotify); ok && n.kind == Live && came.frame.Event != eventSystem {
				t.Errorf("%s made the channel live", data)
			}
		}
	})
}

// liveChannel is a channel that has been joined with ref 6, as in the captured frames.
func liveChannel() (channel, time.Time) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	half := func() float64 { return 0.5 }
	id := int64(83664710)
	c := follow(Target{ID: "pay_1", SessionID: 55, ReferenceID: "550e8400-e29b-41d4-a716-446655440000"}, now)
	for _, event := range []any{
		evTick{},
		evKey{secret.New("key"), 5 * time.Minute},
		evPlace{socket: 1, ref: "6", timeout: 15 * time.Second},
		evReply{1, "6", "6", reply{ok: true, echoes: []bindingReply{{c.target.binding(), &id}}}},
		evSystem{1, "6", system{Extension: extensionChanges, Status: "ok"}},
	} {
		c, _ = step(c, event, now, half)
	}
	return c, now
}
