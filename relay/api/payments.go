package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// verifyTimeout bounds how long POST …/verify waits for Dollr.
const verifyTimeout = 15 * time.Second

// paymentJSON is a payment as backends see it (contract, section 3).
type paymentJSON struct {
	ID              string            `json:"id"`
	Operation       relay.Operation   `json:"operation"`
	ReferenceID     *string           `json:"reference_id"`
	SessionID       *int64            `json:"session_id"`
	SourceType      *string           `json:"source_type"`
	SourceID        *int64            `json:"source_id"`
	Status          *string           `json:"status"`
	Outcome         relay.Outcome     `json:"outcome"`
	Verified        bool              `json:"verified"`
	Final           bool              `json:"final"`
	Late            bool              `json:"late"`
	PreviousOutcome *relay.Outcome    `json:"previous_outcome"`
	Contradicted    bool              `json:"contradicted"`
	Version         int64             `json:"version"`
	Hint            *hintJSON         `json:"hint"`
	LastError       *string           `json:"last_error"`
	Amounts         *relay.Amounts    `json:"amounts"`
	Expected        *relay.Expected   `json:"expected"`
	Metadata        map[string]string `json:"metadata"`
	Siblings        []string          `json:"siblings"`
	CallbackURL     *string           `json:"callback_url"`
	Link            *relay.Link       `json:"link"`
	CreatedAt       relay.Time        `json:"created_at"`
	UpdatedAt       relay.Time        `json:"updated_at"`
	VerifiedAt      *relay.Time       `json:"verified_at"`
	WatchUntil      relay.Time        `json:"watch_until"`
	LastCheckedAt   *relay.Time       `json:"last_checked_at"`
	Page            *pageJSON         `json:"page,omitempty"`
}

type hintJSON struct {
	Status string     `json:"status"`
	At     relay.Time `json:"at"`
}

func (s *Server) paymentJSON(p relay.Payment) paymentJSON {
	data := p.Data()
	out := paymentJSON{
		ID: p.ID, Operation: p.Operation, ReferenceID: data.ReferenceID, SessionID: data.SessionID,
		SourceType: data.SourceType, SourceID: data.SourceID, Status: data.Status, Outcome: p.Outcome,
		Verified: p.Verified(), Final: p.Final(), Late: p.Late, PreviousOutcome: data.PreviousOutcome,
		Contradicted: p.Contradicted, Version: p.Version, LastError: orNull(p.LastError),
		Amounts: p.Amounts, Expected: p.Expected, Metadata: data.Metadata, Siblings: data.Siblings,
		CallbackURL: orNull(p.CallbackURL), Link: orNull(s.Payments.Link(p)),
		CreatedAt: relay.Time(p.CreatedAt), UpdatedAt: relay.Time(p.UpdatedAt), VerifiedAt: data.VerifiedAt,
		WatchUntil: relay.Time(p.WatchUntil), LastCheckedAt: relay.NullTime(p.LastCheckedAt),
	}
	if hint := p.Hint(s.Now()); hint != "" {
		out.Hint = &hintJSON{Status: hint, At: relay.Time(p.HintAt)}
	}
	return out
}

func orNull[T ~string](v T) *T {
	if v == "" {
		return nil
	}
	return &v
}

func (s *Server) registerPayment(c echo.Context) error {
	if err := readQuery(c).finish(); err != nil {
		return err
	}
	body, err := readBody(c)
	if err != nil {
		return err
	}
	g, err := s.registration(body)
	if err != nil {
		return err
	}
	about(c, g.ID())
	p, created, err := s.Payments.Register(c.Request().Context(), g)
	if err != nil {
		return err
	}
	answer := s.paymentJSON(p)
	if answer.Page, err = s.newPage(p.ID); err != nil {
		return err
	}
	if created {
		return c.JSON(http.StatusCreated, answer)
	}
	return c.JSON(http.StatusOK, answer)
}

func (s *Server) showPayment(c echo.Context) error {
	q := readQuery(c)
	wait := q.wait()
	since := q.number("since", 0, 0, 1<<62)
	if err := q.finish(); err != nil {
		return err
	}
	p, err := s.find(c)
	if err != nil {
		return err
	}
	if wait > 0 && p.Version == since { // a since beyond the present version answers at once
		ctx, cancel := s.held(c, wait)
		defer cancel()
		if p, err = s.Payments.Wait(ctx, p.ID, since); err != nil {
			return err
		}
	}
	return c.JSON(http.StatusOK, s.paymentJSON(p))
}

// held is the context of a request that waits: it ends with the wait, the client or the server.
func (s *Server) held(c echo.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), wait)
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (s *Server) listPayments(c echo.Context) error {
	q := readQuery(c)
	filter := store.Filter{
		Outcome:     relay.Outcome(q.oneOf("outcome", names(relay.Outcomes())...)),
		Operation:   relay.Operation(q.oneOf("operation", names(relay.Operations())...)),
		ReferenceID: q.uuid("reference_id"),
		Before:      q.cursor(),
		Limit:       int(q.number("limit", 50, 1, 500)),
	}
	if err := q.finish(); err != nil {
		return err
	}
	found, next, err := s.Records.List(c.Request().Context(), filter)
	if err != nil {
		return err
	}
	data := make([]paymentJSON, len(found))
	for i, p := range found {
		data[i] = s.paymentJSON(p)
	}
	return c.JSON(http.StatusOK, page[paymentJSON]{data, cursor(next)})
}

// page is one page of a list.
type page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// cursor is the next page's cursor, null at the end.
func cursor(next int64) *string {
	if next == 0 {
		return nil
	}
	text := strconv.FormatInt(next, 10)
	return &text
}

type eventJSON struct {
	At      relay.Time    `json:"at"`
	Via     relay.Via     `json:"via"`
	Status  *string       `json:"status"`
	Outcome relay.Outcome `json:"outcome"`
	Version int64         `json:"version"`
	Detail  string        `json:"detail"`
}

func (s *Server) showTimeline(c echo.Context) error {
	if err := readQuery(c).finish(); err != nil {
		return err
	}
	about(c, c.Param("id"))
	events, err := s.Records.Events(c.Request().Context(), c.Param("id"))
	if err != nil {
		return err
	}
	data := make([]eventJSON, len(events))
	for i, e := range events {
		data[i] = eventJSON{relay.Time(e.At), e.Via, orNull(e.Status), e.Outcome, e.Version, e.Detail}
	}
	return c.JSON(http.StatusOK, map[string]any{"data": data})
}

func (s *Server) verifyPayment(c echo.Context) error {
	if err := readNothing(c); err != nil {
		return err
	}
	about(c, c.Param("id"))
	ctx, cancel := context.WithTimeout(c.Request().Context(), verifyTimeout)
	defer cancel()
	p, err := s.Payments.Verify(ctx, c.Param("id"), relay.ViaVerify)
	var ask *relay.AskError
	switch {
	case errors.As(err, &ask) && ask.Reason == "not_found": // Dollr's 404 says nothing about the payment
		if p, err = s.find(c); err != nil {
			return err
		}
	case errors.Is(err, context.DeadlineExceeded):
		return retryLater(http.StatusServiceUnavailable, "Dollr has not answered in 15 s. The payment is unchanged; try again.", 5*time.Second)
	case err != nil:
		return err
	}
	return c.JSON(http.StatusOK, s.paymentJSON(p))
}

func (s *Server) newPageToken(c echo.Context) error {
	if err := readNothing(c); err != nil {
		return err
	}
	p, err := s.find(c)
	if err != nil {
		return err
	}
	token, err := s.newPage(p.ID)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"page": token})
}
