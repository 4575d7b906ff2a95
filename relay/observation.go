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

// wordRank orders words by how far along they are, so that an overtaken hint is not shown.
type word struct {
	meaning meaning
	rank    int
}

// words returns the status words of an operation. Executions and sources are separate models: the
// words of one are unknown to the other (reference/dollr-api.md, "Status endpoints").
func words(op Operation) map[string]word {
	if op == Source {
		return map[string]word{
			"IDLE": {progress, 1}, "ACTIVE": {progress, 2}, "PROCESSING": {progress, 3},
			"PAID": {success, 4}, "CANCELED": {failure, 4},
		}
	}
	return map[string]word{
		"PENDING": {progress, 1}, "PROCESSING": {progress, 2},
		"COMPLETED": {success, 3}, "FAILED": {failure, 3},
	}
}

// outcomeOf is the outcome that a word would bring if truth says it and the amounts fit.
func outcomeOf(op Operation, status string) Outcome {
	switch words(op)[status].meaning {
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
	return words(op)[status].meaning != unknown
}

// normalHint reads a hint's word in any case.
func normalHint(status string) string { return strings.ToUpper(strings.TrimSpace(status)) }
