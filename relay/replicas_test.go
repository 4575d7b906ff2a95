package relay_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/lease"
)

// presence is a database on which nobody else is. It keeps what is noted.
type presence struct {
	mu    sync.Mutex
	noted map[string]relay.Sight
}

// Note implements [relay.Replicas].
func (p *presence) Note(id string, s relay.Sight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noted[id] = s
}

// take returns what was noted since the last time.
func (p *presence) take() map[string]relay.Sight {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	noted := maps.Clone(p.noted)
	clear(p.noted)
	return noted
}

func (p *presence) Tell(relay.News) {}

func (p *presence) OfSlots(context.Context, []string, bool, string, time.Time, int) ([]relay.Payment, error) {
	return nil, nil
}

func (p *presence) FindAll(context.Context, []string) ([]relay.Payment, error) { return nil, nil }

func (p *presence) Revisions(context.Context, []string) (map[string]int64, error) { return nil, nil } //nolint:nilnil // nothing is known

func (p *presence) Sights(context.Context, []string) (map[string]relay.Sight, error) { return nil, nil } //nolint:nilnil // likewise

func (p *presence) Looked(context.Context) ([]string, error) { return nil, nil }

// TestRelay_whatWasNotedIsNotedAgainAfterALapse cuts a replica off for so long that the others remove what it had noted.
func TestRelay_whatWasNotedIsNotedAgainAfterALapse(t *testing.T) {
	t.Parallel()
	database := &presence{noted: map[string]relay.Sight{}}
	beatAmong(t, database, func(h *heart) {
		h.Hold(time.Now().Add(lease.Length))
		p := h.register()
		h.page(p.ID)
		if got := database.take(); !got[p.ID].Pages {
			t.Fatalf("noted %v when a page was opened, want it", got)
		}
		for range 5 {
			time.Sleep(lease.Every)
			h.Hold(time.Now().Add(lease.Length))
		}
		if got := database.take(); len(got) != 0 {
			t.Errorf("noted %v while the lease held, want nothing: nothing has changed", got)
		}
		time.Sleep(11 * time.Minute)
		h.Hold(time.Now().Add(lease.Length))
		if got := database.take(); !got[p.ID].Pages {
			t.Errorf("noted %v after the lease had run out, want the open page again", got)
		}
	})
}
