package relay

import (
	"strings"
	"time"
)

// Observation is something that was learned about a payment: a [Truth], a [Silence] or a [Hint].
type Observation interface{ observation() }

// Truth is an answer of Dollr's status API, to the relay's own request, about this very payment.
type Truth struct {
	Via     Via
	Status  string // Dollr's word as written
	Amounts Amounts
	AskedAt time.Time // when the question was sent; zero: just now
	KnownAt time.Time // as [Payment.KnownAt] was when the question was made; zero: nobody else asks
}

// Silence is a question to Dollr that brought no truth.
type Silence struct {
	Via    Via
	Reason string // not_found, refused, rate_limited, unreachable or unreadable

	AskedAt time.Time // when the question was sent; zero: just now
}

// Hint is what realtime said. It is shown to pages as unverified, and makes the relay ask.
type Hint struct {
	Status string // the row's status word in any case; empty if it had none readable
	At     time.Time
}

func (Truth) observation()   {}
func (Silence) observation() {}
func (Hint) observation()    {}

// meaning is what a status word says about the payment.
type meaning int

const (
	unknown  meaning = iota // a word that this operation does not have: never terminal
	progress                // on its way
	success
	failure
)

// word is what a status word means, and how far along the payment is then, so that an overtaken hint is not shown.
type word struct {
	meaning meaning
	rank    int
}

// wordOf looks up a status word of an operation. Executions and sources are separate models: the words of one are
// unknown to the other (reference/dollr-api.md, "Status endpoints").
func wordOf(op Operation, status string) word {
	if op == Source {
		switch status {
		case "IDLE":
			return word{progress, 1}
		case "ACTIVE":
			return word{progress, 2}
		case "PROCESSING":
			return word{progress, 3}
		case "PAID":
			return word{success, 4}
		case "CANCELED":
			return word{failure, 4}
		}
		return word{}
	}
	switch status {
	case "PENDING":
		return word{progress, 1}
	case "PROCESSING":
		return word{progress, 2}
	case "COMPLETED":
		return word{success, 3}
	case "FAILED":
		return word{failure, 3}
	}
	return word{}
}

// outcomeOf is the outcome that a word would bring if truth says it and the amounts fit.
func outcomeOf(op Operation, status string) Outcome {
	switch wordOf(op, status).meaning {
	case success:
		return Succeeded
	case failure:
		if op == Source {
			return Canceled
		}
		return Failed
	case progress, unknown:
	}
	return Pending
}

// KnownWord reports whether status is one of the operation's own words.
func KnownWord(op Operation, status string) bool {
	return wordOf(op, status).meaning != unknown
}

// normalHint reads a hint's word in any case.
func normalHint(status string) string { return strings.ToUpper(strings.TrimSpace(status)) }
