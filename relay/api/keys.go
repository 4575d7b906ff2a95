package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
)

// KeyRequest names the payment whose realtime channel a key is for.
type KeyRequest struct {
	SessionID   int64
	SourceType  string
	ReferenceID string
	OpenPage    bool // for an open page: more urgent
}

// RealtimeKey is what a page needs to listen to Supabase Realtime itself.
type RealtimeKey struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
	SupabaseURL string `json:"supabase_url"`
	AnonKey     string `json:"anon_key"`
	Topic       string `json:"topic"` // as one gives it to supabase-js
	Schema      string `json:"schema"`
	Table       string `json:"table"`
	Filter      string `json:"filter"`
}

func (s *Server) mintKey(c echo.Context) error {
	if err := readQuery(c).finish(); err != nil {
		return err
	}
	body, err := readBody(c)
	if err != nil {
		return err
	}
	r := KeyRequest{SessionID: body.integer("session_id", true), SourceType: body.text("source_type"), ReferenceID: body.text("reference_id")}
	if r.SessionID == 0 {
		body.complain("session_id", "is required")
	}
	if r.SourceType == "" {
		body.complain("source_type", "is required")
	}
	if r.ReferenceID == "" {
		body.complain("reference_id", "is required")
	}
	body.sourceType(r.SourceType)
	r.ReferenceID = body.uuid("reference_id", r.ReferenceID)
	if err := body.finish(); err != nil {
		return err
	}
	about(c, relay.PaymentID(relay.Collection, r.ReferenceID, "", 0))
	return s.answerKey(c, r)
}

// mintPageKey mints a key for the payment of the page's token.
func (s *Server) mintPageKey(c echo.Context) error {
	token, err := s.pageToken(c)
	if err != nil {
		return err
	}
	if err := readNothing(c); err != nil {
		return err
	}
	p, err := s.Records.Find(c.Request().Context(), token.paymentID)
	if err != nil {
		return err
	}
	if !p.HasRealtime() {
		return refuse(http.StatusConflict, "This payment has no session_id, so there is no realtime channel for it.")
	}
	return s.answerKey(c, KeyRequest{SessionID: p.SessionID, SourceType: p.SourceType, ReferenceID: p.ReferenceID, OpenPage: true})
}

// answerKey gives a key of the cache or mints one. Both count against the limits: a page that asks
// without end is broken, and 429 tells it so.
func (s *Server) answerKey(c echo.Context, r KeyRequest) error {
	if s.keys == nil {
		return refuse(http.StatusConflict, "Supabase is not configured on this relay: SUPABASE_URL and SUPABASE_ANON_KEY are unset.")
	}
	if wait := s.payKeyLimit.take(r.ReferenceID); wait > 0 {
		return tooMany("Too many realtime keys for this payment.", wait)
	}
	if r.OpenPage { // a backend asks for all its customers from one address
		if wait := s.keyLimit.take(limitKey(c)); wait > 0 {
			return tooMany("Too many realtime keys for this address.", wait)
		}
	}
	key, err := s.keys.MintKey(c.Request().Context(), r)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, key)
}

func names[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}
