package realtimetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// authError is a refused token in the two spellings that the real service has for it: as the `error` of a refused upgrade,
// and with a code in front as the reason of a refused join.
type authError struct {
	code string
	text string
}

func (e *authError) Error() string { return e.text }

// reason is how a join reply spells it.
func (e *authError) reason() string { return e.code + ": " + e.text }

const (
	missingClaims = "Fields `role` and `exp` are required in JWT"
	oddExpiry     = "Token expiration time is invalid"
)

// claims are what a verified token says.
type claims struct {
	role string
	exp  time.Time
	all  jwt.MapClaims
}

// verify checks a token as the real service does: whitespace and percent-encoding are forgiven, the signature is not, and
// `role` and a future `exp` must be there.
func (s *Server) verify(token string) (claims, *authError) {
	token = strings.Join(strings.Fields(token), "")
	if plain, err := url.PathUnescape(token); err == nil {
		token = plain
	}
	// Expiry is checked below, in the service's own words.
	parser := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithJSONNumber())
	parsed, err := parser.Parse(token, func(t *jwt.Token) (any, error) {
		if _, ok := t.Method.(*jwt.SigningMethodHMAC); !ok {
			return nil, errors.New("unknown algorithm")
		}
		return []byte(s.opts.JWTSecret.Reveal()), nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return claims{}, &authError{"MalformedJWT", "The token provided is not a valid JWT"}
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return claims{}, &authError{"JwtSignerError", "Failed to generate JWT signer, check your JWT secret or JWKS configuration"}
	case err != nil:
		return claims{}, &authError{"JwtSignatureError", "Failed to validate JWT signature"}
	}
	body, _ := parsed.Claims.(jwt.MapClaims)
	role, hasRole := body["role"].(string)
	rawExp, hasExp := body["exp"]
	if !hasRole || !hasExp {
		return claims{}, &authError{"InvalidJWTToken", missingClaims}
	}
	number, ok := rawExp.(json.Number)
	if !ok {
		return claims{}, &authError{"InvalidJWTToken", oddExpiry}
	}
	seconds, err := number.Float64()
	if err != nil || math.Abs(seconds) > 1<<53 {
		return claims{}, &authError{"InvalidJWTToken", oddExpiry}
	}
	whole, fraction := math.Modf(seconds)
	exp := time.Unix(int64(whole), int64(fraction*1e9))
	c := claims{role: role, exp: exp, all: body}
	if err := c.expired(s.opts.Now()); err != nil {
		return claims{}, err
	}
	return c, nil
}

func (c claims) expired(now time.Time) *authError {
	if now.Before(c.exp) {
		return nil
	}
	return &authError{"InvalidJWTToken", fmt.Sprintf("Token has expired %d seconds ago", int(now.Sub(c.exp)/time.Second))}
}

// upgradeText is the `error` of a refused upgrade, which does not say how long ago a token has expired.
func (e *authError) upgradeText() string {
	switch {
	case strings.HasPrefix(e.text, "Token has expired"):
		return "Token has expired"
	case e.text == oddExpiry:
		return "Error connecting to Realtime"
	}
	return e.text
}

// upgradeStatus is 401, except for an expiry that the service trips over.
func (e *authError) upgradeStatus() int {
	if e.text == oddExpiry {
		return http.StatusInternalServerError
	}
	return http.StatusUnauthorized
}

// Token mints a key as the project's auth service would: HS256, with iat now and exp after life. Extra claims override.
func (s *Server) Token(life time.Duration, extra ...map[string]any) string {
	now := s.opts.Now()
	body := jwt.MapClaims{"role": "authenticated", "iat": now.Unix(), "exp": now.Add(life).Unix()}
	for _, more := range extra {
		maps.Copy(body, more)
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, body).SignedString([]byte(s.opts.JWTSecret.Reveal()))
	if err != nil {
		panic(fmt.Sprintf("realtimetest: %v", err)) // a claim that JSON cannot hold
	}
	return signed
}
