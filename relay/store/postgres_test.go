package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/pgtest"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	cluster := pgtest.ForTest(t)
	conformance(t, func(tb testing.TB) *store.Store { return openPostgres(tb, cluster.Database(tb)) })
}

func openPostgres(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s, err := store.Open(context.Background(), url, store.Options{CallbackURLs: []string{hook}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close() = %v", err)
		}
	})
	return s
}

// TestPostgreSQL_shared has several relays start at once on an empty database, settle payments
// concurrently, and read one feed.
func TestPostgreSQL_shared(t *testing.T) {
	t.Parallel()
	url := pgtest.ForTest(t).Database(t)
	const relays, each = 4, 25
	stores := make([]*store.Store, relays)
	var starting sync.WaitGroup
	for i := range stores {
		starting.Go(func() {
			s, err := store.Open(t.Context(), url, store.Options{CallbackURLs: []string{hook}})
			if err != nil {
				t.Errorf("Open() = %v", err)
			}
			stores[i] = s
		})
	}
	starting.Wait()
	if t.Failed() {
		return
	}
	var running sync.WaitGroup
	for _, s := range stores {
		running.Go(func() {
			for range each {
				p := register(t, s, collection())
				must(t, s, p.ID, completed(), noon)
			}
		})
	}
	// A consumer reads the feed meanwhile, through another relay at each step.
	seen := map[string]bool{}
	cursor := ""
	for step := 0; len(seen) < relays*each; step++ {
		entries, err := stores[step%relays].Feed(t.Context(), cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if seen[e.ID] {
				t.Errorf("%s came twice", e.ID)
			}
			seen[e.ID] = true
			cursor = e.Cursor
		}
		if len(entries) == 0 && t.Context().Err() != nil {
			t.Fatal("the feed does not end")
		}
	}
	running.Wait()
	if more, err := stores[0].Feed(t.Context(), cursor, 10); err != nil || len(more) != 0 {
		t.Errorf("after everything: %v, %v; want nothing more", more, err)
	}
	for _, s := range stores {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
}

// TestPostgreSQL_siblingsThatSettleAtOnce: the customer paid twice in the same moment, and one callback must say so.
func TestPostgreSQL_siblingsThatSettleAtOnce(t *testing.T) {
	t.Parallel()
	s := openPostgres(t, pgtest.ForTest(t).Database(t))
	var both, settling sync.WaitGroup
	both.Add(2)
	for range 2 {
		p := register(t, s, collection())
		settling.Go(func() {
			met := sync.OnceFunc(func() { both.Done(); both.Wait() }) // neither commits before both have been read
			_, _, err := s.Apply(t.Context(), p.ID, func(p relay.Payment) (relay.Payment, []relay.Effect) {
				met()
				return relay.Decide(p, completed(), noon)
			})
			if err != nil {
				t.Errorf("Apply() = %v", err)
			}
		})
	}
	settling.Wait()
	feed, err := s.Feed(t.Context(), "", 10)
	if err != nil || len(feed) != 2 {
		t.Fatalf("Feed() = %v, %v; want both", feed, err)
	}
	named := 0
	for _, e := range feed {
		var data struct{ Siblings []string }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		named += len(data.Siblings)
	}
	if named != 1 {
		t.Errorf("%d siblings are named, want the first in the callback of the second", named)
	}
}

func TestPostgreSQL_errorsHideThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://relay:hunter2@127.0.0.1:1/relay?connect_timeout=2", "postgres://relay:hunter2@:x/relay", "postgres://relay:hunter2@127.0.0.1:1/relay?sslmode=odd"} {
		_, err := store.Open(t.Context(), url, store.Options{})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open() = %v, want an error without the password", err)
		}
	}
}

// TestPostgreSQL_versionsThatDoNotShare: those before the leases took the lock for themselves.
func TestPostgreSQL_versionsThatDoNotShare(t *testing.T) {
	t.Parallel()
	cluster := pgtest.ForTest(t)
	url := cluster.Database(t)
	first, second := openPostgres(t, url), openPostgres(t, url)
	for _, s := range []*store.Store{first, second} {
		if err := s.KeepOut(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	var ours bool
	if err := db.QueryRowContext(t.Context(), "SELECT pg_try_advisory_lock($1)", 0x646f6c03).Scan(&ours); err != nil || ours {
		t.Fatalf("an old version got the lock: %t, %v; want to be kept out", ours, err)
	}
	other := cluster.Database(t)
	alone, err := sql.Open("pgx", other)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alone.Close() }()
	alone.SetMaxOpenConns(1)
	if err := alone.QueryRowContext(t.Context(), "SELECT pg_try_advisory_lock($1)", 0x646f6c03).Scan(&ours); err != nil || !ours {
		t.Fatalf("no lock: %t, %v", ours, err)
	}
	if err := openPostgres(t, other).KeepOut(t.Context()); err == nil || !strings.Contains(err.Error(), "another process uses this database") {
		t.Errorf("KeepOut() beside an old version = %v, want to be told why not", err)
	}
}

var _ relay.Store = (*store.Store)(nil)

// TestPostgreSQL_D1_aSilentServerHoldsNobody lets another session lock the payments: a transaction must end,
// and with an error.
func TestPostgreSQL_D1_aSilentServerHoldsNobody(t *testing.T) {
	t.Parallel()
	url := pgtest.ForTest(t).Database(t)
	s := openPostgres(t, url)
	p := register(t, s, collection())
	other, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE payments IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, _, err := observe(t.Context(), s, p.ID, completed(), noon); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("Apply() = %v while the table is locked, want an error that tells of the database", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s, want 10 s", took)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := must(t, s, p.ID, completed(), noon); got.Outcome != relay.Succeeded || got.Version != 2 {
		t.Errorf("afterwards %s, version %d; want succeeded, and nothing of the first try", got.Outcome, got.Version)
	}
}

// TestPostgreSQL_D1_connectionsThatDiedUnnoticed: after a failover nobody answers on the connections of the pool. Whoever asks
// first waits for an answer and gets an error, and nobody after it meets the others that idle.
func TestPostgreSQL_D1_connectionsThatDiedUnnoticed(t *testing.T) {
	t.Parallel()
	road, url := pgtest.NewRoad(t, pgtest.ForTest(t).Database(t))
	s := openPostgres(t, url)
	p := register(t, s, collection())
	leases, _ := s.Leases()
	var filling sync.WaitGroup
	for range 24 {
		filling.Go(func() {
			for range 20 {
				if _, err := s.Find(t.Context(), p.ID); err != nil {
					t.Errorf("Find() = %v", err)
				}
			}
		})
	}
	filling.Wait()
	road.Freeze()
	var waiting sync.WaitGroup
	for name, read := range map[string]func() error{
		"a payment":         func() error { _, err := s.Find(t.Context(), p.ID); return err },
		"what is watched":   func() error { _, err := s.Watched(t.Context(), "", noon, 10); return err },
		"the last sweep":    func() error { _, err := leases.LastSweep(t.Context()); return err },
		"the due callbacks": func() error { _, err := s.NextDue(t.Context(), hook); return err },
	} {
		waiting.Go(func() {
			began := time.Now()
			if err := read(); err == nil {
				t.Errorf("%s was read from a connection that answers nothing", name)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s: it took %s, want 10 s", name, took)
			}
		})
	}
	waiting.Wait()
	began := time.Now()
	for range 24 { // at once: each on a connection of its own
		waiting.Go(func() {
			if _, err := s.Find(t.Context(), p.ID); err != nil {
				t.Errorf("afterwards Find() = %v", err)
			}
		})
	}
	waiting.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("afterwards reads took %s, want no more dead connections to be met", took)
	}
}

// TestPostgreSQL_whatAnotherSessionHasInHandIsLeftAlone: a callback is just being claimed, or redelivered by somebody whose
// answer is on its way. It is neither buried, nor put off, nor readdressed, nor pruned, and nobody waits for that session.
func TestPostgreSQL_whatAnotherSessionHasInHandIsLeftAlone(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, one := range map[string]struct {
		before, inHand string
		change         func(s *store.Store) (int, error)
	}{
		"bury": {"", `UPDATE callbacks SET lease_until = 9e15`, func(s *store.Store) (int, error) {
			return s.Bury(t.Context(), noon.Add(day), noon.Add(day))
		}},
		"readdress": {"", `UPDATE callbacks SET lease_until = 9e15`, func(s *store.Store) (int, error) {
			moved, _, err := s.Readdress(t.Context(), []string{"https://other.example/"}, noon.Add(day))
			return moved, err
		}},
		"hasten": {`UPDATE callbacks SET next_at = 8e15`, `UPDATE callbacks SET lease_until = 9e15`, func(s *store.Store) (int, error) {
			return s.Hasten(t.Context(), hook, noon.Add(day), noon.Add(day), 10)
		}},
		"postpone": {"", `UPDATE callbacks SET lease_until = 9e15`, func(s *store.Store) (int, error) {
			return 0, s.Postpone(t.Context(), hook, noon.Add(day), noon.Add(2*day))
		}},
		"prune": {`UPDATE callbacks SET state = 'delivered'`, `UPDATE callbacks SET state = 'pending'`, func(s *store.Store) (int, error) {
			return s.Prune(t.Context(), noon.Add(day))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.ForTest(t).Database(t)
			s := openPostgres(t, url)
			p := register(t, s, collection())
			must(t, s, p.ID, completed(), noon)
			other, err := sql.Open("pgx", url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Close() }()
			if one.before != "" {
				if _, err := other.ExecContext(t.Context(), one.before); err != nil {
					t.Fatal(err)
				}
			}
			tx, err := other.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.ExecContext(t.Context(), one.inHand); err != nil {
				t.Fatal(err)
			}
			if n, err := one.change(s); n != 0 || err != nil {
				t.Errorf("while it is in hand: %d, %v; want nothing to be done, and at once", n, err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			if n, err := one.change(s); n != 0 || err != nil {
				t.Errorf("afterwards: %d, %v; want nothing to be done", n, err)
			}
			var due int64
			if err := other.QueryRowContext(t.Context(), `SELECT next_at FROM callbacks WHERE state = 'pending' AND url = $1`, hook).Scan(&due); err != nil {
				t.Fatalf("the callback: %v", err)
			}
			if due > noon.UnixMilli() && one.before == "" {
				t.Errorf("it was put off until %s", time.UnixMilli(due))
			}
		})
	}
}
