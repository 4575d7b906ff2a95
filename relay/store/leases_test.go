package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/pgtest"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/lease"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// TestLeases is what replicas need of their common tables.
func TestLeases(t *testing.T) {
	t.Parallel()
	cluster := pgtest.ForTest(t)
	tests := map[string]func(t *testing.T, s *store.Store, l store.Leases, url string){
		"renew shows all replicas, and who was away": leasesRenew, "a slot has one owner": leasesClaim, "claims at once": leasesRace,
		"presence": leasesPresence, "traces of the dead": leasesClean, "payments of slots": leasesPayments, "news": leasesNews,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := cluster.Database(t)
			s := openPostgres(t, url)
			l, ok := s.Leases()
			if !ok {
				t.Fatal("PostgreSQL has no leases")
			}
			test(t, s, l, url)
		})
	}
	if _, ok := openSQLite(t, t.TempDir()+"/relay.db").Leases(); ok {
		t.Error("SQLite has leases, want none: its only process owns everything")
	}
}

func renew(t *testing.T, l store.Leases, me lease.Replica) lease.View {
	t.Helper()
	v, err := l.Renew(t.Context(), me)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func claim(t *testing.T, l store.Leases, me string, slots ...string) []string {
	t.Helper()
	claimed, err := l.Claim(t.Context(), me, slots)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(claimed)
	return claimed
}

// expire lets the lease of a replica run out, as if it had not been renewed for so long.
func expire(t *testing.T, s *store.Store, id string, ago time.Duration) {
	t.Helper()
	if err := store.ExpireLease(t.Context(), s, id, ago); err != nil {
		t.Fatal(err)
	}
}

func leasesRenew(t *testing.T, s *store.Store, l store.Leases, _ string) {
	first := renew(t, l, lease.Replica{ID: "a"})
	if len(first.Replicas) != 1 || first.Lapsed || first.Replicas[0].Left != lease.Length {
		t.Errorf("first view = %+v, want a alone, not lapsed", first)
	}
	claim(t, l, "a", "aa", "zz")
	renew(t, l, lease.Replica{ID: "a", Share: 0.25, Down: true, Held: time.Minute})
	v := renew(t, l, lease.Replica{ID: "b"})
	if len(v.Replicas) != 2 || v.Owners["aa"] != "a" || v.Owners["zz"] != "a" || len(v.Owners) != 2 {
		t.Fatalf("view of b = %+v, want a with its slots", v)
	}
	other := v.Replicas[0]
	if other.Share != 0.25 || !other.Down || other.Held < 50*time.Second || other.Held > time.Minute || other.Left < 3*time.Second || other.Left > lease.Length {
		t.Errorf("a as b sees it = %+v", other)
	}
	expire(t, s, "a", time.Second)
	if v := renew(t, l, lease.Replica{ID: "b"}); v.Replicas[0].Holds() || v.Live() != 1 {
		t.Errorf("view of b = %+v, want a's lease run out", v)
	}
	if v := renew(t, l, lease.Replica{ID: "a"}); !v.Lapsed || v.Owners["aa"] != "a" {
		t.Errorf("view of a = %+v, want lapsed, and nobody has taken its slots", v)
	}
	if v := renew(t, l, lease.Replica{ID: "a"}); v.Lapsed {
		t.Error("a is still lapsed after it has renewed")
	}
	if err := l.Leave(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if v := renew(t, l, lease.Replica{ID: "b"}); len(v.Replicas) != 1 || len(v.Owners) != 0 {
		t.Errorf("after a left = %+v, want nothing of it", v)
	}
}

func leasesClaim(t *testing.T, s *store.Store, l store.Leases, _ string) {
	renew(t, l, lease.Replica{ID: "a"})
	renew(t, l, lease.Replica{ID: "b"})
	if got := claim(t, l, "a", "aa", "ab", "ac"); len(got) != 3 {
		t.Errorf("a claimed %v, want all", got)
	}
	if got := claim(t, l, "b", "ab", "ac", "ad"); !slices.Equal(got, []string{"ad"}) {
		t.Errorf("b claimed %v, want only what is free", got)
	}
	if err := l.Release(t.Context(), "b", []string{"aa"}); err != nil { // not its own: nothing happens
		t.Fatal(err)
	}
	if err := l.Release(t.Context(), "a", []string{"ab"}); err != nil {
		t.Fatal(err)
	}
	if got := claim(t, l, "b", "aa", "ab"); !slices.Equal(got, []string{"ab"}) {
		t.Errorf("b claimed %v, want what a has released", got)
	}
	expire(t, s, "a", lease.Grace/2)
	if got := claim(t, l, "b", "aa"); len(got) != 0 {
		t.Errorf("b claimed %v, want to wait: a's renewal may be on its way", got)
	}
	expire(t, s, "a", 2*lease.Grace)
	if got := claim(t, l, "b", "aa", "ac"); len(got) != 2 {
		t.Errorf("b claimed %v, want all of a, which is gone", got)
	}
}

// leasesRace lets many claim everything at once, in different orders.
func leasesRace(t *testing.T, _ *store.Store, l store.Leases, _ string) {
	var (
		racing sync.WaitGroup
		mu     sync.Mutex
		owner  = map[string]string{}
	)
	for i := range 6 {
		me := fmt.Sprintf("r%d", i)
		renew(t, l, lease.Replica{ID: me})
		racing.Go(func() {
			slots := slices.Clone(lease.Slots())
			if i%2 == 1 {
				slices.Reverse(slots)
			}
			claimed, err := l.Claim(t.Context(), me, slots)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, slot := range claimed {
				if owner[slot] != "" {
					t.Errorf("%s has two owners: %s and %s", slot, owner[slot], me)
				}
				owner[slot] = me
			}
		})
	}
	racing.Wait()
	if len(owner) != len(lease.Slots()) {
		t.Errorf("%d slots have an owner, want all", len(owner))
	}
}

func leasesPresence(t *testing.T, s *store.Store, l store.Leases, _ string) {
	p, q := register(t, s, collection()), register(t, s, collection())
	renew(t, l, lease.Replica{ID: "a"})
	renew(t, l, lease.Replica{ID: "b"})
	note := func(me string, sights map[string]relay.Sight) {
		t.Helper()
		if err := l.Note(t.Context(), me, sights); err != nil {
			t.Fatal(err)
		}
	}
	sight := func(me, id string) relay.Sight {
		t.Helper()
		sights, err := l.Sights(t.Context(), me, []string{id})
		if err != nil {
			t.Fatal(err)
		}
		return sights[id]
	}
	note("a", map[string]relay.Sight{p.ID: {Live: true}, q.ID: {Pages: true}})
	note("b", map[string]relay.Sight{p.ID: {Pages: true}})
	if got := sight("b", p.ID); got != (relay.Sight{Live: true}) {
		t.Errorf("b sees %+v, want what a knows", got)
	}
	if got := sight("c", p.ID); got != (relay.Sight{Live: true, Pages: true}) {
		t.Errorf("c sees %+v, want what both know", got)
	}
	if ids, err := l.Looked(t.Context(), "b"); err != nil || !slices.Equal(ids, []string{q.ID}) {
		t.Errorf("Looked() = %v, %v; want what a looks at", ids, err)
	}
	if found, err := s.Find(t.Context(), p.ID); err != nil || !found.Live {
		t.Errorf("Find() = live %t, %v; want true", found.Live, err)
	}
	if list, _, err := s.List(t.Context(), store.Filter{Limit: 10}); err != nil || list[0].Live || !list[1].Live {
		t.Errorf("List() = %+v, %v; want the first payment live, the second not", list, err)
	}
	note("a", map[string]relay.Sight{p.ID: {}})
	if got := sight("b", p.ID); got != (relay.Sight{}) {
		t.Errorf("b sees %+v after a has lost it, want nothing", got)
	}
	expire(t, s, "a", time.Second)
	if ids, err := l.Looked(t.Context(), "b"); err != nil || len(ids) != 0 {
		t.Errorf("Looked() = %v, %v; want nothing of a dead replica", ids, err)
	}
}

func leasesPayments(t *testing.T, s *store.Store, l store.Leases, _ string) {
	var ids []string
	bySlot := map[string][]string{}
	for range 40 {
		p := register(t, s, collection())
		ids = append(ids, p.ID)
		bySlot[lease.SlotOf(p.ID)] = append(bySlot[lease.SlotOf(p.ID)], p.ID)
	}
	settled := must(t, s, ids[0], completed(), noon)
	slot := lease.SlotOf(ids[0])
	open, err := l.CountOpen(t.Context())
	if err != nil || open[slot] != len(bySlot[slot])-1 {
		t.Errorf("CountOpen() = %d in %s, %v; want %d", open[slot], slot, err, len(bySlot[slot])-1)
	}
	of := func(open bool, now time.Time, slots ...string) (found []string) {
		t.Helper()
		for after := ""; ; {
			page, err := l.OfSlots(t.Context(), slots, open, after, now, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page {
				found = append(found, p.ID)
				after = p.ID
			}
			if len(page) == 0 {
				return found
			}
		}
	}
	if got := of(true, noon, lease.Slots()...); len(got) != 39 {
		t.Errorf("%d open payments, want 39", len(got))
	}
	if got := of(false, noon, slot); !slices.Equal(got, []string{settled.ID}) {
		t.Errorf("to ask again = %v, want the settled one", got)
	}
	if got := of(false, noon, "zz"); len(got) != 0 {
		t.Errorf("to ask again in a slot without payments = %v", got)
	}
	revisions, err := l.Revisions(t.Context(), []string{settled.ID, "pay_unknown"})
	if err != nil || len(revisions) != 1 || revisions[settled.ID] != settled.Revision {
		t.Errorf("Revisions() = %v, %v; want %d of the known one", revisions, err, settled.Revision)
	}
	if found, err := l.FindAll(t.Context(), ids[:5]); err != nil || len(found) != 5 {
		t.Errorf("FindAll() = %d, %v; want 5", len(found), err)
	}
}

func leasesNews(t *testing.T, _ *store.Store, l store.Leases, _ string) {
	ctx, stop := context.WithCancel(t.Context())
	ready, heard, ended := make(chan struct{}), make(chan string, 10), make(chan error, 1)
	go func() { ended <- l.Listen(ctx, func() { close(ready) }, func(m string) { heard <- m }) }()
	<-ready
	long := strings.Repeat("x", store.MaxNews)
	for _, m := range []string{"one", long} {
		if err := l.Tell(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"one", long} {
		if got := <-heard; got != want {
			t.Errorf("heard %.20q, want %.20q", got, want)
		}
	}
	stop()
	if err := <-ended; err == nil {
		t.Error("Listen() = nil, want the reason of its end")
	}
}

func TestLeases_anOlderVersionWorksOnANewerDatabase(t *testing.T) {
	t.Parallel()
	url := pgtest.ForTest(t).Database(t)
	openPostgres(t, url)
	if err := store.Newer(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	s := openPostgres(t, url) // knows fewer migrations than were applied
	p := register(t, s, collection())
	if got := must(t, s, p.ID, completed(), noon); got.Outcome != relay.Succeeded {
		t.Errorf("outcome = %s, want succeeded", got.Outcome)
	}
}

func leasesClean(t *testing.T, s *store.Store, l store.Leases, _ string) {
	p := register(t, s, collection())
	for _, id := range []string{"dead", "alive"} {
		renew(t, l, lease.Replica{ID: id})
		if err := l.Note(t.Context(), id, map[string]relay.Sight{p.ID: {Pages: true}}); err != nil {
			t.Fatal(err)
		}
	}
	expire(t, s, "dead", time.Hour)
	if err := l.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := renew(t, l, lease.Replica{ID: "alive"}); len(v.Replicas) != 1 {
		t.Errorf("replicas = %+v, want only the living one", v.Replicas)
	}
	if n, err := store.Presences(t.Context(), s); err != nil || n != 1 {
		t.Errorf("%d notes left, %v; want one", n, err)
	}
}
