package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
)

const (
	// rotateAfter ends a stream now and then, so that no proxy's own limit does it at a worse moment.
	rotateAfter = 10 * time.Minute
	// commentEvery keeps proxies from taking a quiet stream for a dead one.
	commentEvery = 15 * time.Second
)

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
	changed, notify := relay.Wakeups()
	page, err := s.Payments.OpenPage(c.Request().Context(), token.paymentID, notify)
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
	events := &eventStream{c.Response(), http.NewResponseController(c.Response().Writer)}
	reason := s.serveEvents(c.Request().Context(), page, changed, token, events)
	s.Monitor.PageClosed(string(reason))
	if reason == stopping {
		_ = events.print(fmt.Sprintf("retry: %d\n\n", (minRetry + time.Duration(s.Random()*float64(maxRetry-minRetry))).Milliseconds()))
	}
	// The end of the stream is written after this handler, and needs a deadline that is not over.
	_ = events.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	return nil
}

// What a stream that ends because the server stops asks the page to wait, spread between the two.
const minRetry, maxRetry = 500 * time.Millisecond, 5 * time.Second

// seenFinal reports whether a page that comes back has seen the final status already.
func (s *Server) seenFinal(c echo.Context, id string, seen int64) bool {
	p, err := s.Records.Find(c.Request().Context(), id)
	return err == nil && p.Final() && seen >= p.Version
}

// serveEvents keeps a stream up to date until there is a reason to end: first the page's present
// status and link, then whatever changes, pings, and a fresh token before the present one expires.
func (s *Server) serveEvents(ctx context.Context, page *relay.Page, changed <-chan struct{}, token pageToken, events *eventStream) why {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	comment := time.NewTicker(commentEvery)
	defer comment.Stop()
	renew := time.NewTimer(token.renewal().Sub(s.Now()))
	defer renew.Stop()
	rotate := time.NewTimer(rotateAfter)
	defer rotate.Stop()
	stop := s.stopping
	var part <-chan time.Time

	for {
		var err error
		select {
		case <-ctx.Done():
			return gone
		case <-rotate.C:
			return rotated
		case <-stop:
			stop = nil
			part = time.After(s.open.partAfter(s.Spread))
		case <-part:
			return stopping
		case <-changed:
			var final bool
			if final, err = s.sendNews(page, events); final && err == nil {
				return settled
			}
		case <-ping.C:
			err = s.write(events, "ping", []byte(`{"type":"ping"}`), 0)
		case <-comment.C:
			err = events.print(":\n\n")
		case <-renew.C:
			err = s.sendToken(token.paymentID, events)
			renew.Reset(s.tokens.renewEvery())
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return slow
		case err != nil:
			return gone
		}
	}
}

// eventStream is an open page on server-sent events.
type eventStream struct {
	out     *echo.Response
	control *http.ResponseController
}

// send writes one event.
func (e *eventStream) send(kind string, body []byte, version int64) error {
	id := ""
	if version > 0 {
		id = fmt.Sprintf("id: %d\n", version)
	}
	return e.print("event: " + kind + "\n" + id + "data: " + string(body) + "\n\n")
}

func (e *eventStream) print(text string) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := e.out.Write([]byte(text)); err != nil {
		return err
	}
	return e.control.Flush()
}
