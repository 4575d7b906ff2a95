package relay_test

import (
	"errors"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// TestMerge_expiredIsWatchedAgain lets a payment expire, be registered again, and be paid after all.
func TestMerge_expiredIsWatchedAgain(t *testing.T) {
	t.Parallel()
	p, _ := card().Open(time.Hour, noon)
	p, _ = relay.Decide(p, says("PENDING", relay.Amounts{}), noon.Add(2*time.Hour))
	if p.Outcome != relay.Expired {
		t.Fatalf("outcome = %s, want expired", p.Outcome)
	}
	again, effects, err := card().Merge(p, time.Hour, noon.Add(3*time.Hour))
	if err != nil || again.Outcome != relay.Pending || again.Version != p.Version+1 || again.Late || again.PreviousOutcome != "" ||
		!again.WatchUntil.Equal(noon.Add(4*time.Hour)) || records(effects) != 1 {
		t.Fatalf("Merge() = %+v, %v; want it pending again in a new version, watched for an hour", again, err)
	}
	failed, _ := relay.Decide(again, says("FAILED", relay.Amounts{}), noon.Add(3*time.Hour))
	if failed.Late || failed.PreviousOutcome != "" {
		t.Errorf("then failed: late %t after %q, want a plain failure", failed.Late, failed.PreviousOutcome)
	}
	paid, _ := relay.Decide(again, says("COMPLETED", relay.Amounts{}), noon.Add(3*time.Hour))
	if !paid.Late || paid.PreviousOutcome != relay.Expired {
		t.Errorf("then paid: late %t after %q, want late after expired, which the merchant was told", paid.Late, paid.PreviousOutcome)
	}
}

// TestMerge_fillsInWhatWasLeftOut, and refuses what differs.
func TestMerge_fillsInWhatWasLeftOut(t *testing.T) {
	t.Parallel()
	bare := card()
	bare.SessionID, bare.SourceType = 0, ""
	full := card()
	full.SourceID, full.Metadata = 101, map[string]string{"order": "1042"}
	full.Expected = &relay.Expected{Amount: "250.00", Currency: "USD", Side: "payee"}
	p, _ := bare.Open(time.Hour, noon)

	filled, effects, err := full.Merge(p, time.Hour, noon)
	if err != nil || filled.Version != p.Version || records(effects) != 1 || !filled.HasRealtime() || filled.Expected == nil ||
		filled.SourceID != 101 || filled.Metadata["order"] != "1042" {
		t.Fatalf("Merge() = %+v, %v; want every field filled in and the same version", filled, err)
	}
	spelled := full
	spelled.Expected = &relay.Expected{Amount: "250", Currency: "USD"}
	if _, effects, err := spelled.Merge(filled, time.Hour, noon); err != nil || len(effects) != 0 {
		t.Errorf("the same in another spelling: %v, %v; want nothing to do", effects, err)
	}
	if _, effects, err := bare.Merge(filled, time.Hour, noon); err != nil || len(effects) != 0 {
		t.Errorf("less than is known: %v, %v; want nothing to do", effects, err)
	}

	for field, change := range map[string]func(*relay.Registration){
		"session_id":        func(g *relay.Registration) { g.SessionID = 56 },
		"source_type":       func(g *relay.Registration) { g.SourceType = "ORDER" },
		"source_id":         func(g *relay.Registration) { g.SourceID = 102 },
		"expected.amount":   func(g *relay.Registration) { g.Expected = &relay.Expected{Amount: "250.01", Currency: "USD"} },
		"expected.currency": func(g *relay.Registration) { g.Expected = &relay.Expected{Amount: "250", Currency: "LRD"} },
		"expected.side": func(g *relay.Registration) {
			g.Expected = &relay.Expected{Amount: "250", Currency: "USD", Side: "payer"}
		},
		"metadata":  func(g *relay.Registration) { g.Metadata = map[string]string{"order": "1043"} },
		"watch_for": func(g *relay.Registration) { g.WatchFor = 2 * time.Hour },
	} {
		other := full
		change(&other)
		_, _, err := other.Merge(filled, time.Hour, noon)
		var conflict *relay.ConflictError
		if !errors.As(err, &conflict) || conflict.Field != field {
			t.Errorf("another %s: %v, want a conflict about it", field, err)
		}
	}

	final, _ := relay.Decide(p, says("COMPLETED", relay.Amounts{}), noon)
	if _, _, err := full.Merge(final, time.Hour, noon); err == nil {
		t.Error("an expectation filled in after the success would never be checked, want a conflict")
	}
	if _, effects, err := bare.Merge(final, time.Hour, noon); err != nil || len(effects) != 0 {
		t.Errorf("the same again when final: %v, %v; want nothing to do", effects, err)
	}
}
