package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	conformance(t, func(tb testing.TB) *store.Store { return openSQLite(tb, filepath.Join(tb.TempDir(), "relay.db")) })
}

func openSQLite(tb testing.TB, path string) *store.Store {
	tb.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+path, store.Options{CallbackURLs: []string{hook}})
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

func TestSQLite_secondProcessIsToldWhy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "relay.db")
	openSQLite(t, path)
	_, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err == nil || !strings.Contains(err.Error(), "another process uses this database") {
		t.Errorf("Open() = %v, want an error that says that another process uses it", err)
	}
}

func TestSQLite_reopensWithWhatWasCommitted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "relay.db")
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{CallbackURLs: []string{hook}})
	if err != nil {
		t.Fatal(err)
	}
	p := register(t, s, collection())
	must(t, s, p.ID, completed(), noon)
	if _, err := s.Claim(t.Context(), hook, 1, noon, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openSQLite(t, path)
	if got := find(t, s, p.ID); got.Outcome != relay.Succeeded {
		t.Errorf("after reopening: %s, want succeeded", got.Outcome)
	}
	if err := s.ExpireLeases(t.Context()); err != nil {
		t.Fatal(err)
	}
	if claimed, err := s.Claim(t.Context(), hook, 1, noon, time.Hour); err != nil || len(claimed) != 1 {
		t.Errorf("Claim() = %v, %v; want the interrupted callback at once", claimed, err)
	}
}

// TestSQLite_membersOfABatchFailAlone commits many transactions, at once and one by one, every third of which fails
// after it has written: its writes are gone and the others' are there.
func TestSQLite_membersOfABatchFailAlone(t *testing.T) {
	t.Parallel()
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		membersFail(t, 300, 300)
	})
	t.Run("one by one", func(t *testing.T) {
		t.Parallel()
		membersFail(t, 30, 1)
	})
}

func membersFail(t *testing.T, n, atOnce int) {
	t.Helper()
	s := openSQLite(t, filepath.Join(t.TempDir(), "relay.db"))
	name := func(i int) string { return fmt.Sprintf("mark %d", i) }
	var running errgroup.Group
	running.SetLimit(atOnce)
	for i := range n {
		running.Go(func() error {
			err := store.MarkAndThen(t.Context(), s, name(i), func() error {
				switch i % 3 {
				case 1:
					return errors.New("on purpose")
				case 2:
					panic("on purpose")
				}
				return nil
			})
			if (err == nil) != (i%3 == 0) {
				t.Errorf("transaction %d: %v", i, err)
			}
			return nil
		})
	}
	_ = running.Wait()
	for i := range n {
		if value, err := s.Mark(t.Context(), name(i)); err != nil || (value == "set") != (i%3 == 0) {
			t.Errorf("mark %d is %q, %v", i, value, err)
		}
	}
}

func BenchmarkSQLite_register(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := openSQLite(b, filepath.Join(b.TempDir(), "relay.db"))
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					g := collection()
					_, _, _, err := s.Register(b.Context(), g.ID(), func(*relay.Payment) (relay.Payment, []relay.Effect, error) {
						p, effects := g.Open(time.Hour, noon)
						return p, effects, nil
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
		})
	}
}

// BenchmarkSQLite_apply gives payments their next status, one after the other: what a hint costs the database.
func BenchmarkSQLite_apply(b *testing.B) {
	s := openSQLite(b, filepath.Join(b.TempDir(), "relay.db"))
	ids := make([]string, 2000)
	for i := range ids {
		ids[i] = register(b, s, collection()).ID
	}
	before := processorTime(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		hint := relay.Hint{Status: []string{"PROCESSING", "PENDING"}[i/len(ids)%2], At: noon}
		_, _, err := s.Apply(b.Context(), ids[i%len(ids)], func(p relay.Payment) (relay.Payment, []relay.Effect) { return relay.Decide(p, hint, noon) })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestSQLite_restoredFromABackup has a reader of the feed meet a database that was restored from an
// older copy and went on differently: its cursor is refused, not taken for another place.
func TestSQLite_restoredFromABackup(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path, copied := filepath.Join(folder, "relay.db"), filepath.Join(folder, "backup.db")
	settle := func(s *store.Store, g relay.Registration) {
		t.Helper()
		must(t, s, register(t, s, g).ID, completed(), noon)
	}
	last := func(s *store.Store) string {
		t.Helper()
		feed, err := s.Feed(t.Context(), "", 10)
		if err != nil || len(feed) == 0 {
			t.Fatalf("Feed() = %v, %v", feed, err)
		}
		return feed[len(feed)-1].Cursor
	}
	original, err := store.Open(t.Context(), "sqlite:"+path, store.Options{CallbackURLs: []string{hook}})
	if err != nil {
		t.Fatal(err)
	}
	settle(original, collection())
	early := last(original)
	if err := original.Close(); err != nil { // a closed database is one file
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(copied, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	original = openSQLite(t, path)
	second, third := collection(), collection()
	settle(original, second)
	settle(original, third)
	late := last(original)

	restored := openSQLite(t, copied)
	if _, err := restored.Feed(t.Context(), early, 10); err != nil {
		t.Errorf("Feed(a cursor that the backup knows) = %v", err)
	}
	if _, err := restored.Feed(t.Context(), late, 10); !errors.Is(err, store.ErrUnknownCursor) {
		t.Errorf("Feed(a cursor from after the backup) = %v, want ErrUnknownCursor", err)
	}
	settle(restored, third) // the same outcomes, in another order
	settle(restored, second)
	if _, err := restored.Feed(t.Context(), late, 10); !errors.Is(err, store.ErrUnknownCursor) {
		t.Errorf("Feed(the same position of another history) = %v, want ErrUnknownCursor", err)
	}
	if last(restored) == late {
		t.Error("two histories have given out the same cursor")
	}
}
