package fallback_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
)

// completed is a Dollr where everything is paid.
type completed struct{}

func (completed) Status(context.Context, dollr.Subject, *dollr.Ticket) (dollr.Status, error) {
	return dollr.Status{Word: "COMPLETED"}, nil
}

// A Poller says when, an Asker how, and settle is where the answer is committed.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	var poller *fallback.Poller
	settle := func(_ context.Context, q fallback.Question, s dollr.Status, err error) (string, error) {
		fmt.Println("settle", q.ID, "via", q.Via, s.Word, err)
		poller.Remove(q.ID) // final: never again
		return s.Word, nil
	}
	asker := fallback.NewAsker(completed{}, settle, fallback.AskerOptions{})
	poller = fallback.NewPoller(func(ctx context.Context, id, via string, u dollr.Urgency) {
		answer := asker.Ask(ctx, fallback.Question{ID: id, Via: via, Urgency: u})
		fmt.Println("answer", answer.Value)
		stop()
	}, fallback.PollerOptions{Hold: asker.RetryAfter})

	due, via, urgency, _ := fallback.Cadence{}.Next(fallback.Facts{CreatedAt: time.Now()}, time.Now(), 0.5)
	poller.Set("pay_1", due, via, urgency)

	var running sync.WaitGroup
	running.Go(func() { _ = asker.Run(ctx) })
	running.Go(func() { _ = poller.Run(ctx) })
	running.Wait()
	// Output:
	// settle pay_1 via poll COMPLETED <nil>
	// answer COMPLETED
}
