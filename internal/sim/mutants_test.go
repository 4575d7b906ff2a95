//go:build !race

package sim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/sim"
)

const (
	mostSeeds = 600 // that a mutant may take to be found
	replays   = 20
	faithful  = 19 // of them must fail again
	shares    = 4  // in which the mutants are hunted if nothing is said
	envMutant = "SIM_MUTANT"
)

// candidates are how many seeds may find a mutant before one must replay faithfully. A planted fault can be a race of its own: then
// one seed depends on it and another does not. Only a few need more than one.
const candidates = 6

// mutant is a deliberate fault in the product's code: in file, old becomes new.
type mutant struct{ name, file, old, new string }

func TestMutants_areFoundAndReplayed(t *testing.T) {
	t.Parallel()
	if os.Getenv(envWorker) != "" || os.Getenv(envSeed) != "" {
		return
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	chosen := choose(os.Getenv(envMutant), time.Now())
	places := make(chan struct{}, 2) // mutants at a time
	var hunting sync.WaitGroup
	for _, m := range chosen {
		hunting.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := m.hunt(t, root); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		})
	}
	hunting.Wait()
}

// choose picks the mutants of this run: all, those with a word in their name, or, by default, a share that changes from day to
// day, because building and hunting all of them takes minutes.
func choose(word string, now time.Time) (chosen []mutant) {
	for i, m := range mutants() {
		if word == "all" || word != "" && strings.Contains(m.name, word) || word == "" && i%shares == now.YearDay()%shares {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// hunt builds the simulator with the mutant in it, plays seeds until one finds it, and plays that one again.
func (m mutant) hunt(t *testing.T, root string) error {
	t.Helper()
	started := time.Now()
	binary, err := m.build(t.Context(), root, t.TempDir())
	if err != nil {
		return err
	}
	built := time.Since(started)
	crew := crew{t: t, binary: binary, workers: 1}
	first := uint64(1)
	for range candidates {
		var found sim.Result
		crew.play(t.Context(), first, mostSeeds, func(r sim.Result) (more bool) {
			if len(r.Violations) > 0 {
				found = r
			}
			return found.Seed == 0
		})
		if found.Seed == 0 {
			return fmt.Errorf("not found by %d seeds", mostSeeds)
		}
		again := m.replay(t, crew, found.Seed)
		t.Logf("%-44s found by seed %3d, replayed %d of %d times; %.0fs to build, %.0fs to find: %s",
			m.name, found.Seed, again, replays, built.Seconds(), (time.Since(started) - built).Seconds(), clip(found.Violations[0]))
		if again >= faithful {
			return nil
		}
		first = found.Seed + 1
	}
	return fmt.Errorf("none of %d seeds that find it fails again in %d of %d replays", candidates, faithful, replays)
}

// replay plays a seed again and again, and counts how often it fails.
func (m mutant) replay(t *testing.T, crew crew, seed uint64) (again int) {
	t.Helper()
	same := slices.Repeat([]uint64{seed}, replays)
	crew.playThese(t.Context(), same, replays, func(r sim.Result) (more bool) {
		if len(r.Violations) > 0 {
			again++
		}
		return true
	})
	return again
}

func clip(text string) string {
	if len(text) > 150 {
		return text[:150] + "…"
	}
	return text
}

// build compiles this package's tests as if the product had the fault.
func (m mutant) build(ctx context.Context, root, folder string) (binary string, err error) {
	original := filepath.Join(root, filepath.FromSlash(m.file))
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("the place to change occurs %d times in %s, want once", n, m.file)
	}
	changed := filepath.Join(folder, "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600); err != nil {
		return "", err
	}
	binary = filepath.Join(folder, "sim.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", filepath.Join(folder, "overlay.json"), "-o", binary, "./internal/sim")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, output)
	}
	return binary, nil
}
