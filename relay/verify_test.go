package relay_test

import (
	"testing"

	"github.com/dollr-relay/dollr-relay/relay"
)

// TestRelay_verifyAsksOnceMore: a question that was under way may have left before the customer paid.
func TestRelay_verifyAsksOnceMore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		joined bool
		left   relay.Outcome
		asked  int
	}{
		{"its own question, pending", false, relay.Pending, 1},
		{"joined, pending", true, relay.Pending, 2},
		{"joined, still expired", true, relay.Expired, 2},
		{"joined, failed", true, relay.Failed, 1},
		{"joined, succeeded", true, relay.Succeeded, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			beat(t, func(h *heart) {
				p, asked := h.register(), 0
				h.answer = func(relay.Question) (relay.Payment, bool, error) {
					asked++
					answer := p
					answer.Outcome = tt.left
					return answer, tt.joined && asked == 1, nil
				}
				if _, err := h.Verify(h.t.Context(), p.ID, relay.ViaVerify); err != nil {
					t.Error(err)
				}
				if asked != tt.asked {
					t.Errorf("asked %d times, want %d", asked, tt.asked)
				}
			})
		})
	}
}
