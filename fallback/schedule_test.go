package fallback_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
)

func TestCadence(t *testing.T) {
	t.Parallel()
	var (
		now   = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		ago   = func(d time.Duration) time.Time { return now.Add(-d) }
		later = func(d time.Duration) time.Time { return now.Add(d) }
		watch = later(48 * time.Hour)
	)
	const never = -1 * time.Hour
	tests := []struct {
		name     string
		facts    fallback.Facts
		min, max time.Duration // from now, at jitter 0 and 1; never: not at all
		via      string
		urgency  dollr.Urgency
	}{
		{"never asked", fallback.Facts{CreatedAt: ago(time.Second), WatchUntil: watch}, -time.Second, -time.Second, "poll", dollr.UrgentYoung},
		{"never asked, page open", fallback.Facts{CreatedAt: now, PageOpen: true}, 0, 0, "poll", dollr.UrgentPage},
		{"never asked, live", fallback.Facts{CreatedAt: now, Live: true}, 0, 0, "poll", dollr.UrgentYoung},

		{"under 2 min", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: now}, 2 * time.Second, 5 * time.Second, "poll", dollr.UrgentYoung},
		{"to 10 min", fallback.Facts{CreatedAt: ago(2 * time.Minute), LastAsked: now}, 12 * time.Second, 18 * time.Second, "poll", dollr.UrgentYoung},
		{"to 1 h", fallback.Facts{CreatedAt: ago(10 * time.Minute), LastAsked: now}, 36 * time.Second, 54 * time.Second, "poll", dollr.UrgentOld},
		{"older", fallback.Facts{CreatedAt: ago(time.Hour), LastAsked: now, WatchUntil: watch}, 4 * time.Minute, 5 * time.Minute, "poll", dollr.UrgentOld},
		{"page open", fallback.Facts{CreatedAt: ago(30 * time.Minute), LastAsked: now, PageOpen: true}, 36 * time.Second, 54 * time.Second, "poll", dollr.UrgentPage},
		{"overdue", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: ago(30 * time.Second)}, -28 * time.Second, -25 * time.Second, "poll", dollr.UrgentYoung},

		{"live", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: now, Live: true}, 24 * time.Second, 36 * time.Second, "audit", dollr.UrgentAudit},
		{"live, page open", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: now, Live: true, PageOpen: true}, 24 * time.Second, 36 * time.Second, "audit", dollr.UrgentAudit},
		{"just lost", fallback.Facts{CreatedAt: ago(30 * time.Minute), LastAsked: ago(time.Second), LostAt: now}, 0, 4 * time.Second, "poll", dollr.UrgentOld},
		{"lost and asked since", fallback.Facts{CreatedAt: ago(30 * time.Minute), LastAsked: now, LostAt: ago(time.Second)}, 36 * time.Second, 54 * time.Second, "poll", dollr.UrgentOld},

		{"U13 failures stretch nothing", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: now, Failures: 9}, 2 * time.Second, 5 * time.Second, "poll", dollr.UrgentYoung},
		{"U20 refused", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: now, Failures: 1, Refused: true}, 48 * time.Second, 72 * time.Second, "poll", dollr.UrgentYoung},

		{"hint not asked about yet", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: ago(10 * time.Second), HintedAt: now, Live: true}, 0, 0, "verify", dollr.UrgentVerify},
		{"hint that truth lags behind", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: now, HintedAt: ago(58 * time.Second), Live: true}, 2 * time.Second, 2 * time.Second, "verify", dollr.UrgentVerify},
		{"hint after 60 s", fallback.Facts{CreatedAt: ago(2 * time.Minute), LastAsked: now, HintedAt: ago(time.Minute), Live: true}, 24 * time.Second, 36 * time.Second, "audit", dollr.UrgentAudit},
		{"U17 hint after a failure", fallback.Facts{Final: true, FinalAt: ago(time.Minute), LastAsked: ago(time.Minute), HintedAt: now}, 0, 0, "verify", dollr.UrgentVerify},
		{"U16 hint after a success", fallback.Facts{Final: true, Succeeded: true, FinalAt: ago(time.Minute), LastAsked: ago(time.Minute), HintedAt: now}, 59 * time.Minute, 59 * time.Minute, "reconcile", dollr.UrgentOld},

		{"watch ends before the next poll", fallback.Facts{CreatedAt: ago(2 * time.Hour), LastAsked: now, WatchUntil: later(time.Minute)}, time.Minute, time.Minute, "poll", dollr.UrgentOld},
		{"watch ends while live", fallback.Facts{CreatedAt: ago(2 * time.Hour), LastAsked: now, WatchUntil: later(time.Second), Live: true}, time.Second, time.Second, "poll", dollr.UrgentAudit},
		{"watch ended, last question open", fallback.Facts{CreatedAt: ago(2 * time.Hour), LastAsked: ago(time.Minute), WatchUntil: ago(time.Second)}, -time.Second, -time.Second, "poll", dollr.UrgentOld},
		{"watch ended, last question unanswered", fallback.Facts{CreatedAt: ago(2 * time.Hour), LastAsked: now, WatchUntil: ago(time.Second), Failures: 1}, 4 * time.Minute, 5 * time.Minute, "poll", dollr.UrgentOld},

		{"failed", fallback.Facts{Final: true, FinalAt: now, LastAsked: now}, time.Hour, time.Hour, "reconcile", dollr.UrgentOld},
		{"failed, asked after 1 h", fallback.Facts{Final: true, FinalAt: ago(time.Hour), LastAsked: now}, 23 * time.Hour, 23 * time.Hour, "reconcile", dollr.UrgentOld},
		{"failed, asked after 24 h", fallback.Facts{Final: true, FinalAt: ago(24 * time.Hour), LastAsked: now}, never, never, "", 0},
		{"succeeded", fallback.Facts{Final: true, Succeeded: true, FinalAt: now, LastAsked: now}, time.Hour, time.Hour, "reconcile", dollr.UrgentOld},
		{"succeeded, asked after 24 h", fallback.Facts{Final: true, Succeeded: true, FinalAt: ago(25 * time.Hour), LastAsked: now}, never, never, "", 0},
		{"down during the first slot", fallback.Facts{Final: true, FinalAt: ago(20 * time.Hour), LastAsked: ago(19 * time.Hour)}, 4 * time.Hour, 4 * time.Hour, "reconcile", dollr.UrgentOld},
		{"down for both slots", fallback.Facts{Final: true, FinalAt: ago(50 * time.Hour), LastAsked: ago(50 * time.Hour)}, -49 * time.Hour, -49 * time.Hour, "reconcile", dollr.UrgentOld},
		{"no answer at 1 h", fallback.Facts{Final: true, FinalAt: ago(time.Hour), LastAsked: now, Failures: 1}, 12 * time.Minute, 18 * time.Minute, "reconcile", dollr.UrgentOld},
		{"no answer for a day", fallback.Facts{Final: true, FinalAt: ago(49 * time.Hour), LastAsked: now, Failures: 99}, never, never, "", 0},
		{"reopened", fallback.Facts{Final: true, FinalAt: ago(time.Minute), LastAsked: now, ReopenedUntil: later(24 * time.Hour)}, 4 * time.Minute, 6 * time.Minute, "reconcile", dollr.UrgentOld},
		{"reopened after all slots", fallback.Facts{Final: true, FinalAt: ago(30 * time.Hour), LastAsked: now, ReopenedUntil: later(time.Hour)}, 4 * time.Minute, 6 * time.Minute, "reconcile", dollr.UrgentOld},
		{"reopened long ago", fallback.Facts{Final: true, FinalAt: ago(30 * time.Hour), LastAsked: now, ReopenedUntil: ago(time.Hour)}, never, never, "", 0},
		{"the clock was set back before the first question", fallback.Facts{CreatedAt: later(time.Hour)}, 0, 0, "poll", dollr.UrgentYoung},
		{"the clock was set back after a hint", fallback.Facts{CreatedAt: ago(time.Minute), LastAsked: ago(time.Second), HintedAt: later(time.Hour)}, time.Second, time.Second, "verify", dollr.UrgentVerify},
		{"the clock was ahead when it expired", fallback.Facts{CreatedAt: ago(time.Minute), Final: true, FinalAt: later(100 * time.Hour), LastAsked: later(100 * time.Hour)}, time.Hour, time.Hour, "reconcile", dollr.UrgentOld},
		{"the clock was set back", fallback.Facts{CreatedAt: later(time.Hour), LastAsked: later(time.Hour)}, 2 * time.Second, 5 * time.Second, "poll", dollr.UrgentYoung},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for jitter, want := range map[float64]time.Duration{0: tt.min, 1: tt.max} {
				due, via, u, ok := fallback.Cadence{}.Next(tt.facts, now, jitter)
				if !ok {
					if want != never {
						t.Errorf("never due, want in %s", want)
					}
					continue
				}
				if got := due.Sub(now); got != want || via != tt.via || u != tt.urgency {
					t.Errorf("at jitter %g due in %s via %s, %s, want in %s via %s, %s", jitter, got, via, u, want, tt.via, tt.urgency)
				}
			}
		})
	}
}

// Whatever the facts: open payments have a next question, within the bounds that the operator set.
func TestCadence_alwaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	upTo := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
	coin := func() bool { return rng.IntN(2) == 0 }
	for range 20_000 {
		c := fallback.Cadence{PollMin: time.Second + upTo(time.Minute), AuditEvery: time.Second + upTo(time.Minute)}
		c.PollMax = c.PollMin + upTo(10*time.Minute)
		f := fallback.Facts{
			CreatedAt: now.Add(-upTo(100 * time.Hour)), LastAsked: now, Failures: rng.IntN(100), Refused: coin(),
			Live: coin(), PageOpen: coin(), WatchUntil: now.Add(upTo(100*time.Hour) - 50*time.Hour),
		}
		if coin() {
			f.LostAt = now.Add(upTo(time.Minute) - time.Minute)
		}
		due, via, _, ok := c.Next(f, now, rng.Float64())
		wait := due.Sub(now)
		most, least := c.PollMax, c.PollMin
		if f.Live {
			most, least = c.AuditEvery*6/5, c.AuditEvery*4/5
		}
		if f.WatchUntil.After(now) {
			least = min(least, f.WatchUntil.Sub(now))
		}
		if !ok || wait < least || wait > most {
			t.Fatalf("Next(%+v) of %+v = in %s via %s, %t, want within %s and %s", f, c, wait, via, ok, least, most)
		}
	}
}
