package lease_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/lease"
)

func TestSlotOf(t *testing.T) {
	t.Parallel()
	all := lease.Slots()
	if len(all) != 1024 || !slices.IsSorted(all[:26]) {
		t.Fatalf("%d slots, want 1024", len(all))
	}
	for i := range 2000 {
		id := relay.PaymentID(relay.Payout, fmt.Sprint(i), "", 0)
		if slot := lease.SlotOf(id); !slices.Contains(all, slot) {
			t.Fatalf("slot of %s = %q, which is none", id, slot)
		}
	}
	if slot := lease.SlotOf("pay"); slot != "" {
		t.Errorf("slot of a wrong id = %q, want none", slot)
	}
}

// group is a database and its replicas, in which time passes as a test wants.
type group struct {
	replicas []lease.Replica
	owners   map[string]string
	open     map[string]int
}

func newGroup(replicas int, payments int, random *rand.Rand) *group {
	g := &group{owners: map[string]string{}, open: map[string]int{}}
	for i := range replicas {
		g.join(fmt.Sprintf("r%d", i))
	}
	slots := lease.Slots()
	for range payments {
		g.open[slots[random.IntN(len(slots))]]++
	}
	return g
}

func (g *group) join(id string) {
	g.replicas = append(g.replicas, lease.Replica{ID: id, Left: lease.Length})
}

func (g *group) view(me string) lease.View {
	return lease.View{Me: me, Replicas: slices.Clone(g.replicas), Owners: g.owners, Open: g.open}
}

// apply carries out a step as the database would: only free slots are claimed, only one's own released.
func (g *group) apply(t *testing.T, me string, s lease.Step) (moved int) {
	t.Helper()
	for _, slot := range s.Claim {
		if owner := g.owners[slot]; owner != "" && g.holds(owner) {
			t.Errorf("%s claims %s, which %s holds", me, slot, owner)
			continue
		}
		g.owners[slot] = me
		moved++
	}
	for _, slot := range s.Release {
		if g.owners[slot] != me {
			t.Errorf("%s releases %s of %q", me, slot, g.owners[slot])
		}
		delete(g.owners, slot)
		moved++
	}
	for i := range g.replicas {
		if g.replicas[i].ID == me {
			g.replicas[i].Share = s.Share
		}
	}
	return moved
}

func (g *group) holds(id string) bool {
	return slices.ContainsFunc(g.replicas, func(r lease.Replica) bool { return r.ID == id && r.Holds() })
}

// settle lets everybody step, in turn, until nothing moves any more.
func (g *group) settle(t *testing.T) (rounds int) {
	t.Helper()
	for rounds = 1; rounds <= 20; rounds++ {
		moved := 0
		for _, r := range g.replicas {
			if r.Holds() {
				moved += g.apply(t, r.ID, lease.Decide(g.view(r.ID)))
			}
		}
		if moved == 0 {
			return rounds
		}
	}
	t.Fatalf("slots still move after %d rounds", rounds)
	return 0
}

// check tells whether everything has an owner that lives, and nobody more than its share and a tenth.
func (g *group) check(t *testing.T) {
	t.Helper()
	loads, slots, total, live := map[string]int{}, map[string]int{}, 0, 0
	for _, r := range g.replicas {
		if r.Holds() {
			live++
		}
	}
	heaviest := 0
	for _, slot := range lease.Slots() {
		owner := g.owners[slot]
		if !g.holds(owner) {
			t.Fatalf("slot %s is owned by %q, who is not there", slot, owner)
		}
		loads[owner] += g.open[slot]
		slots[owner]++
		total += g.open[slot]
		heaviest = max(heaviest, g.open[slot])
	}
	fair := float64(total) / float64(live)
	limit := max(math.Ceil(fair*1.1), fair+float64(heaviest)) // what is in one slot cannot be parted
	for _, r := range g.replicas {
		if n := slots[r.ID]; r.Holds() && total == 0 && n < 1024/live*8/10 {
			t.Errorf("%s has %d empty slots of %d replicas, so new payments are not spread", r.ID, n, live)
		}
	}
	for id, load := range loads {
		if float64(load) > limit {
			t.Errorf("%s has %d of %d payments, more than its share of %.0f and a tenth", id, load, total, fair)
		}
	}
}

func TestDecide_everythingIsSharedOutFairly(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		g := newGroup(1+random.IntN(6), []int{0, 1, 3, 10, 40, 300, 2000, 30_000}[random.IntN(8)], random)
		g.settle(t)
		g.check(t)
		g.join("late") // a new one gets its share from the others
		if rounds := g.settle(t); rounds > 4 {
			t.Errorf("seed %d: it took %d rounds to let a new replica have its share", seed, rounds)
		}
		g.check(t)
		gone := random.IntN(len(g.replicas)) // and one that dies leaves its own to them
		g.replicas[gone].Left = -lease.Grace
		if rounds := g.settle(t); rounds > 4 {
			t.Errorf("seed %d: it took %d rounds to take over", seed, rounds)
		}
		g.check(t)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestDecide_underChurn has payments come and go: the load stays fair, and little moves.
func TestDecide_underChurn(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	g := newGroup(3, 300, random)
	g.settle(t)
	slots, moved := lease.Slots(), 0
	before := fmt.Sprint(g.owners)
	for range 100 {
		var busy []string
		for _, slot := range slots {
			if g.open[slot] > 0 {
				busy = append(busy, slot)
			}
		}
		g.open[busy[random.IntN(len(busy))]]--
		g.open[slots[random.IntN(len(slots))]]++
		g.settle(t)
		g.check(t)
		if after := fmt.Sprint(g.owners); after != before {
			before = after
			moved++
		}
	}
	if moved > 25 {
		t.Errorf("slots moved in %d of 100 rounds, want that to be rare", moved)
	}
}

func TestDecide_oneHeavySlotIsNotPassedAround(t *testing.T) {
	t.Parallel()
	g := newGroup(3, 0, rand.New(rand.NewPCG(1, 1)))
	g.open["aa"] = 50
	g.settle(t)
	owner := g.owners["aa"]
	for range 5 {
		g.settle(t)
	}
	if g.owners["aa"] != owner {
		t.Errorf("the heavy slot went from %s to %s", owner, g.owners["aa"])
	}
}

func TestDecide_whoWasAwayTakesNobodyForDead(t *testing.T) {
	t.Parallel()
	g := newGroup(2, 100, rand.New(rand.NewPCG(1, 1)))
	g.settle(t)
	g.replicas[1].Left = -time.Minute // its renewal is on its way
	v := g.view("r0")
	v.Lapsed = true
	if step := lease.Decide(v); len(step.Claim) > 0 {
		t.Errorf("it claims %d slots at once, want to wait for the other's renewal", len(step.Claim))
	}
	v.Lapsed = false
	if step := lease.Decide(v); len(step.Claim) == 0 {
		t.Error("it claims nothing afterwards")
	}
}

func TestDecide_shareOfTheRate(t *testing.T) {
	t.Parallel()
	replica := func(id string, share float64) lease.Replica {
		return lease.Replica{ID: id, Left: lease.Length, Share: share}
	}
	gone := lease.Replica{ID: "gone", Left: -time.Second, Share: 1}
	tests := []struct {
		name     string
		replicas []lease.Replica
		want     float64
	}{
		{"alone", []lease.Replica{replica("me", 0)}, 1},
		{"the other still uses all", []lease.Replica{replica("me", 0), replica("b", 1)}, 0},
		{"the other has made room", []lease.Replica{replica("me", 0), replica("b", 0.5)}, 0.5},
		{"a third one has come", []lease.Replica{replica("me", 0.5), replica("b", 0.5), replica("c", 0)}, 1.0 / 3},
		{"one has gone", []lease.Replica{replica("me", 0.5), gone}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := lease.Decide(lease.View{Me: "me", Replicas: tt.replicas}).Share; got != tt.want {
				t.Errorf("share = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestDecide_theSharesAreNeverMoreThanOne has replicas come, go and step in any order.
func TestDecide_theSharesAreNeverMoreThanOne(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	g := newGroup(1, 50, random)
	for i := range 1000 {
		switch random.IntN(20) {
		case 0:
			if len(g.replicas) < 8 {
				g.join(fmt.Sprintf("n%d", i))
			}
		case 1:
			if gone := random.IntN(len(g.replicas)); len(g.replicas) > 1 {
				g.replicas = slices.Delete(g.replicas, gone, gone+1)
			}
		default:
			me := g.replicas[random.IntN(len(g.replicas))].ID
			g.apply(t, me, lease.Decide(g.view(me)))
		}
		sum := 0.0
		for _, r := range g.replicas {
			sum += r.Share
		}
		if sum > 1.000001 {
			t.Fatalf("step %d: the replicas use %.3f of the rate together", i, sum)
		}
	}
}

func TestDecide_looksAgainWhenALeaseEnds(t *testing.T) {
	t.Parallel()
	v := lease.View{Me: "a", Replicas: []lease.Replica{{ID: "a", Left: lease.Length}, {ID: "b", Left: 100 * time.Millisecond}}}
	if got, want := lease.Decide(v).Again, 100*time.Millisecond+lease.Grace+time.Millisecond; got != want {
		t.Errorf("looks again in %s, want %s", got, want)
	}
}
