package sim_test

import (
	"cmp"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/sim"
)

// What `make sim` and the tests tell each other in the environment.
const (
	envSeed    = "SIM_SEED"    // play this one and print its history
	envSeeds   = "SIM_SEEDS"   // how many to play
	envFirst   = "SIM_FIRST"   // beginning with this one
	envWorker  = "SIM_WORKER"  // the seeds that a worker plays, comma separated
	envResults = "SIM_RESULTS" // the file that it writes their results to
)

// stuckAfter is when a worker gives a seed up, in real time: it neither ends nor deadlocks.
const stuckAfter = 10 * time.Minute

// play plays a seed in a bubble.
func play(t *testing.T, seed uint64) (result sim.Result) {
	t.Helper()
	folder, err := os.MkdirTemp(memory(), "dollr-relay-sim-") //nolint:usetesting // in memory, and gone after each of many seeds
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	synctest.Test(t, func(t *testing.T) { result = sim.Run(t.Context(), seed, folder) })
	return result
}

// memory is a folder in memory, where there is one: thousands of databases are synced thousands of times.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

// TestWorker is no test: it is how a worker process plays its seeds, see crew.
func TestWorker(t *testing.T) {
	t.Parallel()
	seeds := os.Getenv(envWorker)
	if seeds == "" {
		return
	}
	out, err := os.OpenFile(os.Getenv(envResults), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	for text := range strings.SplitSeq(seeds, ",") {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		stuck := time.AfterFunc(stuckAfter, func() { panic("the seed " + text + " does not end") })
		r := play(t, seed)
		stuck.Stop()
		if len(r.Violations) == 0 {
			r.History = ""
		}
		if err := json.NewEncoder(out).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSeeds plays many seeds, or the one that [envSeed] names.
func TestSeeds(t *testing.T) {
	t.Parallel()
	if os.Getenv(envWorker) != "" {
		return
	}
	if text := os.Getenv(envSeed); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SEED=%s is no seed", text)
		}
		r := play(t, seed)
		t.Logf("\n%s", r.History)
		for _, violation := range r.Violations {
			t.Error(violation)
		}
		return
	}
	count, err := strconv.Atoi(cmp.Or(os.Getenv(envSeeds), strconv.Itoa(defaultSeeds)))
	if err != nil {
		t.Fatalf("SEEDS: %v", err)
	}
	first, err := strconv.ParseUint(cmp.Or(os.Getenv(envFirst), "1"), 10, 64)
	if err != nil {
		t.Fatalf("FIRST: %v", err)
	}
	started := time.Now()
	failed := 0
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	crew := crew{t: t, binary: self}
	crew.play(t.Context(), first, count, func(r sim.Result) (more bool) {
		if len(r.Violations) > 0 {
			failed++
			t.Errorf("seed %d breaks promises:\n  %s\nreplay it with: make sim SEED=%d\n%s",
				r.Seed, strings.Join(r.Violations, "\n  "), r.Seed, tail(r.History, 60))
		}
		return failed < 5
	})
	t.Logf("%d seeds from %d on in %s", count, first, time.Since(started).Round(time.Second))
}

// tail is the end of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
