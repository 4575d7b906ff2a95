package api

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
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
	spoke      why = "data" // it sent a message, which pages have no reason to
)

// CloseReasons lists the reasons of [Monitor.PageClosed].
func CloseReasons() []string {
	return names([]why{gone, slow, settled, stopping, silent, rotated, expired, overbooked, spoke})
}

// MessageKinds lists the kinds of [Monitor.PageMessage].
func MessageKinds() []string { return []string{"status", "link", "token", "ping"} }

// connection is how messages reach one open page.
type connection interface {
	// send writes one message within [writeTimeout]. An error means that the page is gone.
	send(kind string, body []byte, version int64) error
}

// sendNews sends what the page has not seen yet, and reports whether it has seen a final status.
func (s *Server) sendNews(page *relay.Page, conn connection) (final bool, err error) {
	status, link := page.Take()
	if status.Body != nil {
		err = s.write(conn, "status", status.Body, status.Version)
	}
	if link.Body != nil && err == nil {
		err = s.write(conn, "link", link.Body, 0)
	}
	return status.Final, err
}

// sendToken gives the page a fresh token.
func (s *Server) sendToken(paymentID string, conn connection) error {
	fresh, err := s.tokens.issue(paymentID)
	if err != nil {
		return err
	}
	return s.write(conn, "token", tokenMessage(fresh), 0)
}

func (s *Server) write(conn connection, kind string, body []byte, version int64) error {
	err := conn.send(kind, body, version)
	if err == nil {
		s.Monitor.PageMessage(kind)
	}
	return err
}
