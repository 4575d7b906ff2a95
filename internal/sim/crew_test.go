package sim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/dollr-relay/dollr-relay/internal/sim"
)

// share is how many seeds a worker plays before the next one takes over.
const share = 50

// crew plays seeds in worker processes of a test binary. Each has one thread of Go code at a time and is not preempted, so
// that goroutines take turns as in the last run of the seed, and one that dies takes nothing with it but its own seed.
type crew struct {
	t       *testing.T
	binary  string
	workers int // default: one for each processor
}

// play plays count seeds from first on and hands on each result, one at a time, until see wants no more.
func (c crew) play(ctx context.Context, first uint64, count int, see func(sim.Result) (more bool)) {
	seeds := make([]uint64, count)
	for i := range seeds {
		seeds[i] = first + uint64(i)
	}
	c.playThese(ctx, seeds, share, see)
}

func (c crew) playThese(ctx context.Context, seeds []uint64, share int, see func(sim.Result) (more bool)) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var mu sync.Mutex
	next := func() (mine []uint64) {
		mu.Lock()
		defer mu.Unlock()
		n := min(share, len(seeds))
		mine, seeds = seeds[:n], seeds[n:]
		return mine
	}
	seen := func(r sim.Result) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil && !see(r) {
			enough()
		}
	}
	if c.workers == 0 {
		c.workers = runtime.NumCPU()
	}
	var working sync.WaitGroup
	for range c.workers {
		working.Go(func() {
			for mine := next(); len(mine) > 0 && ctx.Err() == nil; mine = next() {
				for len(mine) > 0 && ctx.Err() == nil {
					mine = c.work(ctx, mine, seen)
				}
			}
		})
	}
	working.Wait()
}

// work plays seeds in one worker. It returns those that are left if the worker died.
func (c crew) work(ctx context.Context, seeds []uint64, seen func(sim.Result)) (left []uint64) {
	results := filepath.Join(c.t.TempDir(), "results")
	texts := make([]string, len(seeds))
	for i, seed := range seeds {
		texts[i] = strconv.FormatUint(seed, 10)
	}
	worker := exec.CommandContext(ctx, c.binary, "-test.run=^TestWorker$", "-test.timeout=0")
	worker.Env = append(os.Environ(), envWorker+"="+strings.Join(texts, ","), envResults+"="+results, "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1", "GOGC=1000")
	output, err := worker.CombinedOutput()
	if ctx.Err() != nil {
		return nil
	}
	written, _ := os.ReadFile(results) // none: the first seed killed the worker
	lines := bufio.NewScanner(bytes.NewReader(written))
	lines.Buffer(nil, 64<<20)
	done := 0
	for lines.Scan() {
		var r sim.Result
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			break
		}
		done++
		seen(r)
	}
	if done == len(seeds) {
		return nil
	}
	text := "the process died"
	if err != nil {
		text += ": " + err.Error()
	}
	seen(sim.Result{Seed: seeds[done], Violations: []string{text}, History: tail(string(output), 40)})
	return seeds[done+1:]
}
