package api

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
)

// rotateAfter ends a stream now and then, so that no proxy's own limit does it at a worse moment.
const rotateAfter = 10 * time.Minute

// streamPageEvents is the server-sent events transport: the same messages, each an event named by its type.
func (s *Server) streamPageEvents(c echo.Context) error {
	token, err := s.pageToken(c)
	if err != nil {
		return err
	}
	if err := readPageQuery(c).finish(); err != nil {
		return err
	}
	if err := s.admit(eventSource); err != nil {
		return err
	}
	defer s.open.leave(eventSource)
	page, err := s.Payments.OpenPage(c.Request().Context(), token.paymentID)
	if err != nil {
		return err
	}
	defer s.Payments.ClosePage(page)
	if seen, err := strconv.ParseInt(c.Request().Header.Get("Last-Event-ID"), 10, 64); err == nil && s.seenFinal(c, token.paymentID, seen) {
		return c.NoContent(http.StatusNoContent) // tells EventSource not to come back
	}

	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	c.Response().WriteHeader(http.StatusOK)
	ctx, cancel := context.WithTimeoutCause(c.Request().Context(), rotateAfter, errRotated)
	defer cancel()
	events := &eventStream{c.Response(), http.NewResponseController(c.Response().Writer)}
	reason := s.serve(ctx, page, token, events)
	s.Monitor.PageClosed(string(reason))
	// The end of the stream is written after this handler, and needs a deadline that is not over.
	_ = events.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if reason == stopping {
		_, _ = fmt.Fprintf(events.out, "retry: %d\n\n", (minRetry + rand.N(maxRetry-minRetry)).Milliseconds())
	}
	return nil
}

// What a stream that ends because the server stops asks the page to wait, spread between the two.
const minRetry, maxRetry = 500 * time.Millisecond, 5 * time.Second

// seenFinal reports whether a page that comes back has seen the final status already.
func (s *Server) seenFinal(c echo.Context, id string, seen int64) bool {
	p, err := s.Records.Find(c.Request().Context(), id)
	return err == nil && p.Final() && seen >= p.Version
}

// eventStream is an open page on server-sent events.
type eventStream struct {
	out     *echo.Response
	control *http.ResponseController
}

// send writes one event.
func (e *eventStream) send(ctx context.Context, kind string, body []byte, version int64) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := e.control.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	var err error
	if version > 0 {
		_, err = fmt.Fprintf(e.out, "event: %s\nid: %d\ndata: %s\n\n", kind, version, body)
	} else {
		_, err = fmt.Fprintf(e.out, "event: %s\ndata: %s\n\n", kind, body)
	}
	if err != nil {
		return err
	}
	return e.control.Flush()
}

// alive has nothing to ask: a dead page shows when it is written to.
func (e *eventStream) alive(context.Context) error { return nil }

// pollPage is the long poll transport: the status message if it is newer than what the page has seen.
func (s *Server) pollPage(c echo.Context) error {
	token, err := s.pageToken(c)
	if err != nil {
		return err
	}
	q := readPageQuery(c)
	wait := q.wait()
	since := q.number("since", 0, 0, 1<<62)
	if err := q.finish(); err != nil {
		return err
	}
	if err := s.admit(longPoll); err != nil {
		return err
	}
	defer s.open.leave(longPoll)
	page, err := s.Payments.OpenPage(c.Request().Context(), token.paymentID)
	if err != nil {
		return err
	}
	defer s.Payments.ClosePage(page)

	ctx, cancel := s.held(c, wait)
	defer cancel()
	status, _ := page.Take()
	for status.Version <= since && ctx.Err() == nil {
		select {
		case <-page.Changed:
			fresh, _ := page.Take()
			if fresh.Body != nil && fresh.Version >= since {
				return s.answerPoll(c, token, fresh)
			}
		case <-ctx.Done():
		}
	}
	if status.Version > since {
		return s.answerPoll(c, token, status)
	}
	return s.answerPoll(c, token, relay.Frame{})
}

func (s *Server) answerPoll(c echo.Context, token pageToken, status relay.Frame) error {
	h := c.Response().Header()
	if p, err := s.Records.Find(c.Request().Context(), token.paymentID); err == nil {
		if link := s.Payments.Link(p); link != relay.Unwatched {
			h.Set("Relay-Link", string(link))
		}
	}
	if !s.Now().Before(token.renewal()) {
		fresh, err := s.tokens.issue(token.paymentID)
		if err != nil {
			return err
		}
		h.Set("Relay-Token", fresh.text)
	}
	if status.Body == nil {
		return c.NoContent(http.StatusNoContent)
	}
	return c.JSONBlob(http.StatusOK, status.Body)
}
