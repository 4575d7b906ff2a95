package api

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// tidyAfter is how many pages may arrive before it is worth the while to tidy up behind them.
	tidyAfter = 1000
	// tidyQuiet is how long nobody must arrive before it is done.
	tidyQuiet = time.Second
)

// tidier gives memory back behind a crowd. Ten thousand handshakes leave some hundred megabytes of
// garbage behind, and then so little happens that the next collection would come minutes later.
type tidier struct {
	arrived atomic.Int64
	crowded chan struct{}
}

// arrive counts a page that has come.
func (t *tidier) arrive() {
	if t.arrived.Add(1) < tidyAfter {
		return
	}
	select {
	case t.crowded <- struct{}{}:
	default:
	}
}

// run tidies up until ctx ends.
func (t *tidier) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.crowded:
		}
		for last := int64(-1); last != t.arrived.Load(); {
			last = t.arrived.Load()
			select {
			case <-ctx.Done():
				return
			case <-time.After(tidyQuiet):
			}
		}
		t.arrived.Store(0)
		runtime.GC() // stacks that have grown shrink by half each time
		debug.FreeOSMemory()
	}
}
