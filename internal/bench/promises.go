package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/pgtest"
)

// promises measures what the design's table of promises names.
type promises struct {
	Pages    []int  `default:"1000,5000,10000" help:"How many pages are open, in turn."`
	Rate     int    `default:"500" help:"Hints a second."`
	Ends     int    `default:"50" help:"Payments a second that end, from the terminal hint to the callback."`
	Payments int    `default:"5000" help:"Payments that go from registration to an acknowledged callback."`
	Hints    bool   `help:"Measure nothing but hints, of the relay and of the floor in turn."`
	Binary   string `type:"existingfile" placeholder:"FILE" help:"Measure this relay instead of building one."`
	Write    string `type:"path" placeholder:"FILE" help:"Also put the table into this file, between its markers."`
}

// Run prints the table.
func (c *promises) Run(ctx context.Context) error {
	debug.SetGCPercent(1000) // the world around the servers is to take as little of their processors as it can
	folder, err := os.MkdirTemp("", "dollr-relay-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary := c.Binary
	if binary == "" {
		if binary, err = build(ctx, folder); err != nil {
			return err
		}
	}
	var t table
	steps := []func() error{
		func() error { return c.start(ctx, &t, binary, folder) },
		func() error { return c.pages(ctx, &t, binary, folder) },
		func() error {
			return c.through(ctx, &t, "SQLite, `synchronous=FULL`", binary, "sqlite:"+filepath.Join(folder, "through.db"), "500/s")
		},
		func() error { return c.throughPostgres(ctx, &t, binary) },
	}
	if c.Hints {
		steps = steps[1:2]
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	text := t.markdown()
	fmt.Print(text)
	if c.Write != "" && !c.Hints {
		return replace(c.Write, "promises", machine()+"\n\n"+text)
	}
	return nil
}

// start measures the binary and how soon it is ready on an empty database.
func (c *promises) start(ctx context.Context, t *table, binary, folder string) error {
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	t.add("size of the binary", "", fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), "")
	w := newWorld()
	defer w.close()
	const times = 9
	var took []time.Duration
	for i := range times {
		relay, err := w.startRelay(ctx, binary, "sqlite:"+filepath.Join(folder, fmt.Sprintf("start%d.db", i)))
		if err != nil {
			return err
		}
		began := time.Now()
		if err := await(ctx, "ready", func() (bool, error) { return ready(ctx, relay) }); err != nil {
			return err
		}
		took = append(took, relay.ready+time.Since(began))
		if err := relay.stop(); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
	}
	t.add("ready on an empty database", "300 ms", fmt.Sprintf("%s (slowest of %d: %s)", ms(percentile(took, 50)), times, ms(percentile(took, 100))), "")
	return nil
}

func ready(ctx context.Context, relay *process) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+relay.Admin+"/readyz", http.NoBody)
	if err != nil {
		return false, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	return answer.StatusCode == http.StatusOK, answer.Body.Close()
}

// floor measures the floor with so many pages.
func (c *promises) floor(ctx context.Context, n int) (figures, error) {
	s, err := floorSide(ctx, n)
	defer s.end()
	if err == nil {
		err = c.measure(ctx, s)
	}
	if err == nil {
		err = s.asking(ctx, c)
	}
	if err != nil {
		return figures{}, fmt.Errorf("floor with %d pages: %w", n, err)
	}
	return s.figures, nil
}

// relay measures the relay with so many pages.
func (c *promises) relay(ctx context.Context, n int, binary, database string) (figures, error) {
	s, err := relaySide(ctx, n, binary, database)
	defer s.end()
	if err == nil {
		err = c.measure(ctx, s)
	}
	if err == nil {
		s.callbacks, err = s.called()
	}
	if err != nil {
		return figures{}, fmt.Errorf("relay with %d pages: %w", n, err)
	}
	return s.figures, nil
}

func (c *promises) measure(ctx context.Context, s *side) error {
	if !c.Hints {
		if err := s.stand(ctx); err != nil {
			return err
		}
	}
	return s.changes(ctx, c)
}

// pages measures the relay and the floor with each number of pages.
func (c *promises) pages(ctx context.Context, t *table, binary, folder string) error {
	most := slices.Max(c.Pages)
	for round, n := range c.Pages {
		floor, err := c.floor(ctx, n)
		if err != nil {
			return err
		}
		relay, err := c.relay(ctx, n, binary, "sqlite:"+filepath.Join(folder, fmt.Sprintf("pages%d.db", round)))
		if err != nil {
			return err
		}
		promised := func(text string) string { // at the largest number only
			if n < most {
				return ""
			}
			return text
		}
		pages := fmt.Sprintf("%d pages: ", n)
		if !c.Hints {
			t.add(pages+"memory a page", promised("12 KB, half the floor's"), kb(relay.bytes), kb(floor.bytes))
			t.add(pages+"memory of the process", promised("150 MB"), mb(relay.resident), mb(floor.resident))
			t.add(pages+"processor while idle", promised("3 % of a core"), fmt.Sprintf("%.1f %%", relay.idle*100), "")
			t.add(pages+"back after all were cut", promised("1.7 s"), relay.back.Round(10*time.Millisecond).String(), floor.back.Round(10*time.Millisecond).String())
			t.add(pages+"memory meanwhile", promised("under twice"), mb(relay.peak), mb(floor.peak))
		}
		hints := func(rate int, relay, floor []time.Duration, p50, p99 string) {
			t.add(pages+fmt.Sprintf("hint → page at %d/s, p50", rate), promised(p50), ms(percentile(relay, 50)), ms(percentile(floor, 50)))
			t.add(pages+"p99 of that", promised(p99), ms(percentile(relay, 99)), ms(percentile(floor, 99)))
		}
		hints(c.Ends, relay.calm, floor.calm, "1.3 × the floor", "1.3 × the floor")
		hints(c.Rate, relay.busy, floor.busy, "1 ms, 1.3 × the floor", "10 ms, 1.3 × the floor")
		t.add(pages+"p99 while Dollr is asked beside the floor", "", "", ms(percentile(floor.asked, 99)))
		t.add(pages+fmt.Sprintf("terminal hint → callback at %d/s, p50", c.Ends), promised("10 ms"), ms(percentile(relay.callbacks, 50)), "")
		t.add(pages+"p99 of that", "", ms(percentile(relay.callbacks, 99)), "")
	}
	return nil
}

// through measures payments from registration to the acknowledged callback.
func (c *promises) through(ctx context.Context, t *table, engine, binary, database, promised string) error {
	w := newWorld()
	defer w.close()
	relay, err := w.startRelay(ctx, binary, database)
	if err != nil {
		return err
	}
	defer relay.kill()
	began := time.Now()
	if _, err := w.register(ctx, relay, dollrtest.Payout, "COMPLETED", c.Payments, 64); err != nil {
		return err
	}
	if err := await(ctx, "every callback", func() (bool, error) { return len(w.delivered()) == c.Payments, nil }); err != nil {
		return err
	}
	rate := float64(c.Payments) / time.Since(began).Seconds()
	t.add(fmt.Sprintf("registered, asked, verified, called back: %s", engine), promised, fmt.Sprintf("%.0f/s", rate), "")
	return relay.stop()
}

func (c *promises) throughPostgres(ctx context.Context, t *table, binary string) (err error) {
	cluster, err := pgtest.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	database, err := cluster.Create(ctx)
	if err != nil {
		return err
	}
	return c.through(ctx, t, "PostgreSQL on the same machine", binary, database, "")
}

// run runs a program and returns what it complained of.
func run(ctx context.Context, env []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the go command
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// percentile of durations, 0 to 100.
func percentile[T cmp.Ordered](all []T, p int) T {
	if len(all) == 0 {
		var none T
		return none
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)-1)*p/100]
}
