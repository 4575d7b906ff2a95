package relay

import (
	"slices"
	"strings"
	"time"
)

// StoreDown reports whether the relay's own database did not work when it was last used.
func (r *Relay) StoreDown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.storeDown
}

// Census counts the open payments that this process watches by their age, since registration or since
// the last one: element i holds those that are younger than bounds[i] and not counted before, the last
// one all others.
func (r *Relay) Census(bounds []time.Duration) []map[Link]int {
	counts := make([]map[Link]int, len(bounds)+1)
	for i := range counts {
		counts[i] = map[Link]int{}
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, w := range r.watches {
		if w.p.Final() || !r.ownsLocked(id) {
			continue
		}
		age := now.Sub(w.p.WatchSince)
		i := slices.IndexFunc(bounds, func(bound time.Duration) bool { return age < bound })
		if i < 0 {
			i = len(bounds)
		}
		counts[i][r.linkLocked(w)]++
	}
	return counts
}

// Open names the open payments that this process watches, longest waiting first, at most limit:
// those of a link, or all if it is [Unwatched], that are at least minAge and, unless it is 0, less than maxAge old. Also
// returned is how many there are.
func (r *Relay) Open(link Link, minAge, maxAge time.Duration, limit int) (ids []string, total int) {
	type open struct {
		since time.Time
		id    string
	}
	var found []open
	now := r.now()
	r.mu.Lock()
	for id, w := range r.watches {
		age := now.Sub(w.p.WatchSince)
		if w.p.Final() || !r.ownsLocked(id) || age < minAge || maxAge > 0 && age >= maxAge || link != Unwatched && r.linkLocked(w) != link {
			continue
		}
		found = append(found, open{w.p.WatchSince, w.p.ID})
	}
	r.mu.Unlock()
	slices.SortFunc(found, func(a, b open) int {
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	for _, o := range found[:min(limit, len(found))] {
		ids = append(ids, o.id)
	}
	return ids, len(found)
}
