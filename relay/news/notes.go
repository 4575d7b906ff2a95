package news

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

const (
	// gather is how long notes wait for others: a socket that is lost takes a hundred channels with it.
	gather = 20 * time.Millisecond
	// noteBatch bounds one write, noteAgain is the pause after a failed one.
	noteBatch = 1000
	noteAgain = time.Second
)

// Notes keeps in the database what this replica knows of payments and others need. Only the newest note of each payment
// is written.
type Notes struct {
	write func(ctx context.Context, sights map[string]relay.Sight) error
	told  func(id string) // after it was written
	log   *slog.Logger
	wake  chan struct{}

	mu      sync.Mutex
	waiting map[string]relay.Sight
}

// NewNotes returns Notes that write nothing before their Run.
func NewNotes(write func(ctx context.Context, sights map[string]relay.Sight) error, told func(id string), log *slog.Logger) *Notes {
	return &Notes{write: write, told: told, log: log, wake: make(chan struct{}, 1), waiting: map[string]relay.Sight{}}
}

// Note has a note written soon. It does not block.
func (n *Notes) Note(id string, s relay.Sight) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting[id] = s
	select {
	case n.wake <- struct{}{}:
	default: // it is about to look
	}
}

// Run writes until ctx ends.
func (n *Notes) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		}
		pause(ctx, gather)
		for sights := n.take(); len(sights) > 0 && ctx.Err() == nil; sights = n.take() {
			if err := n.write(ctx, sights); err != nil {
				n.log.DebugContext(ctx, "notes wait", slog.Int("payments", len(sights)), slog.Any("err", err))
				n.giveBack(sights)
				pause(ctx, noteAgain)
				continue
			}
			for _, id := range slices.Sorted(maps.Keys(sights)) { // in the same order whenever the simulator plays it
				n.told(id)
			}
		}
	}
}

func (n *Notes) take() map[string]relay.Sight {
	n.mu.Lock()
	defer n.mu.Unlock()
	batch := map[string]relay.Sight{}
	for id, s := range n.waiting {
		if len(batch) == noteBatch {
			break
		}
		batch[id] = s
		delete(n.waiting, id)
	}
	return batch
}

// giveBack keeps what could not be written, unless it is out of date already.
func (n *Notes) giveBack(sights map[string]relay.Sight) {
	n.mu.Lock()
	defer n.mu.Unlock()
	newer := n.waiting
	n.waiting = sights
	maps.Copy(n.waiting, newer)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
