package api

import (
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
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
	r := KeyRequest{SessionID: body.integer("session_id", true), SourceType: body.text("source_type"), ReferenceID: lower(body.text("reference_id"))}
	if r.SessionID == 0 && !body.complained("session_id") {
		body.complain("session_id", "is required")
	}
	if r.SourceType != "INVOICE" && r.SourceType != "ORDER" {
		body.complain("source_type", "must be INVOICE or ORDER")
	}
	if _, err := uuid.Parse(r.ReferenceID); err != nil || len(r.ReferenceID) != 36 {
		body.complain("reference_id", "must be a UUID v4")
	}
	if err := body.finish(); err != nil {
		return err
	}
	return s.answerKey(c, r)
}

// mintPageKey mints a key for the payment of the page's token.
func (s *Server) mintPageKey(c echo.Context) error {
	token, err := s.pageToken(c)
	if err != nil {
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

func (s *Server) answerKey(c echo.Context, r KeyRequest) error {
	if s.Keys == nil {
		return refuse(http.StatusConflict, "Supabase is not configured on this relay: SUPABASE_URL and SUPABASE_ANON_KEY are unset.")
	}
	key, err := s.Keys.MintKey(c.Request().Context(), r)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, key)
}

func lower(s string) string { return strings.ToLower(s) }

func names[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}
