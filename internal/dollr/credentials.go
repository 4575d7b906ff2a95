package dollr

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/shopspring/decimal"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// Bounded endpoint words beside the operations'.
const (
	endpointToken = "token"
	endpointKey   = "realtime_key"
)

// maxTokenLife keeps an absurd expires_in from becoming a token that is never refreshed.
const maxTokenLife = 24 * time.Hour

// fetchToken asks for an access token. Its expires_in is in MINUTES, unlike that of realtime keys.
func (c *Client) fetchToken(ctx context.Context) (secret.Value, time.Duration, error) {
	queued := time.Now()
	granted, err := c.budget.wait(ctx, &Ticket{urgency: urgentToken})
	if err != nil {
		return secret.Value{}, 0, stopped(ctx, endpointToken)
	}
	body, failure := c.exchange(ctx, request{
		endpoint: endpointToken, method: http.MethodPost, path: []string{"jwt", "client", "obtain", "token"},
		body: map[string]string{
			"client_id":     c.opts.ClientID,
			"client_secret": c.opts.ClientSecret.Reveal(),
		},
		granted: granted, wait: granted.Sub(queued),
	})
	if failure != nil {
		if failure.reason == ReasonNotFound {
			failure.reason = ReasonRefused // it says nothing about a payment, it is about who asks
		}
		return secret.Value{}, 0, failure
	}
	token, life, err := readCredential(body, time.Minute)
	if err != nil {
		return secret.Value{}, 0, unreadable(endpointToken, err.Error())
	}
	return token, min(life, maxTokenLife), nil
}

// KeyRequest says what a realtime key is for: a collection in a checkout session.
type KeyRequest struct {
	SessionID   int64
	SourceType  string // INVOICE or ORDER
	ReferenceID string
}

// Key lets its holder listen to one payment on Supabase Realtime.
type Key struct {
	Token     secret.Value
	ExpiresIn time.Duration
}

// RealtimeKey mints a key for one payment's realtime channel. t is the call's place in the queue. Its error is an [*Error], or the
// one of t's last check ([Ticket.OnTurn]).
func (c *Client) RealtimeKey(ctx context.Context, r KeyRequest, t *Ticket) (Key, error) {
	body, err := c.authorized(ctx, request{
		endpoint: endpointKey, method: http.MethodPost, path: []string{"realtime-keys", "collection"},
		body: struct {
			SessionID   int64  `json:"session_id"`
			SourceType  string `json:"source_type"`
			ReferenceID string `json:"reference_id"`
		}(r),
	}, t)
	if err != nil {
		return Key{}, err
	}
	token, life, err := readCredential(body, time.Second)
	if err != nil {
		return Key{}, unreadable(endpointKey, err.Error())
	}
	return Key{Token: token, ExpiresIn: life}, nil
}

// readCredential reads {"access_token","expires_in"}, the latter in the given unit.
func readCredential(body []byte, unit time.Duration) (secret.Value, time.Duration, error) {
	o, err := pick(body, "access_token", "expires_in")
	if err != nil {
		return secret.Value{}, 0, err
	}
	token, ok := o.text("access_token")
	if !ok || !headerSafe(token) {
		return secret.Value{}, 0, fmt.Errorf("access_token is no token")
	}
	text, ok := o.amount("expires_in")
	if !ok {
		return secret.Value{}, 0, fmt.Errorf("expires_in is no number")
	}
	count, err := decimal.NewFromString(text)
	if err != nil || !count.IsPositive() {
		return secret.Value{}, 0, fmt.Errorf("expires_in is not above zero")
	}
	most := decimal.NewFromInt(int64(maxTokenLife / unit)) // also keeps the product within its integer
	life := decimal.Min(count, most).Mul(decimal.NewFromInt(int64(unit)))
	return secret.New(token), time.Duration(life.IntPart()), nil
}

// headerSafe reports whether a token can be sent in a header: visible ASCII of a sane length.
func headerSafe(token string) bool {
	if token == "" || len(token) > 16<<10 {
		return false
	}
	for _, b := range []byte(token) {
		if b <= ' ' || b >= 0x7f {
			return false
		}
	}
	return true
}
