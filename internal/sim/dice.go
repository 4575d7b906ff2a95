package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// dice draw everything from the seed and from what the draw is for: a draw that comes earlier or later than in another
// run of the seed is still the same one. That keeps replays faithful where goroutines overtake each other.
type dice uint64

// roll returns the random numbers for a purpose, such as ("answer", payment, 3).
func (d dice) roll(purpose ...any) *rand.Rand {
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, purpose...)
	return rand.New(rand.NewPCG(uint64(d), hash.Sum64()))
}

// between is a duration in [low, high), to the nanosecond, so that hardly any two things happen at the same moment.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}

// chance is true with probability p.
func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// pick draws one of several.
func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// jitter is the relay's own source of randomness. What it gives depends on the moment and how often it was
// asked at that moment, not on all that was asked before.
type jitter struct {
	dice dice

	mu sync.Mutex
	at time.Time
	n  int
}

func (j *jitter) float64() float64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := time.Now(); !now.Equal(j.at) {
		j.at, j.n = now, 0
	}
	j.n++
	return j.dice.roll("jitter", j.at.UnixNano(), j.n).Float64()
}
