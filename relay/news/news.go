// Package news carries what one replica tells the others: through a channel of the database, in batches, after the
// commit. All of it are hints. One that is lost costs time and nothing else.
//
// Start at [Board.Run].
package news

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

const (
	// maxWaiting bounds what waits for a database that does not answer. Beyond it news are dropped: whoever needs them
	// reads the rows again.
	maxWaiting = 20_000
	// tellWithin bounds one message, and the others wait for it.
	tellWithin = 3 * time.Second
	// longWord bounds the status words that are told.
	longWord = 256
	// relisten is the pause after the connection was lost.
	relisten = 250 * time.Millisecond
)

// Channel is what carries the messages.
type Channel interface {
	// Tell sends one to all that listen, the sender included.
	Tell(ctx context.Context, message string) error
	// Listen hears them until ctx ends or the connection is lost, and returns why. It calls ready when nothing is missed
	// from then on.
	Listen(ctx context.Context, ready func(), heard func(message string)) error
}

// Item is one thing that is told.
type Item struct {
	Payment *Payment `json:"p,omitempty"`
	Look    bool     `json:"look,omitempty"`  // at the leases
	Sweep   bool     `json:"sweep,omitempty"` // a sweep was asked for
}

// Options configure a [Board].
type Options struct {
	ID      string // of this process
	Channel Channel
	Max     int // bytes that one message may have, far above that of one item
	// Heard is called with what others tell, CaughtUp when something may have been missed. They must not block.
	Heard    func(Item)
	CaughtUp func()
	Logger   *slog.Logger
}

// Board tells and hears.
type Board struct {
	opts Options
	wake chan struct{}

	mu      sync.Mutex
	waiting []json.RawMessage
}

// New returns a Board that does nothing before its Run.
func New(opts Options) *Board { return &Board{opts: opts, wake: make(chan struct{}, 1)} }

// message is what goes through the channel.
type message struct {
	From  string            `json:"from"`
	Items []json.RawMessage `json:"items"`
}

// Tell tells the other replicas soon. It does not block.
func (b *Board) Tell(item Item) {
	body, err := json.Marshal(item)
	if err != nil {
		b.opts.Logger.Error("news not encoded", slog.Any("err", err))
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= maxWaiting {
		return
	}
	b.waiting = append(b.waiting, body)
	select {
	case b.wake <- struct{}{}:
	default: // it is about to look
	}
}

// TellPayment tells what has become of a payment.
func (b *Board) TellPayment(n relay.News) {
	if n.Status != nil && len(n.Status.Status) > longWord {
		n.Status = nil // Dollr may say anything: the others read the row
	}
	b.Tell(Item{Payment: encode(n)})
}

// Run tells and hears until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	var hearing sync.WaitGroup
	defer hearing.Wait()
	hearing.Go(func() { b.hear(ctx) })
	for {
		select {
		case <-ctx.Done():
			b.flush(context.WithoutCancel(ctx)) // the leases were given up just now
			return nil
		case <-b.wake:
			b.flush(ctx)
		}
	}
}

// flush sends what waits. What comes meanwhile makes the next message: the busier it is, the larger they are.
func (b *Board) flush(ctx context.Context) {
	for ctx.Err() == nil {
		text, n := b.take()
		if n == 0 {
			return
		}
		call, cancel := context.WithTimeout(ctx, tellWithin)
		err := b.opts.Channel.Tell(call, text)
		cancel()
		if err != nil {
			b.opts.Logger.DebugContext(ctx, "news lost", slog.Int("items", n), slog.Any("err", err))
			b.drop()
			return
		}
	}
}

// take makes a message of as many items as fit.
func (b *Board) take() (text string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return "", 0
	}
	size := len(`{"from":"","items":[]}`) + len(b.opts.ID)
	for n < len(b.waiting) && (n == 0 || size+len(b.waiting[n])+1 <= b.opts.Max) {
		size += len(b.waiting[n]) + 1
		n++
	}
	body, err := json.Marshal(message{From: b.opts.ID, Items: b.waiting[:n]})
	b.waiting = b.waiting[n:]
	if err != nil {
		return "", 0 // items were encoded before: cannot happen
	}
	return string(body), n
}

// drop forgets what waits: the database does not answer, and when it does the rows are read again.
func (b *Board) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = nil
}

// hear listens, again and again, until ctx ends.
func (b *Board) hear(ctx context.Context) {
	lost := false
	for ctx.Err() == nil {
		err := b.opts.Channel.Listen(ctx, func() {
			if lost {
				b.opts.Logger.InfoContext(ctx, "hearing other replicas again")
			}
			lost = false
			b.opts.CaughtUp()
		}, b.heard)
		if ctx.Err() != nil {
			return
		}
		if !lost {
			b.opts.Logger.WarnContext(ctx, "other replicas not heard", slog.Any("err", err))
		}
		lost = true
		select {
		case <-ctx.Done():
		case <-time.After(relisten):
		}
	}
}

func (b *Board) heard(text string) {
	var m struct {
		From  string
		Items []Item
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		b.opts.Logger.Warn("news not understood", slog.Any("err", err))
		return
	}
	if m.From == b.opts.ID {
		return
	}
	for _, item := range m.Items {
		b.opts.Heard(item)
	}
}
