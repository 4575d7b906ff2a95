package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
)

// remindAfter is how long a poll without a position is held while it may have missed a hint or its
// withdrawal. It bounds how often such a page is told the same again.
const remindAfter = 2 * time.Second

// pollPage is the long poll transport: the status message if it is newer than what the page has seen.
//
// Two states may have the same version: the verified one and a hint. So an answer also names the
// position that it shows, and a page that asks for what is newer than that hears of every difference, like
// pages on the other transports, and of nothing twice. A page that knows only the version hears of what
// happens while its poll is held, and of a hint or a withdrawal in between by a reminder.
func (s *Server) pollPage(c echo.Context) error {
	token, err := s.pageToken(c)
	if err != nil {
		return err
	}
	q := readPageQuery(c)
	wait := q.wait()
	seen := q.seen()
	if err := q.finish(); err != nil {
		return err
	}
	if err := s.admit(longPoll); err != nil {
		return err
	}
	defer s.open.leave(longPoll)
	changed, notify := relay.Wakeups()
	page, err := s.Payments.OpenPage(c.Request().Context(), token.paymentID, notify)
	if err != nil {
		return err
	}
	defer s.Payments.ClosePage(page)
	ctx, cancel := s.held(c, wait)
	defer cancel()
	poll := s.hold(ctx, page, changed, seen)
	if !poll.tell && seen.position == "" && poll.status.Version == seen.version {
		poll.tell = s.Payments.Unsettled(token.paymentID)
	}
	return s.answerPoll(c, token, poll)
}

// seenState is what a polling page says that it has been shown.
type seenState struct {
	version  int64
	position string // of the last answer; empty: not told
}

// heldPoll is what a poll was held for.
type heldPoll struct {
	status, link relay.Frame
	tell         bool // the status is news for the page
}

// position names what the answer shows.
func (p heldPoll) position() string { return p.status.Position + "." + p.link.Position }

// hold waits until there is news or ctx ends. A version beyond the present one is not waited for: the
// page has seen another history.
func (s *Server) hold(ctx context.Context, page *relay.Page, changed <-chan struct{}, seen seenState) heldPoll {
	var poll heldPoll
	poll.status, poll.link = page.Take()
	reminder := time.NewTimer(remindAfter)
	defer reminder.Stop()
	shown, _, _ := strings.Cut(seen.position, ".")
	if shown == "" {
		shown = poll.status.Position
	}
	for {
		poll.tell = poll.status.Version > seen.version || poll.status.Version == seen.version && poll.status.Position != shown
		linkNews := seen.position != "" && poll.position() != seen.position
		if poll.tell || linkNews || poll.status.Version < seen.version || ctx.Err() != nil {
			return poll
		}
		select {
		case <-ctx.Done():
		case <-reminder.C:
			if seen.position == "" && s.Payments.Unsettled(page.PaymentID()) {
				return poll
			}
		case <-changed:
			status, link := page.Take()
			if status.Body != nil {
				poll.status = status
			}
			if link.Body != nil {
				poll.link = link
			}
		}
	}
}

func (s *Server) answerPoll(c echo.Context, token pageToken, poll heldPoll) error {
	h := c.Response().Header()
	h.Set("Relay-Position", poll.position())
	if poll.link.Position != "" {
		h.Set("Relay-Link", poll.link.Position)
	}
	if !s.Now().Before(token.renewal()) {
		fresh, err := s.tokens.issue(token.paymentID)
		if err != nil {
			return err
		}
		h.Set("Relay-Token", fresh.text)
	}
	if !poll.tell {
		return c.NoContent(http.StatusNoContent)
	}
	return c.JSONBlob(http.StatusOK, poll.status.Body)
}

// seen reads what a page has been shown: a version, or the position that an earlier answer named.
// Positions are not made up: such a one would never be held.
func (q *query) seen() seenState {
	state, link, named := strings.Cut(q.values.Get("since"), ".")
	if !named {
		return seenState{version: q.number("since", 0, 0, 1<<62)}
	}
	seen := seenState{position: q.take("since")}
	version, heard, hinted := strings.Cut(state, "h")
	var err error
	if seen.version, err = strconv.ParseInt(version, 10, 64); err == nil && hinted {
		_, err = strconv.ParseUint(heard, 10, 63)
	}
	if err != nil || seen.version < 0 || !slices.Contains([]relay.Link{relay.Live, relay.Polling, relay.Degraded, relay.Unwatched}, relay.Link(link)) {
		q.complain("since", "must be a version or a Relay-Position")
	}
	return seen
}
