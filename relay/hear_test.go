package relay_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// TestRelay_hintOfAFailedCommitIsWrittenLater shows pages a hint, and then the database takes neither Dollr's answer to it nor
// the hint alone.
func TestRelay_hintOfAFailedCommitIsWrittenLater(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fails  time.Duration
		answer bool
	}{
		{"the answer's", 100 * time.Millisecond, true},
		{"its own", 2 * time.Second, false},
		{"both", 2 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			beat(t, func(h *heart) {
				p := h.register()
				h.truth(p.ID, relay.ViaPoll, "PENDING")
				h.hint(p.ID, "COMPLETED")
				h.store.set(errFull, nil)
				if tt.answer {
					if _, err := h.Observe(h.t.Context(), p.ID, relay.Truth{Via: relay.ViaVerify, Status: "PROCESSING"}); err == nil {
						h.t.Fatal("Observe() = nil on a full disk, want an error")
					}
				}
				time.Sleep(tt.fails)
				h.store.set(nil, nil)
				h.truth(p.ID, relay.ViaVerify, "PROCESSING")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				events, err := h.store.Events(h.t.Context(), p.ID)
				if err != nil {
					h.t.Fatal(err)
				}
				hints := 0
				for _, e := range events {
					if e.Via == relay.ViaRealtime && e.Status == "COMPLETED" {
						hints++
					}
				}
				if hints != 1 {
					h.t.Errorf("the timeline has the hint %d times, want once: %+v", hints, events)
				}
			})
		})
	}
}

// TestRelay_hintsThatWaitAreBounded has somebody invent two words by turns while the disk is full.
func TestRelay_hintsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		h.truth(p.ID, relay.ViaPoll, "PENDING")
		h.store.set(errFull, nil)
		for i := range 100 {
			h.hint(p.ID, []string{"COMPLETED", "FAILED"}[i%2])
			time.Sleep(100 * time.Millisecond)
		}
		h.store.set(nil, nil)
		h.truth(p.ID, relay.ViaVerify, "PENDING")
		events, err := h.store.Events(h.t.Context(), p.ID)
		if err != nil {
			h.t.Fatal(err)
		}
		hints := 0
		for _, e := range events {
			if e.Via == relay.ViaRealtime {
				hints++
			}
		}
		if hints == 0 || hints > 16 {
			h.t.Errorf("the timeline has %d of 100 hints that came while the disk was full, want the newest 16", hints)
		}
	})
}
