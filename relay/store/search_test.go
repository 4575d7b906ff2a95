package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// searches is part of the conformance suite.
func searches(t *testing.T, s *store.Store) {
	labelled := func(metadata map[string]string) relay.Payment {
		g := collection()
		g.Metadata = metadata
		return register(t, s, g)
	}
	first := labelled(map[string]string{"order": "1042", "customer": "Amélie <b>"})
	second := labelled(map[string]string{"order": "1043", "again": "1042", "same": "1043", "empty": ""})
	bare := labelled(nil)
	must(t, s, bare.ID, completed(), noon)

	tests := []struct {
		name, text string
		want       []relay.Payment
	}{
		{"a value of one", "1043", []relay.Payment{second}},
		{"a value of two, newest first", "1042", []relay.Payment{second, first}},
		{"a value with markup", "Amélie <b>", []relay.Payment{first}},
		{"a part of a value", "104", nil},
		{"a pattern", "%", nil},
		{"a key", "order", nil},
		{"nothing", "", nil},
		{"an id", first.ID, []relay.Payment{first}},
		{"an id in capitals", strings.ToUpper(first.ID), []relay.Payment{first}},
		{"a reference in capitals", strings.ToUpper(second.ReferenceID), []relay.Payment{second}},
		{"a webhook-id", relay.ReportID(bare.ID, "payment.succeeded"), []relay.Payment{bare}},
		{"quotes", `'"; DROP TABLE payments; --`, nil},
	}
	for _, tt := range tests {
		if got := search(t, s, tt.text); !slices.Equal(got, ids(tt.want)) {
			t.Errorf("Search(%s: %q) = %q, want %q", tt.name, tt.text, got, ids(tt.want))
		}
	}

	// What a later registration fills in is found, too.
	g := collection()
	g.Metadata = nil
	p := register(t, s, g)
	g.Metadata = map[string]string{"order": "2001"}
	register(t, s, g)
	if got := search(t, s, "2001"); !slices.Equal(got, []string{p.ID}) {
		t.Errorf("Search(2001) = %q after metadata was filled in, want %q", got, p.ID)
	}

	// A value that all payments have costs and brings no more than the limit.
	for i := range 30 {
		p = labelled(map[string]string{"channel": "web", "order": fmt.Sprint("w", i)})
	}
	found, err := s.Search(t.Context(), "web", 10)
	if err != nil || len(found) != 10 || found[0].ID != p.ID {
		t.Errorf("Search(web) = %d payments from %q, %v, want the newest 10", len(found), found[0].ID, err)
	}

	// A database of before is searchable after the migration.
	if err := store.Relabel(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if got := search(t, s, tt.text); !slices.Equal(got, ids(tt.want)) {
			t.Errorf("Search(%s: %q) = %q after the migration, want %q", tt.name, tt.text, got, ids(tt.want))
		}
	}
}

// callbacksOf is part of the conformance suite.
func callbacksOf(t *testing.T, s *store.Store) {
	p, other := register(t, s, collection()), register(t, s, collection())
	must(t, s, other.ID, completed(), noon)
	must(t, s, p.ID, relay.Truth{Via: relay.ViaPoll, Status: "FAILED"}, noon)
	must(t, s, p.ID, completed(), noon.Add(time.Minute))
	for i, state := range []callback.State{callback.Dead, callback.Delivered} {
		claimed, err := s.Claim(t.Context(), hook, 10, noon.Add(time.Hour), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range claimed {
			if d.PaymentID != p.ID {
				continue
			}
			r := callback.Result{At: noon.Add(time.Hour), Code: 500 + i, State: state, Attempted: true, Err: "no", Response: "<b>"}
			if err := s.Finish(t.Context(), d, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	found, err := s.CallbacksOf(t.Context(), p.ID)
	if err != nil || len(found) != 2 || found[0].Type != "payment.failed" || found[1].Type != "payment.succeeded" {
		t.Fatalf("CallbacksOf() = %+v, %v; want failed, succeeded", found, err)
	}
	for i, c := range found {
		if len(c.Attempts) != 1 || c.Attempts[0].Status != 500+i || c.Attempts[0].Response != "<b>" {
			t.Errorf("attempts of %s = %+v, want its one", c.Type, c.Attempts)
		}
	}
	pending, dead, err := s.Undelivered(t.Context())
	if pending != 1 || dead != 1 || err != nil {
		t.Errorf("Undelivered() = %d, %d, %v; want the other payment's pending and one dead", pending, dead, err)
	}
	if none, err := s.CallbacksOf(t.Context(), "pay_unknown"); len(none) != 0 || err != nil {
		t.Errorf("CallbacksOf(unknown) = %v, %v; want none", none, err)
	}
}

func search(t *testing.T, s *store.Store, text string) []string {
	t.Helper()
	found, err := s.Search(t.Context(), text, 50)
	if err != nil {
		t.Fatalf("Search(%q) = %v", text, err)
	}
	return ids(found)
}

func ids(payments []relay.Payment) []string {
	var all []string
	for _, p := range payments {
		all = append(all, p.ID)
	}
	return all
}
