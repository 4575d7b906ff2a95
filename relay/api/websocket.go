package api

import (
	"context"
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
	if errors.Is(err, errExpiredToken) {
		return s.closeAtOnce(c, closeTokenExpired, expired)
	}
	if err != nil {
		return err
	}
	if err := readPageQuery(c).finish(); err != nil {
		return err
	}
	if err := s.admit(webSocket); err != nil {
		return err
	}
	defer s.open.leave(webSocket)
	page, err := s.Payments.OpenPage(c.Request().Context(), token.paymentID)
	if errors.Is(err, relay.ErrTooManyPages) {
		return s.closeAtOnce(c, closeTooMany, overbooked)
	}
	if err != nil {
		return err
	}
	defer s.Payments.ClosePage(page)

	conn, err := accept(c)
	if err != nil {
		return nil // the library has answered the client
	}
	ctx := conn.CloseRead(c.Request().Context())
	reason := s.serve(ctx, page, token, &socket{conn})
	s.Monitor.PageClosed(string(reason))
	switch reason {
	case settled:
		_ = conn.Close(websocket.StatusNormalClosure, "")
	case stopping:
		_ = conn.Close(websocket.StatusServiceRestart, "")
	case silent:
		_ = conn.Close(closeNoPong, "no pong")
	default:
		_ = conn.CloseNow()
	}
	return nil
}

// closeAtOnce upgrades only to tell a script why.
func (s *Server) closeAtOnce(c echo.Context, code websocket.StatusCode, reason why) error {
	conn, err := accept(c)
	if err != nil {
		return nil //nolint:nilerr // the library has answered the client
	}
	s.Monitor.PageClosed(string(reason))
	_ = conn.Close(code, string(reason))
	return nil
}

func accept(c echo.Context) (*websocket.Conn, error) {
	conn, err := websocket.Accept(c.Response(), c.Request(), &websocket.AcceptOptions{
		Subprotocols:       offered(c.Request()),
		InsecureSkipVerify: true, // allowOrigin has looked at it already, with wildcards and ports
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(maxInbound)
	return conn, nil
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

// socket is an open page on a WebSocket.
type socket struct{ conn *websocket.Conn }

func (s *socket) send(ctx context.Context, _ string, body []byte, _ int64) error {
	return s.conn.Write(ctx, websocket.MessageText, body)
}

func (s *socket) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pongTimeout)
	defer cancel()
	return s.conn.Ping(ctx)
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
