package store

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestCourtesy_notAmongTheRude has the processor come back late, as where many others compute: a commit must not wait for all of
// them at each of its statements.
func TestCourtesy_notAmongTheRude(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c courtesy
		yields, away := 0, politeWithin
		statements := func(n int) int {
			yields = 0
			for range n {
				c.letBy(func() {
					yields++
					time.Sleep(away)
				})
			}
			return yields
		}
		if n := statements(10); n != 10 {
			t.Errorf("back in time: let by at %d of 10 statements", n)
		}
		away = 5 * time.Millisecond
		if n := statements(10); n != 1 {
			t.Errorf("back late: let by at %d of 10 statements, want the first only", n)
		}
		time.Sleep(rudeFor)
		away = 0
		if n := statements(10); n != 10 {
			t.Errorf("%s later: let by at %d of 10 statements", rudeFor, n)
		}
	})
}
