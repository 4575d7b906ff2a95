package realtime

import (
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// drive steps a channel through events at one moment.
func drive(c channel, now time.Time, events ...any) channel {
	for _, event := range events {
		c, _ = step(c, event, now, func() float64 { return 0.999 })
	}
	return c
}

// liveAgain brings a channel back from waiting, with a new key if it asks for one.
func liveAgain(c channel, now time.Time, life time.Duration) channel {
	id := int64(83664710)
	c = drive(c, now, evTick{})
	if c.minting {
		c = drive(c, now, evKey{secret.New(now.String()), life})
	}
	return drive(c, now,
		evPlace{socket: 1, ref: "6", timeout: 15 * time.Second},
		evReply{1, "6", "6", reply{ok: true, echoes: []bindingReply{{c.target.binding(), &id}}}},
		evSystem{1, "6", system{Extension: extensionChanges, Status: "ok"}},
	)
}

func TestLose_backoffIsForgottenOnlyAfterAStableMinute(t *testing.T) {
	t.Parallel()
	c, now := liveChannel()
	crash := evEnd{1, "6", true}
	var waits []time.Duration
	for range 8 {
		now = now.Add(stableAfter - time.Second)
		c = drive(c, now, crash)
		waits = append(waits, c.retryAt.Sub(now))
		now = c.retryAt
		if c = liveAgain(c, now, time.Hour); c.main.phase != live {
			t.Fatalf("the channel did not come back: %+v", c)
		}
	}
	for i := 1; i < len(waits); i++ {
		if waits[i] < waits[i-1] || waits[i] > longestWait {
			t.Errorf("waits %v do not grow up to %s", waits, longestWait)
		}
	}
	if last := waits[len(waits)-1]; last < 50*time.Second {
		t.Errorf("after eight losses the wait is %s, want about %s", last, longestWait)
	}
	now = now.Add(stableAfter)
	if c = drive(c, now, crash); c.retryAt.Sub(now) > time.Second {
		t.Errorf("after a stable minute the wait is %s, want at most 1s", c.retryAt.Sub(now))
	}
}

func TestLose_keyThatEndsInItsTimeIsNoRefusal(t *testing.T) {
	t.Parallel()
	c, now := liveChannel()
	const life = 30 * time.Second // shorter than what counts as stable
	c.main.matureAt = now.Add(3 * time.Minute)
	now = now.Add(5 * time.Minute)
	for range 5 {
		c = drive(c, now,
			evSystem{1, "6", system{Extension: "system", Status: "error", Message: "Token has expired 0 seconds ago"}},
			evEnd{1, "6", false},
		)
		if !c.minting || c.retryAt.After(now) {
			t.Fatalf("after a key has ended the next try is at %s, now is %s, minting %t; want at once", c.retryAt, now, c.minting)
		}
		if c = liveAgain(c, now, life); c.main.phase != live {
			t.Fatalf("the channel did not come back: %+v", c)
		}
		now = now.Add(life - time.Second) // minting has failed, say: the key was not renewed
		c.minting, c.mintAt = false, now
	}
}

func TestLose_freshKeyThatIsRefusedTwiceTakesTheLongWay(t *testing.T) {
	t.Parallel()
	c, now := liveChannel()
	refuse := evReply{1, "6", "6", reply{reason: "JwtSignatureError: Failed to validate JWT signature"}}
	c = drive(c, now, evEnd{1, "6", true})
	now = c.retryAt
	for i, want := range []time.Duration{0, refusedPause, refusedPause} {
		c = drive(c, now, evTick{})
		if c.minting {
			c = drive(c, now, evKey{secret.New(now.String()), time.Hour})
		}
		c = drive(c, now, evPlace{socket: 1, ref: "6", timeout: 15 * time.Second}, refuse)
		if got := c.retryAt.Sub(now); got < want || got > want+time.Minute {
			t.Errorf("refusal %d: next try in %s, want %s or little more", i+1, got, want)
		}
		now = c.retryAt
	}
}
