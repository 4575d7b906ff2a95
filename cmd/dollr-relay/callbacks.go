package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/apiclient"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// callbacksCommand is what an operator, or the developer of a backend, does with callbacks.
type callbacksCommand struct {
	List      callbacksListCommand      `cmd:"" help:"Callbacks and how their delivery went, newest first."`
	Redeliver callbacksRedeliverCommand `cmd:"" help:"Send callbacks again: those named, or all dead ones."`
	Listen    callbacksListenCommand    `cmd:"" help:"For a developer's machine: post every event of the relay to a local URL."`
	Trigger   callbacksTriggerCommand   `cmd:"" help:"For a developer's machine: post an invented event, marked as a test, to a local URL."`
}

// callbacksListCommand lists callbacks.
type callbacksListCommand struct {
	connection
	listOptions

	State string `name:"state" enum:",pending,delivered,dead" default:"" help:"Only pending, delivered or dead ones."`
}

// Run implements the command.
func (l *callbacksListCommand) Run(ctx context.Context, c *console) error {
	client, err := l.client(c, apiclient.Options{})
	if err != nil {
		return err
	}
	query := url.Values{}
	if l.State != "" {
		query.Set("state", l.State)
	}
	return printList(ctx, c, client, "/v1/callbacks", query, l.listOptions,
		"ID TYPE STATE TRIES LAST_ANSWER NEXT_TRY CREATED PAYMENT", callbackRow)
}

func callbackRow(cb apiclient.Callback) []string {
	return []string{
		cb.ID, cb.Type, cb.State, strconv.Itoa(len(cb.Attempts)), lastAnswer(cb), local(cb.NextAttemptAt), local(&cb.CreatedAt), cb.PaymentID,
	}
}

// lastAnswer is how the last attempt went: the code, or why there was none.
func lastAnswer(cb apiclient.Callback) string {
	if len(cb.Attempts) == 0 {
		return "-"
	}
	last := cb.Attempts[len(cb.Attempts)-1]
	if last.Status != nil {
		return fmt.Sprintf("%d %s", *last.Status, http.StatusText(*last.Status))
	}
	return dash(last.Error)
}

// callbacksRedeliverCommand puts callbacks back into the outbox.
type callbacksRedeliverCommand struct {
	connection

	ID    []string      `arg:"" optional:"" help:"Ids of callbacks (webhook-id), of any state."`
	Dead  bool          `name:"dead" help:"All dead callbacks."`
	Since time.Duration `name:"since" help:"With --dead: only those that were created, last tried or given up in this time, such as 24h."`
}

// Run implements the command.
func (r *callbacksRedeliverCommand) Run(ctx context.Context, c *console) error {
	var wrong []string
	switch {
	case r.Dead == (len(r.ID) > 0):
		wrong = append(wrong, "ID, --dead: name callbacks or say --dead, one of the two")
	case r.Since < 0 || r.Since > 0 && !r.Dead:
		wrong = append(wrong, "--since: goes with --dead, and is a duration such as 24h")
	}
	if len(wrong) > 0 {
		return &usageError{wrong}
	}
	client, err := r.client(c, apiclient.Options{})
	if err != nil {
		return err
	}
	ids := r.ID
	if r.Dead {
		if ids, err = deadCallbacks(ctx, client, r.Since, time.Now()); err != nil {
			return err
		}
	}
	return redeliver(ctx, c, client, ids)
}

// deadCallbacks finds the dead ones that something happened to within the time since (0: ever).
func deadCallbacks(ctx context.Context, client *apiclient.Client, since time.Duration, now time.Time) ([]string, error) {
	var ids []string
	for cb, err := range apiclient.List[apiclient.Callback](ctx, client, "/v1/callbacks", url.Values{"state": {"dead"}}, 0) {
		if err != nil {
			return nil, err
		}
		if since == 0 || happenedSince(cb, now.Add(-since), now) {
			ids = append(ids, cb.ID)
		}
	}
	return ids, nil
}

// happenedSince reports whether a dead callback was created, tried, or given up for its age in that
// time. Sending one too many again does no harm, it has the same id; forgetting one does.
func happenedSince(cb apiclient.Callback, from, now time.Time) bool {
	tooOld := cb.CreatedAt.Add(callback.MaxAge)
	if cb.CreatedAt.After(from) || tooOld.After(from) && tooOld.Before(now) {
		return true
	}
	return len(cb.Attempts) > 0 && cb.Attempts[len(cb.Attempts)-1].At.After(from)
}

// redeliver sends each again and says how far it is. An unknown id does not stop the others.
func redeliver(ctx context.Context, c *console, client *apiclient.Client, ids []string) error {
	done, unknown := 0, 0
	said := time.Now()
	for _, id := range ids {
		var cb apiclient.Callback
		err := client.Post(ctx, "/v1/callbacks/"+url.PathEscape(id)+"/redeliver", &cb)
		var problem *apiclient.ProblemError
		switch {
		case err == nil:
			done++
		case errors.As(err, &problem) && problem.Status == http.StatusNotFound:
			unknown++
			_, _ = fmt.Fprintf(c.err, "%s: there is no such callback\n", id)
		default:
			return fmt.Errorf("%d of %d callbacks are on their way again, then: %w", done, len(ids), err)
		}
		if time.Since(said) > time.Second {
			said = time.Now()
			_, _ = fmt.Fprintf(c.err, "%d of %d\n", done, len(ids))
		}
	}
	if done == 1 {
		c.printf("1 callback is on its way again.\n")
	} else {
		c.printf("%d callbacks are on their way again.\n", done)
	}
	if unknown > 0 {
		return fmt.Errorf("%d of %d callbacks do not exist; callbacks list shows those that do", unknown, len(ids))
	}
	return nil
}
