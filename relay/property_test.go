package relay_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// TestDecide_properties lets Decide see thousands of random sequences, and checks after every step
// what must hold whatever happens.
func TestDecide_properties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20_000) {
		if why := play(seed); why != "" {
			t.Fatalf("seed %d: %s", seed, why)
		}
	}
}

// play runs one random life of a payment and says what was violated, or nothing.
func play(seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	now := noon
	p, _ := registration(rng).Open(time.Hour, now)
	truthSaid := map[string]bool{}
	reported := map[string]int{}
	shown := relay.PageStatus{Version: p.Version}
	for step := range 60 {
		now = now.Add(time.Duration(rng.Int64N(int64(30 * time.Minute))))
		before := p
		seen := observation(rng, now)
		if truth, ok := seen.(relay.Truth); ok {
			truthSaid[truth.Status] = true
		}
		var effects []relay.Effect
		p, effects = relay.Decide(p, seen, now)
		for _, effect := range effects {
			if r, ok := effect.(relay.Report); ok {
				reported[r.Type]++
			}
			if s, ok := effect.(relay.Publish); ok {
				if s.Status.Version < shown.Version || shown.Final && s.Status.Version == shown.Version {
					return fmt.Sprintf("step %d: a page that saw %+v was shown %+v", step, shown, s.Status)
				}
				if s.Status.Verified && s.Status.Version != p.Version {
					return fmt.Sprintf("step %d: verified status %+v of another version than %d", step, s.Status, p.Version)
				}
				shown = s.Status
			}
		}
		if why := violated(before, p, seen, effects, truthSaid); why != "" {
			return fmt.Sprintf("step %d, %#v: %s\nbefore %+v\nafter  %+v", step, seen, why, before, p)
		}
	}
	for kind, n := range reported {
		if (kind == "payment.succeeded" || kind == "payment.contradicted") && n > 1 {
			return fmt.Sprintf("%s was reported %d times", kind, n)
		}
	}
	return ""
}

func violated(before, after relay.Payment, seen relay.Observation, effects []relay.Effect, truthSaid map[string]bool) string {
	success := map[relay.Operation]string{relay.Source: "PAID", relay.Collection: "COMPLETED"}[after.Operation]
	changed := before.Status != after.Status || before.Outcome != after.Outcome || before.Late != after.Late || before.Contradicted != after.Contradicted
	_, truth := seen.(relay.Truth)
	switch {
	case after.Version < before.Version || after.Version > before.Version+1:
		return "the version jumped"
	case changed != (after.Version > before.Version):
		return "the version does not tell of the change"
	case changed && !truth && after.Outcome != relay.Expired:
		return "something other than truth changed the state"
	case (after.Outcome == relay.Succeeded || after.Outcome == relay.Mismatch) && !truthSaid[success]:
		return "a success that truth never told"
	case before.Outcome == relay.Succeeded && after.Outcome != relay.Succeeded:
		return "success was overwritten"
	case before.Final() && !after.Final():
		return "a final payment became pending"
	case before.Contradicted && !after.Contradicted:
		return "a contradiction was forgotten"
	case after.Outcome == relay.Expired && after.Verified():
		return "expired counts as verified"
	case (before.Outcome != after.Outcome) != (len(reports(effects)) == 1) && before.Contradicted == after.Contradicted:
		return "outcome and report do not go together"
	}
	return ""
}

func registration(rng *rand.Rand) relay.Registration {
	g := relay.Registration{Operation: relay.Collection, ReferenceID: "550e8400-e29b-41d4-a716-446655440000", SessionID: 55, SourceType: "ORDER"}
	if rng.IntN(3) == 0 {
		g = relay.Registration{Operation: relay.Source, SourceType: "ORDER", SourceID: 7}
	}
	if rng.IntN(2) == 0 {
		g.Expected = &relay.Expected{Amount: "250", Currency: "USD"}
	}
	return g
}

func observation(rng *rand.Rand, now time.Time) relay.Observation {
	words := []string{"PENDING", "PROCESSING", "COMPLETED", "FAILED", "IDLE", "ACTIVE", "PAID", "CANCELED", "completed", "ODD", ""}
	word := words[rng.IntN(len(words))]
	switch rng.IntN(5) {
	case 0:
		return relay.Hint{Status: word, At: now}
	case 1:
		reasons := []string{"not_found", "refused", "rate_limited", "unreachable", "unreadable"}
		return relay.Silence{Via: relay.ViaPoll, Reason: reasons[rng.IntN(len(reasons))]}
	default:
		amounts := []relay.Amounts{{}, fits, less, {TotalAmount: "250.0", Currency: "USD"}}
		return relay.Truth{Via: relay.ViaPoll, Status: word, Amounts: amounts[rng.IntN(len(amounts))]}
	}
}
