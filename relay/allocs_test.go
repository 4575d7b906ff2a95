//go:build !race

package relay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// TestHear_allocations keeps the way of a hint short, from the feed to the notice of its page: what is allocated there is paid
// for by every hint, and once more by the collector when it stops for the next one. Four are Decide's effects, four the
// encoded message with its time, one the name by which pages tell this state from others, one is what other replicas are told.
func TestHear_allocations(t *testing.T) { //nolint:paralleltest // others would be counted, too
	const runs, most = 100, 10
	var got float64
	beat(t, func(h *heart) {
		ids := make([]string, 0, runs+1)
		notices := 0
		for i := range cap(ids) {
			r := card()
			r.ReferenceID = fmt.Sprintf("550e8400-e29b-41d4-a716-%012d", i)
			p, _, err := h.Register(h.t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			page, err := h.OpenPage(h.t.Context(), p.ID, func() { notices++ })
			if err != nil {
				t.Fatal(err)
			}
			defer h.ClosePage(page)
			ids = append(ids, p.ID)
		}
		h.truth(ids[0], relay.ViaPoll, "PENDING")
		notices = 0
		next := 0
		heard := time.Now()
		got = testing.AllocsPerRun(runs, func() { // the bubble's time stands still meanwhile, so nothing else goes on
			h.Hear(ids[next], relay.Heard{Change: &relay.Change{Status: "PROCESSING", At: heard}})
			next++
		})
		if notices != runs+1 {
			t.Errorf("%d hints brought %d notices", runs+1, notices)
		}
	})
	t.Logf("%.0f allocations", got)
	if got > most {
		t.Errorf("a hint allocates %.0f times before its page is notified, want at most %d", got, most)
	}
}
