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

	// tolerance, in per cent: a replica with so much more than its share gives some away. Less than the 10 % that
	// are promised, and enough that payments do not move about all the time. A few empty slots more are no reason.
	tolerance  = 7
	spareEmpty = 16
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
//   - Who has clearly more than that gives slots away, as long as whoever gets them stays lighter than it was.
//   - Slots with open payments are shared out by the number of these, empty ones by their own: new payments will be in them.
//   - The rate to Dollr is divided among all, and nobody takes a part that another still uses.
func Decide(v View) Step {
	busy, empty := measure(v)
	step := Step{Share: v.share(), Again: v.again(), Claim: append(busy.claim(v), empty.claim(v)...)}
	if len(step.Claim) == 0 {
		step.Release = append(busy.release(0), empty.release(spareEmpty)...)
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

// scale is what is to be shared out of one kind, in numbers.
type scale struct {
	weight func(slot string) int
	free   []string // slots that may be claimed
	mine   []string
	loads  map[string]int // of the replicas that are there
	load   int            // of this one
	total  int
	fair   int // everybody's share, rounded up
	limit  int // a share with the tolerance, rounded up
	least  int // the load of the replica with the least of all others; -1 without others
}

// measure weighs the slots with open payments by these, and the empty ones alike.
func measure(v View) (busy, empty *scale) {
	busy = &scale{weight: func(slot string) int { return v.Open[slot] }}
	empty = &scale{weight: func(string) int { return 1 }}
	for _, s := range []*scale{busy, empty} {
		s.loads = map[string]int{}
		for _, r := range v.Replicas {
			if r.Holds() || v.Lapsed {
				s.loads[r.ID] = 0
			}
		}
	}
	for _, slot := range Slots() {
		if open := v.Open[slot]; open > 0 {
			busy.add(v.Me, slot, v.Owners[slot], open)
		} else {
			empty.add(v.Me, slot, v.Owners[slot], 1)
		}
	}
	for _, s := range []*scale{busy, empty} {
		s.finish(v)
	}
	return busy, empty
}

func (s *scale) add(me, slot, owner string, weight int) {
	s.total += weight
	if owner == me {
		s.mine = append(s.mine, slot)
		s.load += weight
	} else if load, held := s.loads[owner]; held {
		s.loads[owner] = load + weight
	} else {
		s.free = append(s.free, slot)
	}
}

func (s *scale) finish(v View) {
	live := v.Live()
	s.fair = (s.total + live - 1) / live
	s.limit = (s.total*(100+tolerance) + 100*live - 1) / (100 * live)
	s.least = -1
	for id, load := range s.loads {
		if id != v.Me && (s.least < 0 || load < s.least) {
			s.least = load
		}
	}
}

// claim takes what fits below the fair share, the heavy first. If only heavier ones are left, the lightest of these:
// while a slot is free somebody is below its share, so that none is left over.
func (s *scale) claim(v View) (slots []string) {
	order := shuffled(s.free, v.Me)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(s.weight(b), s.weight(a)) })
	var heavy []string
	for _, slot := range order {
		if s.load+s.weight(slot) > s.fair {
			heavy = append(heavy, slot)
			continue
		}
		slots = append(slots, slot)
		s.load += s.weight(slot)
	}
	if len(heavy) > 0 && s.load < s.fair {
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
func (s *scale) release(spare int) (slots []string) {
	limit := s.limit + spare
	if s.least < 0 || s.load <= limit {
		return nil
	}
	order := slices.Clone(s.mine)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(s.weight(b), s.weight(a)) })
	for _, slot := range order {
		if w := s.weight(slot); s.load-w >= s.fair && s.least+w < s.load {
			slots = append(slots, slot)
			s.load -= w
		}
	}
	if s.load <= limit {
		return slots
	}
	for _, slot := range slices.Backward(order) { // only heavy ones are left: the lightest of them
		if w := s.weight(slot); s.load-w < s.fair && w > 1 && s.least+w < s.load {
			return append(slots, slot)
		}
	}
	return slots
}
