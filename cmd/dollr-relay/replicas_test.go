package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/pgtest"
)

const (
	chaosRelays   = 3
	chaosPayments = 300
	chaosKept     = 40 // stay open until the end
	chaosPages    = 30
	chaosLasts    = 20 * time.Second // unless SOAK says otherwise
	chaosPatience = 2 * time.Minute
)

// TestReplicas_chaos runs three relays on one PostgreSQL while they are killed, paused, stopped and started again, and
// looks from outside: every payment settles, each outcome is reported once under one id, no callback is lost, no page
// sees a version fall, the feed brings everything once, and in the end every open payment has one upstream channel.
func TestReplicas_chaos(t *testing.T) {
	t.Parallel()
	lasts := chaosLasts
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK: %v", err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d, %s of trouble", seed, lasts)
	chance := rand.New(rand.NewPCG(seed, 1))
	cluster, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	})
	receiver := &crashReceiver{t: t, chance: rand.New(rand.NewPCG(seed, 2)), bodies: map[string]string{}, acknowledged: map[string]bool{}}
	hook := httptest.NewServer(receiver)
	t.Cleanup(hook.Close)
	site := newSite(t, hook.URL, "RELAY_CALLBACK_SCHEDULE="+strings.Repeat("200ms,", 99)+"200ms", "RELAY_DATABASE_URL="+cluster.Database(t))
	receiver.verifier = anyVerifier(t, site.secret)

	c := &chaos{site: site, chance: rand.New(rand.NewPCG(seed, 3)), processes: make([]*process, chaosRelays), settled: map[string]string{}, versions: map[string]int64{}}
	for i := range c.processes {
		c.start(i)
	}
	c.register()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var watching sync.WaitGroup
	for _, p := range c.payments[:chaosPages] {
		watching.Go(func() { c.watch(ctx, p) })
	}
	watching.Go(func() { c.follow(ctx) })
	settling := make(chan struct{})
	go func() {
		defer close(settling)
		c.settle(lasts)
	}()
	c.trouble(chance, time.Now().Add(lasts))
	<-settling
	c.checkOpen()
	for _, p := range c.payments[chaosPayments-chaosKept:] {
		c.settleOne(p, "COMPLETED", "payment.succeeded")
	}
	if !awaitFor(chaosPatience, func() bool { return receiver.count() >= chaosPayments && c.fed() >= chaosPayments }) {
		t.Errorf("%d of %d outcomes were acknowledged, %d are in the feed", receiver.count(), chaosPayments, c.fed())
	}
	for _, p := range c.payments {
		c.checkSettled(p)
	}
	stop()
	watching.Wait()
	receiver.check(c.settled)
	t.Logf("%d requests to the backend, %d pages seen final, %d kinds of trouble", receiver.requests, c.seenFinal.Load(), c.troubles)
}

// chaos is the group of relays and what is asked of it.
type chaos struct {
	site     *site
	payments []chaosPayment
	troubles int

	mu        sync.Mutex
	chance    *rand.Rand
	processes []*process
	settled   map[string]string // type of the callback that must come, by payment
	versions  map[string]int64  // newest that a page has seen
	seen      []string          // ids of the feed
	seenFinal atomic.Int64
}

type chaosPayment struct{ id, reference, token string }

func (c *chaos) start(i int) {
	c.site.t.Helper()
	p := c.site.start()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes[i] = p
}

// any is the address of some relay, which may be dead or paused.
func (c *chaos) any() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.processes[c.chance.IntN(len(c.processes))].url
}

// ask asks one relay after the other until one answers as wanted.
func (c *chaos) ask(method, path, body string, good func(code int) bool) map[string]any {
	for deadline := time.Now().Add(chaosPatience); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		code, fields, err := do(ctx, method, c.any()+path, body)
		cancel()
		if err == nil && good(code) {
			return fields
		}
		if time.Now().After(deadline) {
			c.site.t.Errorf("%s %s: %d, %v, %v", method, path, code, fields, err)
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func found(code int) bool { return code == 200 || code == 201 }

func (c *chaos) register() {
	c.payments = make([]chaosPayment, chaosPayments)
	var registering sync.WaitGroup
	next := atomic.Int64{}
	for range 8 {
		registering.Go(func() {
			for i := next.Add(1) - 1; i < chaosPayments; i = next.Add(1) - 1 {
				reference, registration := c.site.payment()
				fields := c.ask("POST", "/v1/payments", registration, found)
				id, _ := fields["id"].(string)
				page, _ := fields["page"].(map[string]any)
				token, _ := page["token"].(string)
				c.payments[i] = chaosPayment{id, reference, token}
			}
		})
	}
	registering.Wait()
}

// settle settles all payments but the kept ones, spread over a time.
func (c *chaos) settle(over time.Duration) {
	count := chaosPayments - chaosKept
	for i, p := range c.payments[:count] {
		status, want := "COMPLETED", "payment.succeeded"
		if i%6 == 0 {
			status, want = "FAILED", "payment.failed"
		}
		c.settleOne(p, status, want)
		time.Sleep(over / time.Duration(count))
	}
}

func (c *chaos) settleOne(p chaosPayment, status, want string) {
	c.mu.Lock()
	c.settled[p.id] = want
	c.mu.Unlock()
	c.site.set(p.reference, status)
}

// trouble hits one relay or another until the end, and then has all of them running.
func (c *chaos) trouble(chance *rand.Rand, end time.Time) {
	c.site.t.Helper()
	paused := make([]time.Time, chaosRelays) // until when
	var waking sync.WaitGroup
	for time.Now().Before(end) {
		time.Sleep(time.Duration(chance.Int64N(int64(time.Second))))
		i := chance.IntN(chaosRelays)
		p := c.processes[i]
		if time.Now().Before(paused[i]) {
			continue
		}
		c.troubles++
		switch chance.IntN(4) {
		case 0:
			pause := time.Duration(chance.Int64N(int64(3 * time.Second)))
			if chance.IntN(2) == 0 {
				pause += 9 * time.Second // longer than its lease
			}
			paused[i] = time.Now().Add(pause + time.Second)
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			waking.Go(func() {
				time.Sleep(pause)
				_ = p.cmd.Process.Signal(syscall.SIGCONT)
			})
		case 1, 2:
			p.kill()
			time.Sleep(time.Duration(chance.Int64N(int64(2 * time.Second))))
			c.start(i)
		case 3:
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			c.start(i) // a rolling deploy: the next one is there before the last has gone
			<-p.done
		}
	}
	waking.Wait()
}

// checkOpen waits until every payment that is still open has one channel and is live at every relay.
func (c *chaos) checkOpen() {
	c.site.t.Helper()
	for _, p := range c.payments[chaosPayments-chaosKept:] {
		if !awaitFor(chaosPatience, func() bool {
			return c.ask("GET", "/v1/payments/"+p.id, "", found)["link"] == "live"
		}) {
			c.site.t.Fatalf("%s does not become live again", p.id)
		}
	}
	open, most := 0, 0.0
	if !awaitFor(chaosPatience, func() bool {
		open, most = 0, 0
		channels, _ := c.site.must("GET", c.site.sandbox+"/_sandbox/channels", "", 200)["data"].(map[string]any)
		for topic, n := range channels {
			count, _ := n.(float64)
			most = max(most, count)
			for _, p := range c.payments[chaosPayments-chaosKept:] {
				if strings.Contains(topic, p.reference) {
					open++
				}
			}
		}
		return open == chaosKept && most == 1
	}) {
		c.site.t.Errorf("%d of %d open payments have a channel, one has %v; want one each", open, chaosKept, most)
	}
}

func (c *chaos) checkSettled(p chaosPayment) {
	c.site.t.Helper()
	want := strings.TrimPrefix(c.settled[p.id], "payment.")
	got := c.ask("GET", "/v1/payments/"+p.id, "", found)
	if got["outcome"] != want || got["verified"] != true || got["contradicted"] != false || got["late"] != false {
		c.site.t.Errorf("payment = %v, want %s and nothing odd", got, want)
	}
}

// follow reads the event feed, at another relay each time.
func (c *chaos) follow(ctx context.Context) {
	known, cursor := map[string]bool{}, ""
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, 3*time.Second)
		code, fields, err := do(call, "GET", c.any()+"/v1/events?wait=1s&after="+cursor, "")
		cancel()
		if err != nil || code != 200 {
			if err == nil && code == 410 {
				c.site.t.Error("the feed does not know its own cursor")
				return
			}
			continue
		}
		entries, _ := fields["data"].([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			id, _ := entry["id"].(string)
			if known[id] {
				c.site.t.Errorf("%s is in the feed twice", id)
			}
			known[id] = true
		}
		cursor, _ = fields["next_cursor"].(string)
		c.mu.Lock()
		for id := range known {
			if len(c.seen) < len(known) {
				c.seen = append(c.seen, id)
			}
		}
		c.mu.Unlock()
	}
}

func (c *chaos) fed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

// watch is a checkout page that connects again wherever it can, until the payment is final.
func (c *chaos) watch(ctx context.Context, p chaosPayment) {
	for ctx.Err() == nil && !c.look(ctx, p) {
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *chaos) look(ctx context.Context, p chaosPayment) (final bool) {
	dial, cancel := context.WithTimeout(ctx, 3*time.Second)
	conn, _, err := websocket.Dial(dial, c.any()+"/v1/page/stream", &websocket.DialOptions{Subprotocols: []string{"dollr-relay.v1", "bearer." + p.token}})
	cancel()
	if err != nil {
		return false
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		read, cancel := context.WithTimeout(ctx, 35*time.Second) // as the page script: then the socket is dead
		_, body, err := conn.Read(read)
		cancel()
		if err != nil {
			return false
		}
		var m struct {
			Type     string
			Version  int64
			Outcome  string
			Verified bool
			Final    bool
		}
		if err := json.Unmarshal(body, &m); err != nil || m.Type != "status" {
			continue
		}
		if c.sees(p, m.Version, m.Outcome, m.Final) {
			return true
		}
	}
}

func (c *chaos) sees(p chaosPayment, version int64, outcome string, final bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if version < c.versions[p.id] {
		c.site.t.Errorf("a page of %s sees version %d after %d", p.id, version, c.versions[p.id])
	}
	c.versions[p.id] = version
	if !final {
		return false
	}
	if want := strings.TrimPrefix(c.settled[p.id], "payment."); outcome != want {
		c.site.t.Errorf("a page of %s sees %s, want %s", p.id, outcome, want)
	}
	c.seenFinal.Add(1)
	return true
}
