package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
)

const (
	pingEvery    = 25 * time.Second // scripts cannot see protocol pings, so there is a message, too
	pongTimeout  = 10 * time.Second
	writeTimeout = 5 * time.Second // a page that cannot be written to for this long is dropped
)

// pageToken reads and verifies the token of a page request: as bearer, as WebSocket subprotocol
// (browsers cannot set headers there), or for EventSource in the query.
func (s *Server) pageToken(c echo.Context) (pageToken, error) {
	text := bearer(c.Request())
	if text == "" {
		text = subprotocolToken(c.Request())
	}
	if text == "" && c.Request().Method == http.MethodGet {
		text = c.QueryParam("token")
	}
	token, err := s.tokens.read(text)
	switch {
	case errors.Is(err, errExpiredToken):
		return token, &problem{Status: http.StatusUnauthorized, Detail: "The page token has expired; get a fresh one from the merchant's backend.", cause: err}
	case err != nil:
		return token, &problem{Status: http.StatusUnauthorized, Detail: "The page token is missing or wrong.", cause: err}
	}
	about(c, token.paymentID)
	return token, nil
}

func subprotocolToken(r *http.Request) string {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for protocol := range strings.SplitSeq(header, ",") {
			if token, ok := strings.CutPrefix(strings.TrimSpace(protocol), "bearer."); ok {
				return token
			}
		}
	}
	return ""
}

// admit counts an open page in, or refuses it while the process has as many as it may. The page
// must be counted out with [openPages.leave].
func (s *Server) admit(t transport) error {
	if !s.open.enter(t, s.MaxPages) {
		return retryLater(http.StatusServiceUnavailable, "This relay has as many open pages as it may.", 5*time.Second)
	}
	return nil
}

// why is the reason for which a page's connection ends.
type why string

const (
	gone       why = "gone"     // the page went away
	slow       why = "slow"     // it could not be written to
	settled    why = "final"    // it has seen a final status
	stopping   why = "stopping" // the server stops
	silent     why = "no_pong"  // it did not answer a ping
	rotated    why = "rotated"  // an event stream that has been open for long
	expired    why = "token_expired"
	overbooked why = "too_many"
)

// CloseReasons lists the reasons of [Monitor.PageClosed].
func CloseReasons() []string {
	return names([]why{gone, slow, settled, stopping, silent, rotated, expired, overbooked})
}

// MessageKinds lists the kinds of [Monitor.PageMessage].
func MessageKinds() []string { return []string{"status", "link", "token", "ping"} }

// connection is how messages reach one open page.
type connection interface {
	// send writes one message. An error means that the page is gone.
	send(ctx context.Context, kind string, body []byte, version int64) error
	// alive checks that the page is still there, where the transport can tell. It may take
	// [pongTimeout], and runs beside send.
	alive(ctx context.Context) error
}

var (
	errNoPong  = errors.New("no pong")
	errRotated = errors.New("open for long enough")
)

// serve keeps an open page up to date until there is a reason to end: first its present status and
// link, then whatever changes, pings, and a fresh token before the present one expires.
func (s *Server) serve(ctx context.Context, page *relay.Page, token pageToken, conn connection) why {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	renew := time.NewTimer(token.renewal().Sub(s.Now()))
	defer renew.Stop()
	stop := s.stopping
	var part <-chan time.Time

	for {
		var err error
		select {
		case <-ctx.Done():
			return whyEnded(ctx)
		case <-stop:
			stop = nil
			part = time.After(s.open.partAfter(s.Spread))
		case <-part:
			return stopping
		case <-page.Changed:
			var final bool
			if final, err = s.sendNews(ctx, page, conn); final && err == nil {
				return settled
			}
		case <-ping.C:
			err = s.write(ctx, conn, "ping", []byte(`{"type":"ping"}`), 0)
			go func() {
				if conn.alive(ctx) != nil {
					cancel(errNoPong)
				}
			}()
		case <-renew.C:
			token, err = s.renewToken(ctx, token, conn)
			renew.Reset(token.renewal().Sub(s.Now()))
		}
		switch {
		case ctx.Err() != nil && err != nil:
			return whyEnded(ctx)
		case err != nil:
			return slow
		}
	}
}

func whyEnded(ctx context.Context) why {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errNoPong):
		return silent
	case errors.Is(cause, errRotated):
		return rotated
	}
	return gone
}

// sendNews sends what the page has not seen yet, and reports whether it has seen a final status.
func (s *Server) sendNews(ctx context.Context, page *relay.Page, conn connection) (final bool, err error) {
	status, link := page.Take()
	if status.Body != nil {
		err = s.write(ctx, conn, "status", status.Body, status.Version)
	}
	if link.Body != nil && err == nil {
		err = s.write(ctx, conn, "link", link.Body, 0)
	}
	return status.Final, err
}

func (s *Server) renewToken(ctx context.Context, token pageToken, conn connection) (pageToken, error) {
	fresh, err := s.tokens.issue(token.paymentID)
	if err != nil {
		return token, err
	}
	return fresh, s.write(ctx, conn, "token", tokenMessage(fresh), 0)
}

func (s *Server) write(ctx context.Context, conn connection, kind string, body []byte, version int64) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := conn.send(ctx, kind, body, version)
	if err == nil {
		s.Monitor.PageMessage(kind)
	}
	return err
}
