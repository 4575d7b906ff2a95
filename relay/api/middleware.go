package api

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	requestIDKey = "request_id"
	paymentKey   = "payment" // the id of the payment that a request is about, for the log

	// answerTimeout bounds how long a client may take to read an answer. Streams set their own.
	answerTimeout = 30 * time.Second
)

// observe gives every request an id, its own if it brings a sane one, turns errors and panics into
// answers, and logs. The log names the route, never the URL: that may hold a token.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get("X-Request-Id")
		if !saneRequestID(id) {
			id = "req_" + strings.ToLower(rand.Text())
		}
		c.Set(requestIDKey, id)
		c.Response().Header().Set("X-Request-Id", id)
		started := time.Now()
		if err := s.guard(next, c); err != nil {
			c.Error(err)
		}
		s.Logger.DebugContext(c.Request().Context(), "request", append(requestAttrs(c),
			slog.Int("status", c.Response().Status), slog.Duration("took", time.Since(started)))...)
		return nil
	}
}

// guard keeps a panic from ending more than its own request.
func (s *Server) guard(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case http.ErrAbortHandler:
			panic(r)
		default:
			s.Logger.ErrorContext(c.Request().Context(), "request panicked", append(requestAttrs(c), slog.String("stack", string(debug.Stack())))...)
			err = &problem{Status: http.StatusInternalServerError, Detail: "Something is broken in this relay; its log says what.", cause: fmt.Errorf("panic: %T", r)}
		}
	}()
	return next(c)
}

// requestAttrs are what every log line about a request says.
func requestAttrs(c echo.Context) []any {
	attrs := []any{
		slog.String("method", c.Request().Method), slog.String("route", c.Path()), slog.String("request_id", requestID(c)),
	}
	if payment, ok := c.Get(paymentKey).(string); ok {
		attrs = append(attrs, slog.String("payment", payment))
	}
	return attrs
}

var paymentID = regexp.MustCompile(`^pay_[a-z2-7]{24}$`)

// about notes which payment a request is about, for the log. What is no id is not noted: whatever
// stands in an address may be a secret in the wrong place.
func about(c echo.Context, payment string) {
	if paymentID.MatchString(payment) {
		c.Set(paymentKey, payment)
	}
}

func requestID(c echo.Context) string {
	id, _ := c.Get(requestIDKey).(string)
	return id
}

func saneRequestID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	return strings.IndexFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}) < 0
}

// secure sets the headers that keep browsers from guessing, framing or running what they get, and
// lets no client take forever to read its answer. Mounted handlers see to that themselves.
func (s *Server) secure(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if s.mounted(c.Path()) {
			return next(c)
		}
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Frame-Options", "DENY")
		c.Response().Before(func() {
			_ = http.NewResponseController(c.Response().Writer).SetWriteDeadline(time.Now().Add(answerTimeout))
		})
		return next(c)
	}
}

func (s *Server) mounted(route string) bool {
	for prefix := range s.Mounts {
		if route == prefix+"*" {
			return true
		}
	}
	return false
}

// refuseWhileStopping takes no new work once the server stops.
func (s *Server) refuseWhileStopping(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.isStopping() {
			c.Response().Header().Set("Connection", "close")
			return retryLater(http.StatusServiceUnavailable, "This relay is stopping; try again.", 0)
		}
		return next(c)
	}
}

// requireAPIKey compares with every key, in constant time, so that timing tells nothing.
func (s *Server) requireAPIKey(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		given := bearer(c.Request())
		match := 0
		for _, key := range s.APIKeys {
			match |= subtle.ConstantTimeCompare([]byte(key.Reveal()), []byte(given))
		}
		if match == 0 {
			if wait := s.badKeyLimit.take(limitKey(c)); wait > 0 {
				return tooMany("Too many requests of this address without a right API key.", wait)
			}
			return refuse(http.StatusUnauthorized, "Send `Authorization: Bearer` with one of RELAY_API_KEYS.")
		}
		c.Response().Header().Set("Cache-Control", "no-store")
		return next(c)
	}
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
