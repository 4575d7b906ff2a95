package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/pgtest"
)

// groupPatience is for machines on which leases run out while nobody has time to renew them.
const groupPatience = 2 * time.Minute

// group is several relays on one PostgreSQL, and what customers and a backend see of them.
type group struct {
	t        *testing.T
	site     *site
	receiver *crashReceiver
	payments []groupPayment

	// heard hears everything that pages are told, lost of their connections. Nil: nobody wants to know.
	heard func(p groupPayment, m pageMessage)
	lost  func(p groupPayment)

	mu        sync.Mutex
	chance    *rand.Rand
	processes []*process
	settled   map[string]string // type of the callback that must come, by payment
	versions  map[string]int64  // newest that a page has seen
	seen      []string          // ids of the feed
	seenFinal atomic.Int64
}

type groupPayment struct{ id, reference, token string }

// pageMessage is what pages are told.
type pageMessage struct {
	Type     string
	Version  int64
	Outcome  string
	Verified bool
	Final    bool
	Link     string
}

// startGroup starts relays on a database of the cluster.
func startGroup(t *testing.T, binary string, cluster *pgtest.Cluster, relays int, env ...string) *group {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	receiver := &crashReceiver{t: t, chance: rand.New(rand.NewPCG(seed, 2)), bodies: map[string]string{}, acknowledged: map[string]bool{}}
	hook := httptest.NewServer(receiver)
	t.Cleanup(hook.Close)
	site := newSiteOf(t, binary, hook.URL, append([]string{"RELAY_CALLBACK_SCHEDULE=" + strings.Repeat("200ms,", 99) + "200ms", "RELAY_DATABASE_URL=" + cluster.Database(t)}, env...)...)
	receiver.verifier = anyVerifier(t, site.secret)
	g := &group{
		t: t, site: site, receiver: receiver, chance: rand.New(rand.NewPCG(seed, 3)), processes: make([]*process, relays),
		settled: map[string]string{}, versions: map[string]int64{},
	}
	for i := range g.processes {
		g.start(i)
	}
	return g
}

func (g *group) start(i int) {
	g.t.Helper()
	p := g.site.start()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.processes[i] = p
}

// any is the address of some relay, which may be dead or paused.
func (g *group) any() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.processes[g.chance.IntN(len(g.processes))].url
}

// ask asks one relay after the other until one answers as wanted.
func (g *group) ask(method, path, body string, good func(code int) bool) map[string]any {
	for deadline := time.Now().Add(groupPatience); ; {
		code, fields, err := soon(method, g.any()+path, body)
		if err == nil && good(code) {
			return fields
		}
		if time.Now().After(deadline) {
			g.t.Errorf("%s %s: %d, %v, %v", method, path, code, fields, err)
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// soon makes a request that may bring no answer.
func soon(method, url, body string) (int, map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return do(ctx, method, url, body)
}

func found(code int) bool { return code == 200 || code == 201 }

// register registers new payments at any relay.
func (g *group) register(count int) {
	g.payments = make([]groupPayment, count)
	var registering sync.WaitGroup
	next := atomic.Int64{}
	for range 8 {
		registering.Go(func() {
			for i := int(next.Add(1) - 1); i < count; i = int(next.Add(1) - 1) {
				reference, registration := g.site.payment()
				fields := g.ask("POST", "/v1/payments", registration, found)
				id, _ := fields["id"].(string)
				page, _ := fields["page"].(map[string]any)
				token, _ := page["token"].(string)
				g.payments[i] = groupPayment{id, reference, token}
			}
		})
	}
	registering.Wait()
}

func (g *group) settle(p groupPayment, status, want string) {
	g.mu.Lock()
	g.settled[p.id] = want
	g.mu.Unlock()
	g.site.set(p.reference, status)
}

func (g *group) checkSettled(p groupPayment) {
	g.t.Helper()
	want := strings.TrimPrefix(g.settled[p.id], "payment.")
	got := g.ask("GET", "/v1/payments/"+p.id, "", found)
	if got["outcome"] != want || got["verified"] != true || got["contradicted"] != false || got["late"] != false {
		g.t.Errorf("payment = %v, want %s and nothing odd", got, want)
	}
}

// watched is how many open payments a relay watches.
func (g *group) watched(p *process) int {
	total, metrics := 0, p.metrics(g.t)
	for _, link := range []string{"live", "polling", "degraded"} {
		value, _ := strconv.Atoi(metrics[`dollr_relay_payments{link="`+link+`"}`])
		total += value
	}
	return total
}

// awaitShared waits until so many open payments are shared out fairly among relays.
func (g *group) awaitShared(payments int, relays ...*process) {
	g.t.Helper()
	limit := (payments*11 + 10*len(relays) - 1) / (10 * len(relays))
	var counts []int
	if !awaitFor(groupPatience, func() bool {
		counts = counts[:0]
		sum, most := 0, 0
		for _, r := range relays {
			n := g.watched(r)
			counts = append(counts, n)
			sum, most = sum+n, max(most, n)
		}
		return sum == payments && most <= limit
	}) {
		g.t.Fatalf("the relays watch %v of %d payments, want at most %d each", counts, payments, limit)
	}
}

// awaitLive waits until every one of some open payments is live, and no payment has more than one upstream channel.
func (g *group) awaitLive(open []groupPayment) {
	g.t.Helper()
	for _, p := range open {
		if !awaitFor(groupPatience, func() bool {
			return g.ask("GET", "/v1/payments/"+p.id, "", found)["link"] == "live"
		}) {
			g.t.Fatalf("%s does not become live", p.id)
		}
	}
	joined, most := 0, 0.0
	if !awaitFor(groupPatience, func() bool {
		joined, most = 0, 0
		channels, _ := g.site.must("GET", g.site.sandbox+"/_sandbox/channels", "", 200)["data"].(map[string]any)
		for topic, n := range channels {
			count, _ := n.(float64)
			most = max(most, count)
			for _, p := range open {
				if strings.Contains(topic, p.reference) {
					joined++
				}
			}
		}
		return joined == len(open) && most == 1
	}) {
		g.t.Errorf("%d of %d open payments have a channel, one has %v; want one each", joined, len(open), most)
	}
}

// follow reads the event feed, at another relay each time.
func (g *group) follow(ctx context.Context) {
	known, cursor := map[string]bool{}, ""
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, 3*time.Second)
		code, fields, err := do(call, "GET", g.any()+"/v1/events?wait=1s&after="+cursor, "")
		cancel()
		if err != nil || code != 200 {
			if err == nil && code == 410 {
				g.t.Error("the feed does not know its own cursor")
				return
			}
			continue
		}
		entries, _ := fields["data"].([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			id, _ := entry["id"].(string)
			if known[id] {
				g.t.Errorf("%s is in the feed twice", id)
			}
			known[id] = true
		}
		cursor, _ = fields["next_cursor"].(string)
		g.mu.Lock()
		for id := range known {
			if len(g.seen) < len(known) {
				g.seen = append(g.seen, id)
			}
		}
		g.mu.Unlock()
	}
}

func (g *group) fed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.seen)
}

// watch is a checkout page that connects again wherever it can, until the payment is final.
func (g *group) watch(ctx context.Context, p groupPayment) {
	for ctx.Err() == nil && !g.look(ctx, p) {
		time.Sleep(50 * time.Millisecond)
	}
}

func (g *group) look(ctx context.Context, p groupPayment) (final bool) {
	dial, cancel := context.WithTimeout(ctx, 3*time.Second)
	conn, _, err := websocket.Dial(dial, g.any()+"/v1/page/stream", &websocket.DialOptions{Subprotocols: []string{"dollr-relay.v1", "bearer." + p.token}})
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
			if g.lost != nil && ctx.Err() == nil {
				g.lost(p)
			}
			return false
		}
		var m pageMessage
		if err := json.Unmarshal(body, &m); err != nil {
			g.t.Errorf("a page is told %s: %v", body, err)
			continue
		}
		if g.heard != nil {
			g.heard(p, m)
		}
		if m.Type == "status" && g.sees(p, m) {
			return true
		}
	}
}

func (g *group) sees(p groupPayment, m pageMessage) (final bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.Version < g.versions[p.id] {
		g.t.Errorf("a page of %s sees version %d after %d", p.id, m.Version, g.versions[p.id])
	}
	g.versions[p.id] = m.Version
	if !m.Final {
		return false
	}
	if want := strings.TrimPrefix(g.settled[p.id], "payment."); m.Outcome != want {
		g.t.Errorf("a page of %s sees %s, want %s", p.id, m.Outcome, want)
	}
	g.seenFinal.Add(1)
	return true
}
