package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// problem is an error answer: RFC 9457 problem details with the fields at fault.
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	RequestID string       `json:"request_id"`
	Errors    []fieldError `json:"errors,omitempty"`

	retryAfter time.Duration
	cause      error // for the log only
}

// fieldError says what is wrong with one field or query parameter.
type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (p *problem) Error() string { return p.Detail }

func (p *problem) Unwrap() error { return p.cause }

func refuse(status int, detail string) *problem { return &problem{Status: status, Detail: detail} }

func invalid(errs ...fieldError) *problem {
	return &problem{Status: http.StatusUnprocessableEntity, Detail: "The request names fields or values that are not accepted.", Errors: errs}
}

func retryLater(status int, detail string, after time.Duration) *problem {
	return &problem{Status: status, Detail: detail, retryAfter: max(after, time.Second)}
}

// handleError answers every failed request. What went wrong inside goes to the log, a plain word to
// the client.
func (s *Server) handleError(err error, c echo.Context) {
	p := s.explain(err)
	p.Type, p.Title, p.RequestID = "about:blank", http.StatusText(p.Status), requestID(c)
	if p.Status >= 500 {
		s.Logger.WarnContext(c.Request().Context(), "request failed", append(requestAttrs(c), slog.Int("status", p.Status), slog.Any("err", err))...)
	}
	if c.Response().Committed {
		return
	}
	if p.retryAfter > 0 {
		c.Response().Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	if p.Status == http.StatusUnauthorized {
		c.Response().Header().Set("WWW-Authenticate", "Bearer")
	}
	if err := s.sendProblem(c, p); err != nil {
		s.Logger.DebugContext(c.Request().Context(), "problem not sent", slog.Any("err", err))
	}
}

func (s *Server) sendProblem(c echo.Context, p *problem) error {
	if wantsView(c) {
		return s.viewProblem(c, p)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode problem: %w", err)
	}
	return c.Blob(p.Status, "application/problem+json", body)
}

// explain turns any error into what the client may know of it.
func (s *Server) explain(err error) *problem {
	var (
		known    *problem
		conflict *relay.ConflictError
		ask      *relay.AskError
		http4xx  *echo.HTTPError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &conflict):
		return &problem{
			Status: http.StatusConflict, Detail: "This payment is registered already, with another value of a field that is given.",
			Errors: []fieldError{{conflict.Field, conflict.Reason}}, cause: err,
		}
	case errors.As(err, &ask):
		return explainAsk(ask)
	case errors.Is(err, relay.ErrNotFound), errors.Is(err, store.ErrNoCallback):
		return refuse(http.StatusNotFound, "There is no such payment or callback.")
	case errors.Is(err, store.ErrUnknownCursor):
		return refuse(http.StatusGone, "This database has not given out this cursor; it was probably restored from a backup. Start over without a cursor and drop the ids that you know.")
	case errors.Is(err, relay.ErrTooManyPages):
		return tooMany("This payment has too many open pages.", 5*time.Second)
	case errors.As(err, &http4xx):
		return refuse(http4xx.Code, sentence(http4xx.Code))
	case errors.Is(err, context.Canceled):
		return refuse(499, "The client went away.")
	default:
		p := retryLater(http.StatusServiceUnavailable, "The relay cannot do this now. Nothing was changed; try again.", 2*time.Second)
		p.cause = err
		return p
	}
}

// explainAsk says why Dollr was not heard: its fault or ours (502), or a matter of time (503).
func explainAsk(ask *relay.AskError) *problem {
	switch ask.Reason {
	case "rate_limited", "unreachable":
		p := retryLater(http.StatusServiceUnavailable, "Dollr cannot be asked now ("+ask.Reason+"). The payment is unchanged; try again.", max(ask.RetryAfter, time.Second))
		p.cause = ask
		return p
	default:
		return &problem{
			Status: http.StatusBadGateway, cause: ask,
			Detail: "Dollr's answer says nothing about this payment (" + ask.Reason + "). The payment is unchanged.",
		}
	}
}

func sentence(status int) string {
	switch status {
	case http.StatusNotFound:
		return "There is nothing at this address."
	case http.StatusMethodNotAllowed:
		return "This address does not take this method."
	case http.StatusRequestEntityTooLarge:
		return "The body is too large."
	default:
		return http.StatusText(status) + "."
	}
}
