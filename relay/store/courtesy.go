package store

import "time"

const (
	// politeWithin is how long it may take to get the processor back. Where all are busy with others it takes a turn of each of
	// them: too much to lose between the statements of a commit.
	politeWithin = 2 * time.Millisecond
	// rudeFor is how long nobody is let by after that.
	rudeFor = 100 * time.Millisecond
)

// courtesy lets by who waits for the processor, between two statements. SQLite computes where others wait for the network: the
// kernel may put the thread that has a hint for a page behind the one that commits, and leaves it there until that sleeps. On two
// cores, at 500 hints a second, it was every tenth hint (docs/benchmarks.md). One goroutine at a time uses it.
type courtesy struct {
	rude time.Time // until then
}

func (c *courtesy) letBy(yield func()) {
	began := time.Now()
	if began.Before(c.rude) {
		return
	}
	yield()
	if time.Since(began) > politeWithin {
		c.rude = began.Add(rudeFor)
	}
}
