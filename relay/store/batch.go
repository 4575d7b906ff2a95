package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// maxBatch bounds how many transactions share one fsync. Measured: 64 callers reach ten times the
// rate of one by one; longer batches only delay the first.
const maxBatch = 64

// batcher puts concurrent transactions into one: an fsync is what a durable commit costs, and it
// serves a whole batch. It has no goroutine of its own. The first caller leads: it runs the batch
// that has gathered, its own transaction included, and hands the lead to the next one waiting.
// Each of several has its own savepoint, so that the failure of one undoes only its own changes.
type batcher struct {
	run func(batch []*member) // runs and commits a batch, setting each member's err

	mu      sync.Mutex
	waiting []*member
	led     bool
}

type member struct {
	fn   func(ctx context.Context, tx querier) error
	err  error
	wake chan bool // true: lead; false: done
}

func (b *batcher) do(fn func(ctx context.Context, tx querier) error) error {
	m := &member{fn: fn, wake: make(chan bool, 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, m)
	lead := !b.led
	b.led = true
	b.mu.Unlock()

	if lead || <-m.wake {
		b.lead()
	}
	return m.err
}

// lead runs the batch that is waiting, whose first member is the caller.
func (b *batcher) lead() {
	b.mu.Lock()
	n := min(len(b.waiting), maxBatch)
	batch := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	b.mu.Unlock()

	b.run(batch)

	b.mu.Lock()
	if len(b.waiting) > 0 {
		b.waiting[0].wake <- true
	} else {
		b.led = false
		b.waiting = nil
	}
	b.mu.Unlock()
	for _, m := range batch[1:] {
		m.wake <- false
	}
}

// runBatch runs a batch in one transaction of tx. The context of a caller never reaches it: an
// interrupted statement could roll back the others' work.
func runBatch(tx querier, batch []*member) {
	ctx := context.Background()
	if err := runAll(ctx, tx, batch); err != nil {
		err = errors.Join(err, exec(ctx, tx, "ROLLBACK"))
		for _, m := range batch {
			m.err = err // whatever became of it alone, it was not committed
		}
	}
}

// runAll returns an error if the whole transaction has failed.
func runAll(ctx context.Context, tx querier, batch []*member) error {
	if err := exec(ctx, tx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if len(batch) == 1 { // alone it needs no savepoint: the whole transaction is its own
		if err := runSafely(ctx, tx, batch[0].fn); err != nil {
			return err
		}
		return exec(ctx, tx, "COMMIT")
	}
	for _, m := range batch {
		var broken error
		if m.err, broken = runMember(ctx, tx, m.fn); broken != nil {
			return fmt.Errorf("transaction of %d is broken: %w (%v)", len(batch), broken, m.err) //nolint:errorlint // one member's error is not the others'
		}
	}
	return exec(ctx, tx, "COMMIT")
}

// runMember runs one member. A savepoint that cannot be ended is gone: a full disk, for one, makes SQLite
// roll back everything. The transaction is broken then, and going on would commit others one by one.
func runMember(ctx context.Context, tx querier, fn func(ctx context.Context, tx querier) error) (err, broken error) {
	if err := exec(ctx, tx, "SAVEPOINT member"); err != nil {
		return nil, err
	}
	if err = runSafely(ctx, tx, fn); err != nil {
		broken = exec(ctx, tx, "ROLLBACK TO member")
	}
	return err, errors.Join(broken, exec(ctx, tx, "RELEASE member"))
}

func runSafely(ctx context.Context, tx querier, fn func(ctx context.Context, tx querier) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("store: transaction panicked: %v", r)
		}
	}()
	return fn(ctx, tx)
}

func exec(ctx context.Context, tx querier, text string) error {
	_, err := tx.ExecContext(ctx, text)
	return err
}
