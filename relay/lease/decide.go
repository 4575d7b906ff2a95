package lease

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"
)

const (
	// Length is how long a replica's lease holds without being renewed, by the database's clock.
	Length = 8 * time.Second
	// Every is how often it is renewed. Several may fail without harm.
	Every = time.Second
	// Grace is how much longer nobody takes over: a renewal may be on its way to the disk.
	Grace = 500 * time.Millisecond

	// perPayment is the weight of an open payment; an empty slot weighs 1, so that those are spread, too.
	perPayment = 256
	// tolerance, in per cent: a replica with so much more than its share gives some away. Less than the 10 % that
	// are promised, and enough that payments do not move about all the time.
	tolerance = 7
)

// Replica is one process with its lease.
type Replica struct {
	ID    string
	Left  time.Duration // until its lease runs out; below zero: it has
	Share float64       // the part of DOLLR_RATE that it uses
	Down  bool          // it cannot reach Dollr
	Held  time.Duration // how much longer a 429 that it got holds every call to Dollr
}

// Holds reports whether others must respect the replica's lease.
func (r Replica) Holds() bool { return r.Left > -Grace }

// View is what a replica sees of all in the database.
type View struct {
	Me       string
	Replicas []Replica         // with a lease or not, this one included
	Owners   map[string]string // the replica's id by slot
	Open     map[string]int    // open payments by slot
	// Lapsed is that this replica's own lease had run out before it was renewed. The database was away, and others
	// may just be about to renew theirs: they are not taken for dead this time.
	Lapsed bool
}

// Step is what a replica should do next.
type Step struct {
	Claim, Release []string // slots, sorted
	Share          float64  // the part of DOLLR_RATE that it may use
	Again          time.Duration
}

// Decide is the whole policy.
//
//   - Nobody's slots, and those of replicas whose lease has run out, are claimed up to this replica's fair share.
//   - Who has clearly more than that gives slots away, as long as somebody else gets lighter than it was by having them.
//   - The rate to Dollr is divided among all, and nobody takes a part that another still uses.
func Decide(v View) Step {
	m := measure(v)
	step := Step{Share: v.share(), Again: v.again()}
	if step.Claim = m.claim(v); len(step.Claim) == 0 {
		step.Release = m.release()
	}
	slices.Sort(step.Claim)
	slices.Sort(step.Release)
	return step
}

// Live counts the replicas whose lease holds.
func (v View) Live() int {
	n := 0
	for _, r := range v.Replicas {
		if r.Holds() {
			n++
		}
	}
	return max(n, 1)
}

// share is this replica's part of the rate: an equal one, or what the others leave of it so far.
func (v View) share() float64 {
	free := 1.0
	for _, r := range v.Replicas {
		if r.ID != v.Me && r.Holds() {
			free -= r.Share
		}
	}
	return max(0, min(1/float64(v.Live()), free))
}

// again is when to look next: at the end of another's lease, if that comes first.
func (v View) again() time.Duration {
	next := Every
	for _, r := range v.Replicas {
		if left := r.Left + Grace; r.ID != v.Me && left > 0 {
			next = min(next, left+time.Millisecond)
		}
	}
	return next
}

// scales are a view in numbers.
type scales struct {
	weight map[string]int // of every slot
	free   []string       // slots that may be claimed
	mine   []string
	load   int // of mine
	fair   int // everybody's share, rounded up
	least  int // the load of the replica with the least of all others; -1 without others
}

func measure(v View) scales {
	m := scales{weight: map[string]int{}}
	loads := map[string]int{}
	for _, r := range v.Replicas {
		if r.Holds() || v.Lapsed {
			loads[r.ID] = 0
		}
	}
	total := 0
	for _, slot := range Slots() {
		w := 1 + perPayment*v.Open[slot]
		m.weight[slot] = w
		total += w
		owner := v.Owners[slot]
		_, held := loads[owner]
		switch {
		case owner == v.Me:
			m.mine = append(m.mine, slot)
			m.load += w
		case held:
			loads[owner] += w
		default:
			m.free = append(m.free, slot)
		}
	}
	delete(loads, v.Me)
	m.fair = (total + v.Live() - 1) / v.Live()
	m.least = -1
	for _, load := range loads {
		if m.least < 0 || load < m.least {
			m.least = load
		}
	}
	return m
}

// claim takes what fits below the fair share, the heavy first. If only heavier ones are left, the lightest of these:
// while a slot is free somebody is below its share, so that none is left over.
func (m *scales) claim(v View) (slots []string) {
	order := shuffled(m.free, v.Me)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(m.weight[b], m.weight[a]) })
	var heavy []string
	for _, slot := range order {
		if m.load+m.weight[slot] > m.fair {
			heavy = append(heavy, slot)
			continue
		}
		slots = append(slots, slot)
		m.load += m.weight[slot]
	}
	if len(heavy) > 0 && m.load < m.fair {
		slots = append(slots, heavy[len(heavy)-1])
	}
	return slots
}

// shuffled is an order of this replica's own, so that several that claim at once do not all want the same.
func shuffled(slots []string, me string) []string {
	order, ranks := slices.Clone(slots), make(map[string]uint64, len(slots))
	for _, slot := range slots {
		h := fnv.New64a()
		_, _ = h.Write([]byte(slot + me)) // never fails
		ranks[slot] = h.Sum64()
	}
	slices.SortFunc(order, func(a, b string) int { return cmp.Compare(ranks[a], ranks[b]) })
	return order
}

// release gives away what is above the fair share, if it is above the tolerance. Each slot makes the heavier of two
// replicas lighter, so none is given back and forth.
func (m *scales) release() (slots []string) {
	limit := m.fair + max(m.fair*tolerance/100, perPayment)
	if m.least < 0 || m.load <= limit {
		return nil
	}
	order := slices.Clone(m.mine)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(m.weight[b], m.weight[a]) })
	for _, slot := range order {
		if w := m.weight[slot]; m.load-w >= m.fair && m.least+w < m.load {
			slots = append(slots, slot)
			m.load -= w
		}
	}
	if m.load <= limit {
		return slots
	}
	for _, slot := range slices.Backward(order) { // only heavy ones are left: the lightest of them
		if w := m.weight[slot]; m.load-w < m.fair && w > perPayment && m.least+w < m.load {
			return append(slots, slot)
		}
	}
	return slots
}
