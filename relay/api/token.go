package api

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay"
)

const pageAudience = "page"

// renewAt is the share of a page token's life after which an open page is given a fresh one.
const renewAt = 0.8

var (
	errBadToken     = errors.New("the page token is missing or wrong")
	errExpiredToken = errors.New("the page token has expired")
)

// tokens makes and reads page tokens: JWTs (HS256) for one payment.
type tokens struct {
	secrets []secret.Value // the first signs, all verify
	ttl     time.Duration
	now     func() time.Time
}

// pageToken is a verified token.
type pageToken struct {
	text      string
	paymentID string
	issuedAt  time.Time
	expiresAt time.Time
}

func newTokens(secrets []secret.Value, ttl time.Duration, now func() time.Time) *tokens {
	return &tokens{secrets: secrets, ttl: ttl, now: now}
}

func (t *tokens) issue(paymentID string) (pageToken, error) {
	now := t.now().Truncate(time.Second) // JWT times are whole seconds
	claims := jwt.RegisteredClaims{
		Subject: paymentID, Audience: jwt.ClaimStrings{pageAudience},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(t.ttl)),
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(t.secrets[0].Reveal()))
	if err != nil {
		return pageToken{}, fmt.Errorf("sign page token: %w", err)
	}
	return pageToken{text: text, paymentID: paymentID, issuedAt: now, expiresAt: now.Add(t.ttl)}, nil
}

// read verifies a token with every secret. A genuine one that has expired is [errExpiredToken], so
// that a script can tell; everything else that is wrong is [errBadToken].
func (t *tokens) read(text string) (pageToken, error) {
	for _, key := range t.secrets {
		var claims jwt.RegisteredClaims
		_, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return []byte(key.Reveal()), nil },
			jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience(pageAudience), jwt.WithExpirationRequired(),
			jwt.WithTimeFunc(t.now))
		switch {
		case err == nil && claims.Subject != "":
			// A merchant that signs tokens itself may leave out when: then its life begins now.
			token := pageToken{text: text, paymentID: claims.Subject, issuedAt: t.now(), expiresAt: claims.ExpiresAt.Time}
			if claims.IssuedAt != nil {
				token.issuedAt = claims.IssuedAt.Time
			}
			return token, nil
		case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidAudience):
			return pageToken{paymentID: claims.Subject}, errExpiredToken
		}
	}
	return pageToken{}, errBadToken
}

// renewal is when a page that is open should be given a fresh token.
func (p pageToken) renewal() time.Time {
	life := p.expiresAt.Sub(p.issuedAt)
	return p.issuedAt.Add(time.Duration(float64(life) * renewAt))
}

// renewEvery is how long after a token was issued an open page is given the next one.
func (t *tokens) renewEvery() time.Duration { return time.Duration(float64(t.ttl) * renewAt) }

// pageJSON is what a backend hands to its checkout page.
type pageJSON struct {
	Token     string     `json:"token"`
	ExpiresAt relay.Time `json:"expires_at"`
	StreamURL string     `json:"stream_url"`
	ScriptURL string     `json:"script_url"`
}

func (s *Server) newPage(paymentID string) (*pageJSON, error) {
	token, err := s.tokens.issue(paymentID)
	if err != nil {
		return nil, err
	}
	return &pageJSON{
		Token: token.text, ExpiresAt: relay.Time(token.expiresAt),
		StreamURL: s.webSocketURL("/v1/page/stream"), ScriptURL: s.PublicURL.JoinPath("/v1/relay.js").String(),
	}, nil
}

func (s *Server) webSocketURL(path string) string {
	u := url.URL{Scheme: "ws", Host: s.PublicURL.Host, Path: s.PublicURL.JoinPath(path).Path}
	if s.PublicURL.Scheme == "https" {
		u.Scheme = "wss"
	}
	return u.String()
}
