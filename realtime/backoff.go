package realtime

import "time"

// Backoff of joins and dials: full jitter between the two, doubling, and forgotten only after a stable minute, so that something
// that comes up and falls over again is slowed down like something that never comes up.
const (
	shortestWait = 500 * time.Millisecond
	longestWait  = 60 * time.Second
	stableAfter  = 60 * time.Second
)

// backoff counts failures in a row. Its zero value has none.
type backoff struct{ failures int }

// fail counts a failure and says how long to wait. random is in [0, 1).
func (b backoff) fail(random float64) (backoff, time.Duration) {
	b.failures = min(b.failures+1, 16) // 0.5 s doubled 7 times is past the maximum
	ceiling := min(longestWait, shortestWait<<b.failures)
	return b, shortestWait + time.Duration(random*float64(ceiling-shortestWait))
}
