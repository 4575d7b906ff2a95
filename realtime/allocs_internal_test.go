//go:build !race

package realtime

import "testing"

// TestHint_allocations keeps the way of a hint short, from the frame to the effect: what is allocated there is paid for by every
// change, and once more by the collector when it stops for the next one.
func TestHint_allocations(t *testing.T) { //nolint:paralleltest // others would be counted, too
	const most = 12
	frame := []byte(`[null,null,"realtime:payment-intent:55:550e8400-e29b-41d4-a716-446655440000","postgres_changes",{"ids":[83664710],"data":{` +
		`"schema":"public","table":"checkout_payment_intent_public_status","type":"UPDATE","commit_timestamp":"2026-01-02T03:04:05.678Z","errors":null,` +
		`"columns":[{"name":"id","type":"int8"},{"name":"reference_id","type":"uuid"},{"name":"status","type":"text"}],` +
		`"record":{"id":1,"reference_id":"550e8400-e29b-41d4-a716-446655440000","status":"PROCESSING"},"old_record":{"id":1}}}]`)
	c, now := liveChannel()
	s := &socket{number: 1}
	half := func() float64 { return 0.5 }
	var effects []any
	got := testing.AllocsPerRun(100, func() {
		came, _ := decode(s, frame).(frameCame)
		body, _ := came.body.(change)
		_, effects = step(c, evChange{1, came.frame.JoinRef, body}, now, half)
	})
	if want := (doNotify{kind: Change, status: "PROCESSING"}); len(effects) != 1 || effects[0] != want {
		t.Fatalf("the frame makes %+v, want %+v", effects, want)
	}
	t.Logf("%.0f allocations", got)
	if got > most {
		t.Errorf("a frame allocates %.0f times until it is a hint, want at most %d", got, most)
	}
}
