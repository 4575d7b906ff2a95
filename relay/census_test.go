package relay_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// TestCensus_countsOpenPaymentsByAgeAndLink has an old payment, a young one, a live one and a settled one.
func TestCensus_countsOpenPaymentsByAgeAndLink(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		register := func(reference string) string {
			g := card()
			g.ReferenceID = reference
			p, _, err := h.Register(t.Context(), g)
			if err != nil {
				t.Fatal(err)
			}
			return p.ID
		}
		old := register("550e8400-e29b-41d4-a716-446655440001")
		time.Sleep(30 * time.Minute)
		live, young, settled := register("550e8400-e29b-41d4-a716-446655440002"), register("550e8400-e29b-41d4-a716-446655440003"),
			register("550e8400-e29b-41d4-a716-446655440004")
		h.truth(settled, relay.ViaPoll, "COMPLETED")
		h.live(live)

		bounds := []time.Duration{time.Minute, time.Hour}
		want := []map[relay.Link]int{{relay.Live: 1, relay.Polling: 1}, {relay.Polling: 1}, {}}
		if got := h.Census(bounds); !slices.EqualFunc(got, want, maps.Equal) {
			t.Errorf("Census() = %v, want %v", got, want)
		}
		young2 := []string{live, young} // registered at once, so in the order of their ids
		slices.Sort(young2)
		tests := []struct {
			name     string
			link     relay.Link
			min, max time.Duration
			limit    int
			want     []string
			total    int
		}{
			{"all", relay.Unwatched, 0, 0, 10, append([]string{old}, young2...), 3},
			{"the longest waiting", relay.Unwatched, 0, 0, 1, []string{old}, 3},
			{"live ones", relay.Live, 0, 0, 10, []string{live}, 1},
			{"young ones", relay.Unwatched, 0, time.Minute, 10, young2, 2},
			{"old ones", relay.Polling, time.Minute, time.Hour, 10, []string{old}, 1},
			{"very old ones", relay.Unwatched, time.Hour, 0, 10, nil, 0},
		}
		for _, tt := range tests {
			if got, total := h.Open(tt.link, tt.min, tt.max, tt.limit); !slices.Equal(got, tt.want) || total != tt.total {
				t.Errorf("Open(%s) = %q of %d, want %q of %d", tt.name, got, total, tt.want, tt.total)
			}
		}

		h.store.set(errors.New("disk I/O error"), nil)
		time.Sleep(5 * time.Second)
		if got := h.Census(bounds)[1][relay.Degraded]; got != 1 || !h.StoreDown() {
			t.Errorf("with a broken database: %d old ones degraded, StoreDown() = %t; want 1, true", got, h.StoreDown())
		}
		h.store.set(nil, nil)
		time.Sleep(5 * time.Second)
		if h.StoreDown() {
			t.Error("StoreDown() after the database came back, want false")
		}
	})
}
