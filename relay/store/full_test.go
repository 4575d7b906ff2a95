package store_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// TestSQLite_D5_fullDiskCommitsNothingUnsaid fills the disk while many transactions share a commit:
// what was not acknowledged is not there, and once there is room everything works again.
func TestSQLite_D5_fullDiskCommitsNothingUnsaid(t *testing.T) {
	t.Parallel()
	s := openSQLite(t, filepath.Join(t.TempDir(), "relay.db"))
	before := register(t, s, collection())
	if err := store.LimitPages(t.Context(), s, 1); err != nil { // as many as there are
		t.Fatal(err)
	}
	payments := make([]relay.Payment, 64)
	errs := make([]error, len(payments))
	var running sync.WaitGroup
	for i := range payments {
		payments[i], _ = collection().Open(0, noon)
		payments[i].Metadata = map[string]string{"note": strings.Repeat("x", 200<<(i%8))} // some fit, some do not
		running.Go(func() {
			_, _, _, errs[i] = s.Register(t.Context(), payments[i].ID, func(*relay.Payment) (relay.Payment, []relay.Effect, error) {
				return payments[i], nil, nil
			})
		})
	}
	running.Wait()
	failed := 0
	for i, p := range payments {
		_, err := s.Find(t.Context(), p.ID)
		if (err == nil) != (errs[i] == nil) {
			t.Errorf("payment %d: registering said %v, reading says %v", i, errs[i], err)
		}
		if errs[i] != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Fatal("the disk was not full")
	}
	if err := store.LimitPages(t.Context(), s, 1_000_000); err != nil {
		t.Fatal(err)
	}
	register(t, s, collection())
	if got := find(t, s, before.ID); got.Outcome != relay.Pending {
		t.Errorf("what was committed before reads %s, want pending", got.Outcome)
	}
}
