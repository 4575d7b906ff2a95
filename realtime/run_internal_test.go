package realtime

import (
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// TestLoop_lateNewsChangeNothing steps a channel that nobody follows any more, as a frame from a socket that was given up would.
func TestLoop_lateNewsChangeNothing(t *testing.T) {
	t.Parallel()
	feed, err := New(Options{
		URL: "http://realtime.test", AnonKey: secret.New("anon"), Keys: struct{ Keys }{}, Notify: func(e Event) { t.Errorf("heard %+v", e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l := &loop{Feed: feed, followers: map[string]*follower{}, pool: newPool(maxJoins)}
	payment := Target{ID: "pay_1", SessionID: 55, ReferenceID: "550e8400-e29b-41d4-a716-446655440000"}
	l.follow(payment, now)
	fw := l.followers["pay_1"]
	deaf := &socket{number: 1, legs: map[string]*follower{payment.wireTopic(): fw}}
	l.unfollow("pay_1", now)

	for _, event := range []string{eventError, eventClose} {
		l.frame(frameCame{s: deaf, frame: Frame{Topic: payment.wireTopic(), Event: event}}, now)
	}
	l.step(fw, evTick{}, now.Add(time.Hour))
	for state, n := range feed.Stats().Channels {
		if n != 0 {
			t.Errorf("%d channels are %s, want none at all", n, state)
		}
	}
	if at := l.times.next(); !at.IsZero() {
		t.Errorf("something is due at %s, want nothing", at)
	}
}
