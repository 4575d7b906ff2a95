package realtime

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

var errBadKey = errors.New("realtime: the minted key is unusable")

// heldKey is a key whose life is measured on this process's monotonic clock, so a wrong wall clock on either side does no harm.
type heldKey struct {
	token   secret.Value
	renewAt time.Time // 60 to 80 % of its life
	endsAt  time.Time
}

// usable reports whether a join may carry the key: not when its end is so near that the channel would be closed again at once.
func (k heldKey) usable(now time.Time) bool { return !k.token.IsZero() && now.Before(k.endsAt) }

// hold starts a key's life. random in [0, 1) spreads the renewals.
func hold(token secret.Value, life time.Duration, now time.Time, random float64) heldKey {
	renew := time.Duration(float64(life) * (0.6 + 0.2*random))
	return heldKey{token: token, renewAt: now.Add(renew), endsAt: now.Add(life)}
}

// lifetime reads a key's life from the token itself, `exp - iat`, or, if it does not say, takes the mint's word. skew is how far
// the issuer's clock is ahead of ours (zero if unknown). The signature is the server's to check.
func lifetime(k Key, wall time.Time) (life, skew time.Duration, err error) {
	parts := strings.Split(k.Token.Reveal(), ".")
	if len(parts) != 3 {
		return 0, 0, fmt.Errorf("%w: not a JWT", errBadKey)
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return 0, 0, fmt.Errorf("%w: payload is not base64url", errBadKey)
	}
	var claims struct {
		Exp *float64 `json:"exp"`
		Iat *float64 `json:"iat"`
	}
	if err := json.Unmarshal(body, &claims); err != nil {
		return 0, 0, fmt.Errorf("%w: claims are not readable", errBadKey)
	}
	switch {
	case claims.Exp == nil:
		return 0, 0, fmt.Errorf("%w: no exp", errBadKey)
	case claims.Iat != nil:
		life = seconds(*claims.Exp - *claims.Iat)
		skew = seconds(*claims.Iat - float64(wall.Unix()))
	case k.Lifetime > 0:
		life = k.Lifetime
	default:
		life = seconds(*claims.Exp - float64(wall.Unix()))
	}
	if life < time.Second {
		return 0, 0, fmt.Errorf("%w: it has no life left", errBadKey)
	}
	return life, skew, nil
}

// seconds converts without overflow: a claim can hold any number.
func seconds(s float64) time.Duration {
	const most = float64(24 * 365 * time.Hour / time.Second)
	return time.Duration(max(-most, min(most, s)) * float64(time.Second))
}
