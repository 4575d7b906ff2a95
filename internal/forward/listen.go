package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/apiclient"
)

const (
	tries        = 5                      // of an event that the backend answers, but does not acknowledge
	firstPause   = time.Second            // doubled up to maxPause
	maxPause     = 5 * time.Second        // a developer waits for the next try
	emptyPause   = 500 * time.Millisecond // between empty answers, should the relay not hold the question
	lastAnswer   = 2 * time.Second        // how long an answer is waited for after Ctrl+C
	shownOfReply = 200
)

// Listener forwards the events of a feed to a target, one after the other.
type Listener struct {
	// Events asks the feed for what comes after a cursor. With wait it may hold the answer until something comes.
	Events  func(ctx context.Context, after string, wait bool) (apiclient.Events, error)
	Target  *Target
	Journal *Journal
	// SkipPresent notes the events that are there at the first run without forwarding them.
	SkipPresent bool
	// Say tells the developer what happens, one line each.
	Say func(format string, args ...any)
}

// Run forwards until ctx ends, and returns nil then. An error is the feed's, or the journal's.
func (l *Listener) Run(ctx context.Context) error {
	skipping, skipped := l.SkipPresent && !l.Journal.Begun(), 0
	for ctx.Err() == nil {
		page, err := l.Events(ctx, l.Journal.Cursor(), !skipping) // what comes while it waits was not there before
		if problem, ok := errors.AsType[*apiclient.ProblemError](err); ok && problem.Status == http.StatusGone {
			l.Say("The relay's database is another one (restored from a backup?): starting over, without what was forwarded already.")
			l.Journal.StartOver()
			continue
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		for _, event := range page.Data {
			if !skipping && !l.Journal.Knows(event.ID) && !l.forward(ctx, event) {
				return nil
			}
			if err := l.Journal.Add(event.Cursor, event.ID); err != nil {
				return err
			}
		}
		switch {
		case skipping && len(page.Data) > 0:
			skipped += len(page.Data)
		case skipping:
			skipping = false
			if err := l.Journal.Begin(); err != nil {
				return err
			}
			l.Say("Events from before are left out: %d.", skipped)
		case len(page.Data) == 0:
			pause(ctx, emptyPause)
		}
	}
	return nil
}

// forward posts one event until it is acknowledged or given up. It reports false if ctx ended before.
func (l *Listener) forward(ctx context.Context, event apiclient.Event) bool {
	body, err := json.Marshal(struct { // the bytes of the callback
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{event.Type, event.Timestamp, event.Data})
	if err != nil {
		l.Say("%s %s: not readable, left out: %v", event.Type, event.ID, err)
		return true
	}
	waiting, refused := false, 0
	for wait := firstPause; ; wait = min(2*wait, maxPause) {
		answer, err := l.post(ctx, event.ID, body)
		switch {
		case err != nil && ctx.Err() != nil:
			return false
		case err != nil:
			if !waiting {
				l.Say("%s %s: your backend cannot be reached, trying until it can: %v", event.Type, event.ID, err)
			}
			waiting = true
		case answer.Acknowledged():
			l.Say("%s %s -> %d (%s)", event.Type, event.ID, answer.Code, answer.Took.Round(time.Millisecond))
			return true
		default:
			refused++
			l.Say("%s %s -> %s", event.Type, event.ID, answer.Complaint())
			if answer.Code == http.StatusGone || refused == tries {
				l.Say("%s %s: given up; a relay would go on for three days", event.Type, event.ID)
				return true
			}
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}

// post lets an answer that is on its way arrive when ctx ends, so that the event is not posted again by
// the next run.
func (l *Listener) post(ctx context.Context, id string, body []byte) (Answer, error) {
	posting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastAnswer, cut) })()
	return l.Target.Post(posting, id, body)
}

// Complaint is an answer that is no acknowledgement, in words.
func (a Answer) Complaint() string {
	text := fmt.Sprintf("%d %s", a.Code, http.StatusText(a.Code))
	switch {
	case a.Code == http.StatusUnauthorized || a.Code == http.StatusForbidden || a.Code == http.StatusBadRequest:
		text += " (does your backend verify with the secret that was printed, over the raw bytes?)"
	case a.Code >= 300 && a.Code <= 399:
		text += " (redirects are not followed; forward to the final URL)"
	}
	if said := strings.Join(strings.Fields(a.Body), " "); said != "" {
		text += ": " + said[:min(len(said), shownOfReply)]
	}
	return text
}

// pause waits, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
