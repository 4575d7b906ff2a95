package api

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/web/view"
)

const viewPath = "/v1/page/view"

// viewPage shows how the payment stands to a browser without JavaScript. Every page carries a fresh token, so that it
// can load itself again for as long as the payment takes.
func (s *Server) viewPage(c echo.Context) error {
	token, err := s.pageToken(c)
	if err != nil {
		return err
	}
	q := readPageQuery(c)
	q.take("lang") // any text: what is no language that we speak is no wish
	if err := q.finish(); err != nil {
		return err
	}
	p, err := s.Records.Find(c.Request().Context(), token.paymentID)
	if err != nil {
		return err
	}
	now := s.Now()
	shown := p.Shown(now)
	return s.renderView(c, http.StatusOK, view.Of(view.Payment{
		Outcome: string(shown.Outcome), Final: shown.Final,
		Degraded: s.Payments.Link(p) == relay.Degraded, Age: now.Sub(p.WatchSince),
	}), token)
}

// renderView answers with a page, in the language that the address names or that the browser asks for. With the token
// of the request its links carry a fresh one.
func (s *Server) renderView(c echo.Context, code int, page view.Page, token pageToken) error {
	if token.paymentID != "" {
		var err error
		if token, err = s.tokens.issue(token.paymentID); err != nil {
			return err
		}
		// A token that lives shorter than the page would be of no use to the next one.
		page.After = min(page.After, max(s.PageTokenTTL/2, time.Second))
	}
	lang := s.views.Language(c.QueryParam("lang"), c.Request().Header.Get("Accept-Language"))
	var body bytes.Buffer
	if err := s.views.Render(&body, page, lang, token.text); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", lang)
	h.Set("Content-Security-Policy", s.views.Policy())
	return c.HTMLBlob(code, body.Bytes())
}

// wantsView reports whether an error is to be shown to a person: the request is a browser's, for the page.
func wantsView(c echo.Context) bool {
	return c.Request().URL.Path == viewPath && strings.Contains(c.Request().Header.Get("Accept"), "text/html")
}

// viewProblem shows a person that the page cannot be shown, in words that nobody takes for a failed payment. What
// passes is looked at again.
func (s *Server) viewProblem(c echo.Context, p *problem) error {
	token, err := s.pageToken(c)
	if passes := p.Status >= 500 || p.Status == http.StatusTooManyRequests; err != nil || !passes {
		return s.renderView(c, p.Status, view.Refused(), pageToken{})
	}
	return s.renderView(c, p.Status, view.Unknown(p.retryAfter), token)
}
