package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
)

// Origin is a checkout page's origin: exact, or every host below one (`https://*.shop.example`).
type Origin struct {
	scheme, host string // host with port, as browsers send it
	below        bool
}

// ParseOrigin reads `scheme://host[:port]`, where host may begin with `*.`.
func ParseOrigin(text string) (Origin, error) {
	if text == "*" {
		return Origin{}, errors.New("* would let every website read payments; name the origins of your checkout pages")
	}
	scheme, host, ok := strings.Cut(text, "://")
	host, below := strings.CutPrefix(host, "*.")
	parsed, err := url.Parse(scheme + "://" + host)
	if !ok || err != nil || (scheme != "https" && scheme != "http") || parsed.Host != host || host == "" || strings.Contains(host, "*") || parsed.User != nil {
		return Origin{}, fmt.Errorf("%q is no origin; want https://shop.example or https://*.shop.example, without a path", text)
	}
	return Origin{scheme: scheme, host: canonicalHost(scheme, host), below: below}, nil
}

// canonicalHost is the host as browsers write it in an Origin: lower case, without the scheme's own port.
func canonicalHost(scheme, host string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

func (o Origin) allows(scheme, host string) bool {
	if scheme != o.scheme {
		return false
	}
	return host == o.host && !o.below || o.below && strings.HasSuffix(host, "."+o.host)
}

// allowOrigin admits pages of allowed origins and of the relay's own, and requests without an
// Origin: not every request of a browser has one, and the token is what protects the payment.
func (s *Server) allowOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Add("Vary", "Origin")
		h.Set("Cache-Control", "no-store")
		origins := c.Request().Header.Values("Origin")
		if len(origins) == 0 {
			return next(c)
		}
		if len(origins) > 1 || !s.allowed(origins[0]) {
			return refuse(http.StatusForbidden, "Pages of this origin are not allowed; the operator names them in RELAY_ALLOWED_ORIGINS.")
		}
		h.Set("Access-Control-Allow-Origin", origins[0])
		h.Set("Access-Control-Expose-Headers", "Relay-Link, Relay-Position, Relay-Token, Retry-After, X-Request-Id")
		return next(c)
	}
}

func (s *Server) allowed(origin string) bool {
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok {
		return false // also "null"
	}
	host = canonicalHost(scheme, host)
	if scheme == s.PublicURL.Scheme && host == canonicalHost(scheme, s.PublicURL.Host) {
		return true
	}
	for _, o := range s.AllowedOrigins {
		if o.allows(scheme, host) {
			return true
		}
	}
	return false
}

// preflight answers a browser that asks whether it may send a token.
func (s *Server) preflight(c echo.Context) error {
	h := c.Response().Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	return c.NoContent(http.StatusNoContent)
}
