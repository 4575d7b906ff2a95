package api

import (
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

type feedEntryJSON struct {
	Cursor    string          `json:"cursor"`
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Timestamp relay.Time      `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// readFeed answers at once if there is something after the cursor, else when something comes.
func (s *Server) readFeed(c echo.Context) error {
	q := readQuery(c)
	after := q.take("after")
	wait := q.wait()
	limit := int(q.number("limit", 100, 1, 1000))
	if err := q.finish(); err != nil {
		return err
	}
	ctx, cancel := s.held(c, wait)
	defer cancel()
	for {
		rung := s.Reports.Next() // before looking: what comes meanwhile is not missed
		entries, err := s.Records.Feed(c.Request().Context(), after, limit)
		if err != nil {
			return err
		}
		if len(entries) > 0 || ctx.Err() != nil {
			return c.JSON(http.StatusOK, feedPage(entries, after))
		}
		select {
		case <-rung:
		case <-ctx.Done():
		}
	}
}

func feedPage(entries []store.FeedEntry, after string) page[feedEntryJSON] {
	data := make([]feedEntryJSON, len(entries))
	for i, e := range entries {
		data[i] = feedEntryJSON{e.Cursor, e.ID, e.Type, relay.Time(e.At), e.Data}
		after = e.Cursor
	}
	return page[feedEntryJSON]{data, &after}
}

type callbackJSON struct {
	ID            string        `json:"id"`
	PaymentID     string        `json:"payment_id"`
	Type          string        `json:"type"`
	State         string        `json:"state"`
	URL           string        `json:"url"`
	CreatedAt     relay.Time    `json:"created_at"`
	NextAttemptAt *relay.Time   `json:"next_attempt_at"`
	Attempts      []attemptJSON `json:"attempts"`
}

type attemptJSON struct {
	At         relay.Time `json:"at"`
	Status     *int       `json:"status"`
	DurationMS int64      `json:"duration_ms"`
	Error      *string    `json:"error"`
	Response   *string    `json:"response"`
}

func callbackToJSON(cb store.Callback) callbackJSON {
	out := callbackJSON{
		ID: cb.ID, PaymentID: cb.PaymentID, Type: cb.Type, State: string(cb.State), URL: cb.URL,
		CreatedAt: relay.Time(cb.CreatedAt), NextAttemptAt: relay.NullTime(cb.NextAt), Attempts: make([]attemptJSON, len(cb.Attempts)),
	}
	for i, a := range cb.Attempts {
		out.Attempts[i] = attemptJSON{relay.Time(a.At), nil, a.DurationMS, orNull(a.Error), orNull(a.Response)}
		if a.Status != 0 {
			out.Attempts[i].Status = &cb.Attempts[i].Status
		}
	}
	return out
}

func (s *Server) listCallbacks(c echo.Context) error {
	q := readQuery(c)
	state := callback.State(q.oneOf("state", string(callback.Pending), string(callback.Delivered), string(callback.Dead)))
	before := q.cursor()
	limit := int(q.number("limit", 50, 1, 500))
	if err := q.finish(); err != nil {
		return err
	}
	found, next, err := s.Records.Callbacks(c.Request().Context(), state, before, limit)
	if err != nil {
		return err
	}
	data := make([]callbackJSON, len(found))
	for i, cb := range found {
		data[i] = callbackToJSON(cb)
	}
	return c.JSON(http.StatusOK, page[callbackJSON]{data, cursor(next)})
}

func (s *Server) redeliver(c echo.Context) error {
	if err := readNothing(c); err != nil {
		return err
	}
	cb, err := s.Records.Redeliver(c.Request().Context(), c.Param("id"), s.Now())
	if err != nil {
		return err
	}
	s.Redelivered(cb.URL)
	return c.JSON(http.StatusAccepted, callbackToJSON(cb))
}
