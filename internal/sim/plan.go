package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/relay"
)

// plan is all that will happen to the relay in one seed. A plan switches on only some families of faults (swarm testing):
// a fault that is always there hides what only its absence shows.
type plan struct {
	dice     dice
	rate     float64       // DOLLR_RATE
	lasts    time.Duration // until everything that goes wrong is over
	keyLife  time.Duration // of realtime keys
	window   time.Duration // RELAY_REALTIME_WINDOW
	shops    int           // backends
	orders   []*order
	spells   []spell
	crashes  []crash
	jumps    []jump
	replicas int
	mishaps  []mishap // of several replicas
}

// order is one payment: what the merchant asks for and what becomes of it at Dollr.
type order struct {
	number    int
	operation relay.Operation
	reference string
	session   int64
	sourceTyp string
	sourceID  int64
	expected  bool // the merchant says what is to be paid
	side      string
	shop      int // whose backend is called
	watchFor  time.Duration
	created   time.Duration // at Dollr
	register  time.Duration
	again     []time.Duration // registered once more
	verify    []time.Duration
	steps     []step
	visits    []visit
}

// step is a change at Dollr.
type step struct {
	at     time.Duration
	status string
	money  string // right, wrong, foreign, none
	silent bool   // realtime does not tell
	forged bool   // only realtime says so
}

// visit is a customer who looks at the checkout page.
type visit struct {
	at, stays time.Duration
	sleepy    bool // the phone stops reading at times
}

// spell is a time during which something is wrong.
type spell struct {
	from, to time.Duration
	what     string  // one of the words below
	share    float64 // of the requests that it hits
	shop     int     // which backend
}

// covers reports whether the spell is on.
func (s spell) covers(at time.Duration) bool { return s.from <= at && at < s.to }

// crash is the end of a process that was not asked to end.
type crash struct {
	after time.Duration // armed from then on
	when  string        // now, before_commit, after_commit, callback_sent, callback_answered, dollr_asked; "stop" is a graceful one
	count int           // the how manyeth of those
	down  time.Duration // until the next process starts
}

// jump is a wrong turn of the relay's wall clock.
type jump struct{ at, by time.Duration }

// shortWindow is the shortest RELAY_REALTIME_WINDOW.
const shortWindow = 15 * time.Second

// Words for spells.
const (
	dollrErrors   = "dollr answers wrongly"
	dollrDown     = "dollr is down"
	dollrLimits   = "dollr limits the rate"
	dollrRefuses  = "dollr refuses the credentials"
	dollrSlow     = "dollr is slow"
	dollrRevokes  = "dollr revokes all tokens"
	diskFull      = "the disk is full"
	shopTrouble   = "the shop has trouble"
	shopDown      = "the shop is down"
	pagesCut      = "pages are cut off"
	realtimePoint = "realtime: "
	joinsRefused  = "joins refused"
)

// realtimeSpells are the states of a sick realtime service; realtimeEvents happen once.
func realtimeSpells() []string {
	return []string{"down", "mute joins", "mute system", "deaf", "lost changes", "repeated changes", "noise", joinsRefused, "tokens ignored", "mute heartbeats"}
}

func realtimeEvents() []string {
	return []string{"sockets cut", "channels crash", "channels expelled", "subscriptions lost", "server drains", "channels forgotten", "stale close", "garbage", "closed 1011"}
}

// newPlan draws the plan of a seed.
func newPlan(seed uint64) *plan {
	p := &plan{dice: dice(seed)}
	r := p.dice.roll("plan")
	p.rate = pick(r, 2.0, 5, 10, 10)
	p.lasts = between(r, 60*time.Second, 200*time.Second)
	if chance(r, 0.15) {
		p.lasts *= 2 // payments get old enough to be polled seldom
	}
	p.keyLife = pick(r, 300*time.Second, 90*time.Second, 40*time.Second, 40*time.Second)
	p.window = pick(p.dice.roll("window"), 10*time.Minute, 40*time.Second, shortWindow)
	p.shops = 1 + r.IntN(2)
	families := map[string]bool{}
	for _, family := range []string{"dollr", "realtime", "shop", "disk", "crash", "jump", "page"} {
		families[family] = chance(r, 0.45)
	}
	families["disk"] = families["disk"] && chance(r, 0.5)
	for n := range 1 + r.IntN(5) {
		p.orders = append(p.orders, p.drawOrder(n))
	}
	p.drawSpells(families)
	p.drawReplicas()
	if families["crash"] {
		p.drawCrashes()
	}
	if families["jump"] {
		for range 1 + r.IntN(2) {
			p.jumps = append(p.jumps, jump{p.moment(r), pick(r, time.Hour, 26*time.Hour, 5*time.Minute, -20*time.Second, -time.Minute)})
		}
		slices.SortFunc(p.jumps, func(a, b jump) int { return int(a.at - b.at) })
	}
	return p
}

// moment is a time during the plan.
func (p *plan) moment(r *rand.Rand) time.Duration { return between(r, time.Second, p.lasts) }

func (p *plan) drawOrder(n int) *order {
	r := p.dice.roll("order", n)
	var id uuid.UUID
	for i := range id {
		id[i] = byte(r.UintN(256))
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	o := &order{
		number: n, reference: id.String(), shop: r.IntN(p.shops), expected: chance(r, 0.7),
		operation: pick(r, relay.Collection, relay.Collection, relay.Collection, relay.Payout, relay.Refund, relay.Transfer, relay.Source),
		register:  between(r, 0, p.lasts/3), watchFor: pick(r, 72*time.Hour, 72*time.Hour, time.Hour, time.Minute),
	}
	o.side = pick(r, "", "payee", "payer")
	if o.operation == relay.Source || o.operation == relay.Collection {
		o.sourceTyp, o.sourceID = pick(r, "INVOICE", "ORDER"), 100+int64(r.IntN(2)) // few, so that some are siblings
	}
	if o.operation == relay.Source {
		o.sourceID = 1000 + int64(n)
	}
	if o.operation == relay.Collection && chance(r, 0.8) {
		o.session = 50 + int64(n)
	}
	o.created = max(0, o.register+between(r, -2*time.Second, 10*time.Second))
	for at := o.created; ; {
		at += between(r, time.Second, p.lasts/3)
		if at > p.lasts || len(o.steps) > 5 {
			break
		}
		o.steps = append(o.steps, o.drawStep(r, at))
	}
	for range r.IntN(3) {
		o.again = append(o.again, o.register+between(r, 0, p.lasts/2))
		o.verify = append(o.verify, o.register+between(r, 0, p.lasts))
	}
	for range r.IntN(3) {
		at := o.register + between(r, 0, p.lasts/2)
		o.visits = append(o.visits, visit{at, between(r, time.Second, p.lasts), chance(r, 0.2)})
	}
	return o
}

func (o *order) drawStep(r *rand.Rand, at time.Duration) step {
	s := step{at: at, money: pick(r, "right", "right", "right", "right", "wrong", "foreign", "none"), silent: chance(r, 0.25), forged: chance(r, 0.1)}
	words := []string{"PROCESSING", "COMPLETED", "COMPLETED", "FAILED", "PENDING", "REVIEWED"}
	if o.operation == relay.Source {
		words = []string{"ACTIVE", "PROCESSING", "PAID", "PAID", "CANCELED", "IDLE", "COMPLETED"}
	}
	s.status = pick(r, words...)
	if s.forged {
		s.silent = false
		s.status = pick(r, s.status, strings.ToLower(s.status))
	}
	return s
}

func (p *plan) drawSpells(families map[string]bool) {
	r := p.dice.roll("spells")
	add := func(what string, share float64) {
		from := p.moment(r)
		p.spells = append(p.spells, spell{from, min(p.lasts, from+between(r, time.Second, p.lasts/2)), what, share, r.IntN(p.shops)})
	}
	some := func(draw func()) {
		for range 1 + r.IntN(3) {
			draw()
		}
	}
	if families["dollr"] {
		some(func() {
			add(pick(r, dollrErrors, dollrErrors, dollrDown, dollrLimits, dollrRefuses, dollrSlow, dollrRevokes), pick(r, 0.2, 0.5, 1))
		})
	}
	if families["realtime"] {
		some(func() { add(realtimePoint+pick(r, realtimeSpells()...), 1) })
		some(func() { add(realtimePoint+pick(r, realtimeEvents()...), 1) })
	}
	if families["shop"] {
		some(func() { add(pick(r, shopTrouble, shopTrouble, shopDown), pick(r, 0.3, 1)) })
	}
	if families["disk"] {
		add(diskFull, pick(r, 0.2, 1))
		last := &p.spells[len(p.spells)-1]
		last.to = min(last.to, last.from+15*time.Second)
	}
	if families["page"] {
		some(func() { add(pagesCut, 1) })
	}
}

func (p *plan) drawCrashes() {
	r := p.dice.roll("crashes")
	for range 1 + r.IntN(3) {
		c := crash{
			after: p.moment(r), count: 1 + r.IntN(6), down: between(r, 10*time.Millisecond, 8*time.Second),
			when: pick(r, "now", "stop", "before_commit", "after_commit", "after_commit", "callback_sent", "callback_answered", "dollr_asked"),
		}
		if c.when == "callback_sent" || c.when == "callback_answered" {
			c.after, c.count = between(r, 0, p.lasts/2), 1+r.IntN(2)
		}
		p.crashes = append(p.crashes, c)
	}
	slices.SortFunc(p.crashes, func(a, b crash) int { return int(a.after - b.after) })
}

// calm reports whether nothing of a kind ever goes wrong in this plan. Some promises hold only then.
func (p *plan) calm(prefixes ...string) bool {
	for _, prefix := range prefixes {
		for _, s := range p.spells {
			if strings.HasPrefix(s.what, prefix) {
				return false
			}
		}
	}
	return true
}

// healthy reports whether no spell of a kind is on, or was less than d ago.
func (p *plan) healthy(at, d time.Duration, prefixes ...string) bool {
	return !slices.ContainsFunc(p.spells, func(s spell) bool {
		return s.from <= at && at < s.to+d && slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(s.what, prefix) })
	})
}

// on returns the spell of a kind that is on at a time.
func (p *plan) on(at time.Duration, match func(spell) bool) (spell, bool) {
	for _, s := range p.spells {
		if s.covers(at) && match(s) {
			return s, true
		}
	}
	return spell{}, false
}

// String tells the plan to people.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "DOLLR_RATE %g, trouble until %.0fs, realtime keys live %s, window %s, %d backends\n", p.rate, p.lasts.Seconds(), p.keyLife, p.window, p.shops)
	for _, o := range p.orders {
		fmt.Fprintf(&b, "order %d: %s", o.number, o.operation)
		if o.session != 0 {
			b.WriteString(" with realtime")
		}
		fmt.Fprintf(&b, ", expected %t %s, watched %s, registered %.1fs, at Dollr %.1fs:", o.expected, o.side, o.watchFor, o.register.Seconds(), o.created.Seconds())
		for _, s := range o.steps {
			fmt.Fprintf(&b, " %.1fs %s", s.at.Seconds(), s)
		}
		b.WriteString("\n")
	}
	for _, s := range p.spells {
		fmt.Fprintf(&b, "%.1fs to %.1fs: %s (share %g, backend %d)\n", s.from.Seconds(), s.to.Seconds(), s.what, s.share, s.shop)
	}
	for _, c := range p.crashes {
		fmt.Fprintf(&b, "crash after %.1fs: %s %d, down %.1fs\n", c.after.Seconds(), c.when, c.count, c.down.Seconds())
	}
	b.WriteString(p.replicaText())
	for _, j := range p.jumps {
		fmt.Fprintf(&b, "%.1fs: the relay's wall clock jumps by %s\n", j.at.Seconds(), j.by)
	}
	return b.String()
}

// String tells the step to people.
func (s step) String() string {
	text := s.status
	if s.money != "right" {
		text += " (money " + s.money + ")"
	}
	if s.silent {
		text += " silently"
	}
	if s.forged {
		text += " forged"
	}
	return text
}
