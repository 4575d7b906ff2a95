package sim

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// Result is what became of a seed.
type Result struct {
	Seed       uint64   `json:"seed"`
	Violations []string `json:"violations,omitempty"` // promises that the relay broke; none: all is well
	History    string   `json:"history,omitempty"`    // the plan and all that happened
}

// world is one seed being played.
type world struct {
	plan    *plan
	dice    dice
	start   time.Time
	history *history
	referee *referee
	net     *network
	outside *line // of Dollr and the shops
	people  *line // of everybody who calls the relay
	bank    *bank
	shops   []*shop
	folder  string

	mu       sync.Mutex
	posts    map[int]*process // those that run now, by post; one has the post 0
	database *database        // that several share; nil: there is one relay
	lives    []*process
	number   int
	offset   time.Duration // of the relay's wall clock
	latest   time.Time     // that the relay's wall clock has ever shown
}

// Run plays a seed. The database lies in folder, which must be empty; a folder in memory is much faster.
func Run(ctx context.Context, seed uint64, folder string) Result {
	start := time.Now()
	p := newPlan(seed)
	w := &world{plan: p, dice: p.dice, start: start, history: &history{start: start}, net: newNetwork(p.dice), folder: folder, posts: map[int]*process{}}
	w.outside, w.people = w.net.line(), w.net.line()
	w.referee = newReferee(w)
	w.bank = newBank(w)
	for n := range p.shops {
		w.shops = append(w.shops, newShop(w, n))
	}
	w.play(ctx)
	return Result{Seed: seed, Violations: w.referee.found(), History: p.String() + "\n" + w.history.String()}
}

// play lets everybody act until the trouble is over, and then sees whether all comes right.
func (w *world) play(ctx context.Context) {
	var servers sync.WaitGroup
	closeBank := w.bank.open(&servers)
	var closeShops []func()
	for _, s := range w.shops {
		closeShops = append(closeShops, s.open(&servers))
	}
	if w.plan.replicas > 1 {
		w.share(ctx)
	} else {
		w.launch(ctx, w.databasePath())
	}

	acting, stopActing := context.WithCancel(ctx)
	var actors sync.WaitGroup
	for _, o := range w.plan.orders {
		actors.Go(func() { w.bank.play(acting, o) })
		m := newMerchant(w, o)
		actors.Go(func() { m.run(acting) })
		for n, v := range o.visits {
			c := &customer{world: w, order: o, merchant: m, number: n, visit: v}
			actors.Go(func() { c.run(acting) })
		}
	}
	reader := &feedReader{world: w}
	actors.Go(func() { reader.run(acting) })
	actors.Go(func() { w.operate(acting) })
	actors.Go(func() { w.weather(acting) })
	actors.Go(func() { w.turnClock(acting) })
	actors.Go(func() { w.guard(acting) })
	var befalling sync.WaitGroup
	befalling.Go(func() { w.befall(ctx) })
	w.execute(ctx)
	w.sleepUntil(ctx, w.plan.lasts)
	befalling.Wait()
	w.history.note("world", "trouble is over")

	w.settle(ctx, reader)
	stopActing()
	actors.Wait()
	w.finish()
	for _, end := range append(closeShops, closeBank) {
		end()
	}
	w.people.sever()
	w.outside.sever()
	servers.Wait()
	time.Sleep(time.Millisecond) // virtual: everything comes to rest
	if n := w.net.connections(); n != 0 {
		w.referee.fail("connections back to none", "%d ends of connections are still open at the end", n)
	}
}

// sleepUntil waits for a time since the start, and reports whether it came before the end of ctx.
func (w *world) sleepUntil(ctx context.Context, at time.Duration) bool {
	return sleep(ctx, at-time.Since(w.start))
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// now is the time since the start.
func (w *world) now() time.Duration { return time.Since(w.start) }

// wall is the relay's wall clock.
func (w *world) wall() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := time.Now().Add(w.offset)
	if t.After(w.latest) {
		w.latest = t
	}
	return t
}

// turnClock makes the relay's wall clock jump.
func (w *world) turnClock(ctx context.Context) {
	for _, j := range w.plan.jumps {
		if !w.sleepUntil(ctx, j.at) {
			return
		}
		w.jump(j.by)
	}
}

func (w *world) jump(by time.Duration) {
	w.wall()
	w.mu.Lock()
	w.offset += by
	w.mu.Unlock()
	w.wall()
	w.history.note("clock", "the relay's wall clock jumps by %s", by)
}

func (w *world) current() *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.posts[0]
}

// postOf is the post that a process has or had.
func (w *world) postOf(process string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.lives {
		if p.name() == process {
			return p.post
		}
	}
	return -1
}

// databasePath is a new path for a database.
func (w *world) databasePath() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	return filepath.Join(w.folder, fmt.Sprintf("life%d", w.number), "relay.db")
}

// client is an HTTP client of somebody who calls the relay.
func (w *world) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: w.people.dial, DisableKeepAlives: true}}
}
