package lease

import (
	"slices"
	"strings"
	"time"
)

// Member is a replica as an operator sees it.
type Member struct {
	Replica

	Me       bool
	Payments int // open ones that it watches
}

// Members are the replicas as they were seen at the time that is returned with them, in the order of their ids; none
// before the first look.
func (k *Keeper) Members() (members []Member, seen time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.members, k.seenAt
}

// see keeps what there is to tell of a view.
func (k *Keeper) see(v View, now time.Time) {
	payments := map[string]int{}
	for slot, n := range v.Open {
		payments[v.Owners[slot]] += n
	}
	members := make([]Member, len(v.Replicas))
	for i, r := range v.Replicas {
		members[i] = Member{Replica: r, Me: r.ID == v.Me, Payments: payments[r.ID]}
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	k.mu.Lock()
	defer k.mu.Unlock()
	k.members, k.seenAt = members, now
}
