package realtime

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// FuzzLifetime reads any claims, and any text, as a key: it lives for at least a second and at most a year, or is refused.
func FuzzLifetime(f *testing.F) {
	for _, claims := range []string{
		`{"exp":1767226500,"iat":1767226200}`, `{"exp":1e308,"iat":-1e308}`, `{"exp":"1","iat":null}`, `{"exp":1767226500.5}`, `{"exp":0,"iat":1}`,
		`[]`, `null`, `{"exp":1,"EXP":2,"iat":1}`, ``,
	} {
		f.Add("h."+base64.RawURLEncoding.EncodeToString([]byte(claims))+".s", claims, int64(300))
	}
	f.Add("a.e30=.c", "{", int64(-1))
	wall := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, token, claims string, said int64) {
		for _, text := range []string{token, "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s"} {
			life, _, err := lifetime(Key{Token: secret.New(text), Lifetime: time.Duration(said)}, wall)
			if err == nil && (life < time.Second || life > 365*24*time.Hour && life != time.Duration(said)) {
				t.Errorf("lifetime(%q) = %s", text, life)
			}
			held := hold(secret.New(text), life, wall, 0.999)
			if err == nil && (held.renewAt.Before(wall) || held.renewAt.After(held.endsAt) || !held.usable(wall)) {
				t.Errorf("a key that lives for %s is renewed at %s and ends at %s", life, held.renewAt, held.endsAt)
			}
		}
	})
}
