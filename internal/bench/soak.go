package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// soak runs one relay with many pages and payments through trouble that a seed chooses, and looks for broken promises and leaks.
type soak struct {
	For      time.Duration `default:"10m" help:"How long new payments and trouble come."`
	Pages    int           `default:"5000" help:"Pages that stay open on payments that nobody pays."`
	Rate     int           `default:"200" help:"Payments a minute."`
	Seed     uint64        `default:"1" help:"Chooses the trouble and the customers."`
	Database string        `help:"Database of the relay. Default: SQLite in a temporary folder."`
	Write    string        `type:"path" placeholder:"FILE" help:"Put the figures into this Markdown file, and the plot beside it as soak.svg."`
}

// trouble is something that goes wrong until end is called.
type trouble struct {
	name  string
	begin func() (end func(), err error)
}

func troubles(w *world) []trouble {
	realtime := func(f realtimetest.Faults, cut bool) func() (func(), error) {
		return func() (func(), error) {
			w.realtime.SetFaults(f)
			if cut {
				w.realtime.DropAll()
			}
			return func() { w.realtime.SetFaults(realtimetest.Faults{}) }, nil
		}
	}
	dollr := func(f dollrtest.Fault) func() (func(), error) {
		return func() (func(), error) { return w.dollr.ClearFaults, w.dollr.AddFault(f) }
	}
	return []trouble{
		{"realtime cut", realtime(realtimetest.Faults{}, true)},
		{"realtime down", realtime(realtimetest.Faults{Down: true}, true)},
		{"changes lost", realtime(realtimetest.Faults{DropChanges: true}, false)},
		{"changes twice, odd frames", realtime(realtimetest.Faults{DuplicateChanges: true, UnknownEvents: true, MalformedFrames: true}, false)},
		{"Dollr answers 503", dollr(dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 503})},
		{"Dollr answers 429", dollr(dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 429, RetryAfter: "3", Times: 3})},
		{"Dollr is slow", dollr(dollrtest.Fault{Kind: dollrtest.FaultSlow, Delay: 2 * time.Second})},
		{"the shop answers 503", func() (func(), error) {
			w.refuseCallbacks(true)
			return func() { w.refuseCallbacks(false) }, nil
		}},
	}
}

// Run plays it, prints the figures, and fails if anything was broken.
func (c *soak) Run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "dollr-relay-soak-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary, err := build(ctx, folder)
	if err != nil {
		return err
	}
	w := newWorld()
	defer w.close()
	database := c.Database
	if database == "" {
		database = "sqlite:" + filepath.Join(folder, "relay.db")
	}
	relay, err := w.startRelay(ctx, binary, database, "RELAY_POLL_MIN=2s", "RELAY_POLL_MAX=5m", "RELAY_AUDIT_EVERY=30s", "DOLLR_RATE=200")
	if err != nil {
		return err
	}
	defer relay.kill()
	idle, err := w.register(ctx, relay, dollrtest.Payout, "PENDING", c.Pages, 32)
	if err != nil {
		return err
	}

	living, stop := context.WithCancel(ctx)
	defer stop()
	shop := &shop{world: w, relay: relay, seen: map[string]*lastSeen{}, paid: map[string]paid{}}
	random := rand.New(rand.NewPCG(c.Seed, 1))
	var pages, payers sync.WaitGroup
	defer pages.Wait()
	defer stop()
	for _, p := range idle {
		seed := random.Uint64()
		pages.Go(func() { shop.keepOpen(living, p, rand.New(rand.NewPCG(seed, 2))) })
	}
	record := &record{}
	pages.Go(func() { record.sample(living, relay, 5*time.Second) })

	plan := newScript(troubles(w), c.For)
	began := time.Now()
	for n := 0; time.Since(began) < c.For && ctx.Err() == nil; n++ {
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Minute / time.Duration(c.Rate))))
		name, err := plan.play(time.Since(began))
		if err != nil {
			return err
		}
		record.mark(name)
		seed := random.Uint64()
		payers.Go(func() { shop.pay(living, rand.New(rand.NewPCG(seed, 3))) })
	}
	plan.end()
	payers.Wait()
	broken := shop.audit(ctx)
	stop()
	pages.Wait()
	if err := relay.stop(); err != nil {
		broken = errors.Join(broken, fmt.Errorf("the relay did not stop: %w", err))
	}
	broken = errors.Join(broken, record.leaks())
	text := shop.summary() + record.markdown()
	fmt.Print(text)
	if c.Write != "" && broken == nil {
		if err := os.WriteFile(filepath.Join(filepath.Dir(c.Write), "soak.svg"), []byte(record.svg()), 0o644); err != nil { //nolint:gosec // a document
			return err
		}
		broken = replace(c.Write, "soak", machine()+"\n\n"+text)
	}
	return broken
}

// script plays troubles in turn, each for half of its turn, ending a minute before the end so that the relay is seen to recover.
type script struct {
	troubles []trouble
	turn     time.Duration
	until    time.Duration
	playing  int // which, or -1
	stop     func()
}

func newScript(all []trouble, last time.Duration) *script {
	return &script{troubles: all, turn: min(30*time.Second, last/time.Duration(len(all)+1)), until: last - min(time.Minute, last/10), playing: -1}
}

// play begins and ends what is due, and returns the name of the present trouble.
func (s *script) play(now time.Duration) (string, error) {
	which := int(now/s.turn)%(len(s.troubles)+1) - 1 // the first turn is calm
	if now%s.turn > s.turn/2 || now > s.until {
		which = -1
	}
	if which < 0 {
		s.end()
		return "", nil
	}
	if s.playing != which {
		s.end()
		stop, err := s.troubles[which].begin()
		if err != nil {
			return "", err
		}
		s.playing, s.stop = which, stop
	}
	return s.troubles[which].name, nil
}

func (s *script) end() {
	if s.stop != nil {
		s.stop()
	}
	s.stop, s.playing = nil, -1
}

// field reads a number or word out of a page's message, which is flat JSON.
func field(message, name string) string {
	_, rest, ok := strings.Cut(message, `"`+name+`":`)
	if !ok {
		return ""
	}
	return strings.Trim(rest[:strings.IndexAny(rest, ",}")], `"`)
}
