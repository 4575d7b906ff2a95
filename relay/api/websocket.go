package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
)

const (
	subprotocol = "dollr-relay.v1"
	maxInbound  = 4 << 10 // a page has nothing to say but pongs and close

	closeTokenExpired websocket.StatusCode = 4401
	closeNoPong       websocket.StatusCode = 4408
	closeTooMany      websocket.StatusCode = 4429
)

// streamPage is the WebSocket transport. Everything is checked before the upgrade, except what a
// script could not tell from a broken network otherwise: an expired token and too many pages of one
// payment are close codes.
func (s *Server) streamPage(c echo.Context) error {
	if !strings.EqualFold(c.Request().Header.Get("Upgrade"), "websocket") {
		return refuse(http.StatusUpgradeRequired, "This address speaks WebSocket only.")
	}
	token, err := s.pageToken(c)
	tooLate := errors.Is(err, errExpiredToken)
	if err != nil && !tooLate {
		return err
	}
	if err := readPageQuery(c).finish(); err != nil {
		return err
	}
	if err := s.admit(webSocket); err != nil {
		return err
	}
	p := s.newSocket(token.paymentID)
	if tooLate {
		p.end(expired)
	} else if p.page, err = s.Payments.OpenPage(c.Request().Context(), token.paymentID, p.news); errors.Is(err, relay.ErrTooManyPages) {
		p.end(overbooked)
	} else if err != nil {
		s.open.leave(webSocket)
		return err
	}
	if err := p.accept(c); err != nil {
		p.leave()
		return nil //nolint:nilerr // the library has answered the client
	}
	s.sockets.open(p, token.renewal(), s.Now())
	return nil
}

// accept upgrades the request. The socket keeps nothing of it.
func (p *socket) accept(c echo.Context) (err error) {
	w := &frugal{Response: c.Response()}
	protocols := offered(c.Request())
	// The library keeps the protocol as the page wrote it, and with it all the request's headers.
	c.Request().Header["Sec-Websocket-Protocol"] = protocols
	p.conn, err = websocket.Accept(w, c.Request(), &websocket.AcceptOptions{
		Subprotocols:       protocols,
		InsecureSkipVerify: true, // allowOrigin has looked at it already, with wildcards and ports
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return err
	}
	p.in, p.out = w.in, w.out
	p.conn.SetReadLimit(maxInbound)
	return nil
}

// offered is our subprotocol if the page offers it. A token must never be echoed as one.
func offered(r *http.Request) []string {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		protocols := strings.Split(header, ",")
		if slices.ContainsFunc(protocols, func(p string) bool { return strings.TrimSpace(p) == subprotocol }) {
			return []string{subprotocol}
		}
	}
	return nil
}

// tokenMessage is the in-band renewal of a page's token.
func tokenMessage(t pageToken) []byte {
	body, _ := json.Marshal(struct { // strings and a time always encode
		Type      string     `json:"type"`
		Token     string     `json:"token"`
		ExpiresAt relay.Time `json:"expires_at"`
	}{"token", t.text, relay.Time(t.expiresAt)})
	return body
}
