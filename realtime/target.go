package realtime

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// Where Dollr publishes the public status of collections.
const (
	Schema = "public"
	Table  = "checkout_payment_intent_public_status"
)

// topicPrefix stands before every topic on the wire; supabase-js adds it by itself.
const topicPrefix = "realtime:"

// Target is a payment to follow.
type Target struct {
	ID          string // the relay's own "pay_…"; names the payment towards the Feed's user
	SessionID   int64  // Dollr's checkout session
	SourceType  string // "INVOICE" or "ORDER", which the key endpoint asks for
	ReferenceID string // UUID, lower case
}

// Topic is the payment's channel as one gives it to supabase-js, without the wire's prefix.
func (t Target) Topic() string {
	return "payment-intent:" + strconv.FormatInt(t.SessionID, 10) + ":" + t.ReferenceID
}

// Filter selects the payment's row.
func (t Target) Filter() string { return "reference_id=eq." + t.ReferenceID }

func (t Target) wireTopic() string { return topicPrefix + t.Topic() }

// isOwnRow reports whether a row's reference_id, if it carries one, is this payment's.
func (t Target) isOwnRow(referenceID string) bool {
	return referenceID == "" || strings.EqualFold(referenceID, t.ReferenceID)
}

// Key lets a channel join.
type Key struct {
	Token secret.Value // a JWT
	// Lifetime as the mint said. It counts only where the token itself does not say it (exp - iat).
	Lifetime time.Duration
}

// Keys mints keys.
type Keys interface {
	// RealtimeKey brings a fresh key for a payment. It may block, for as long as its budget needs.
	RealtimeKey(ctx context.Context, t Target) (Key, error)
}

// Kind says what an [Event] reports.
type Kind int

const (
	// Live says that the server has confirmed the subscription, for the first time or again. Changes before it may have been missed.
	Live Kind = iota + 1
	// Lost says that the channel was live and is not, or could not become live in time. The Feed goes on trying.
	Lost
	// Change says that the payment's row has changed.
	Change
)

// String is the kind in lower case.
func (k Kind) String() string {
	switch k {
	case Live:
		return "live"
	case Lost:
		return "lost"
	case Change:
		return "change"
	}
	return "unknown"
}

// Event is what a [Feed] reports about one payment.
type Event struct {
	ID     string
	Kind   Kind
	Status string    // Change: the row's status, "" if it had none that can be read
	Reason string    // Lost: why, one of [Reasons], or what Rejoin was given
	At     time.Time // when this process learnt it, wall clock
}

// Reasons are the words for why a channel was lost. `key` is that none could be minted.
func Reasons() []string {
	return []string{
		"unconfirmed", "key", "join_error", "join_timeout", "credential", "refused", "limit", "mismatch",
		"system_error", "closed", "crashed", "forgotten", "expired", "socket",
	}
}

// Ignorable are the words for frames that do not count (C28).
func Ignorable() []string {
	return []string{"malformed", "binary", "unknown_event", "unknown_topic", "stale_join", "foreign_change", "foreign_system"}
}
