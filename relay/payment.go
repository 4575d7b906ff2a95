package relay

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"
	"time"
)

// Operation is the kind of payment that is watched, as Dollr's status endpoints name it.
type Operation string

// The operations. A source is a hosted checkout, watched by its document instead of an execution.
const (
	Collection Operation = "collection"
	Payout     Operation = "payout"
	Transfer   Operation = "transfer"
	Refund     Operation = "refund"
	Source     Operation = "source"
)

// Operations lists every operation, in the order in which documents name them.
func Operations() []Operation {
	return []Operation{Collection, Payout, Transfer, Refund, Source}
}

// Outcome is what became of a payment.
type Outcome string

// The outcomes. Only [Truth] brings Succeeded, Failed, Canceled and Mismatch.
const (
	Pending   Outcome = "pending"
	Succeeded Outcome = "succeeded" // COMPLETED of an execution, PAID of a source
	Failed    Outcome = "failed"    // FAILED of an execution
	Canceled  Outcome = "canceled"  // CANCELED of a source
	Mismatch  Outcome = "mismatch"  // Dollr says succeeded, but not the expected amount: a person must look
	Expired   Outcome = "expired"   // the watch ended without a terminal status
)

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{Pending, Succeeded, Failed, Canceled, Mismatch, Expired}
}

// Final reports whether the outcome is anything but pending.
func (o Outcome) Final() bool { return o != Pending }

// Link says how the relay hears of a payment now. The empty link means that it is not watched any more.
type Link string

// The links.
const (
	Unwatched Link = ""
	Live      Link = "live"     // realtime joined and its PostgreSQL subscription confirmed
	Polling   Link = "polling"  // Dollr is asked at intervals
	Degraded  Link = "degraded" // Dollr or the relay's own database cannot be reached
)

// Via is the way on which something was learned.
type Via string

// The ways, as the timeline and the page messages name them.
const (
	ViaRegister  Via = "register"
	ViaRealtime  Via = "realtime"
	ViaPoll      Via = "poll"
	ViaAudit     Via = "audit"
	ViaVerify    Via = "verify"
	ViaReconcile Via = "reconcile"
	ViaCallback  Via = "callback"
	ViaClock     Via = "clock"
	ViaOperator  Via = "operator"
)

// Payment is one watched payment as the database holds it. It is a value: [Decide] returns a changed copy.
type Payment struct {
	ID          string // derived, see [PaymentID]
	Operation   Operation
	ReferenceID string // lower-case UUID; empty for a source
	SessionID   int64  // 0: none, and then no realtime
	SourceType  string // INVOICE, ORDER or empty
	SourceID    int64  // 0: none

	Expected    *Expected
	CallbackURL string // empty: the first configured one
	Metadata    map[string]string

	Status          string // Dollr's word behind the outcome; empty before the first answer
	Outcome         Outcome
	Late            bool
	PreviousOutcome Outcome // with Late; else empty
	Contradicted    bool
	Amounts         *Amounts
	Version         int64
	Via             Via // on which this version came

	HintStatus string    // what realtime said last, upper case; see [Payment.Hint]
	HintAt     time.Time // when the relay heard it
	LastSeen   string    // the word and amounts of the last answer, so that the timeline repeats nothing
	LastError  string    // why the last question brought no truth, one of the contract's words

	CreatedAt     time.Time
	UpdatedAt     time.Time
	WatchSince    time.Time // CreatedAt, or when an expired payment was registered again
	VerifiedAt    time.Time // when the present verified final outcome was read
	FinalAt       time.Time // when the present final outcome was committed
	WatchUntil    time.Time
	LastCheckedAt time.Time // last question, whatever it brought
	TruthAt       time.Time // last answer
	PutOffSince   time.Time // first unanswered question after WatchUntil
	ReopenedUntil time.Time // a final payment is asked every 5 minutes until then

	// Filled in by the store.
	Siblings []string // succeeded payments of the same source
	Live     bool     // some replica has proof of realtime; false where there are no replicas, and in transactions
	Revision int64    // grows by one with every commit, whatever it changed
}

// Expected is what the merchant wants to have been paid.
type Expected struct {
	Amount   string `json:"amount"` // decimal text above zero, as the merchant wrote it
	Currency string `json:"currency"`
	Side     string `json:"side,omitempty"` // payee, payer, or empty: either may match
}

// Amounts are the decimal texts of a success as Dollr wrote them: the first four fields for
// executions, the last two for sources.
type Amounts struct {
	PayerAmount   string `json:"payer_amount,omitempty"`
	PayerCurrency string `json:"payer_currency,omitempty"`
	PayeeAmount   string `json:"payee_amount,omitempty"`
	PayeeCurrency string `json:"payee_currency,omitempty"`
	TotalAmount   string `json:"total_amount,omitempty"`
	Currency      string `json:"currency,omitempty"`
}

// PaymentID derives the id from what identifies the payment at Dollr, so that registering again,
// or after restoring a backup, brings the same id.
func PaymentID(op Operation, referenceID, sourceType string, sourceID int64) string {
	if op == Source {
		return derivedID("pay_", string(op), sourceType, strconv.FormatInt(sourceID, 10))
	}
	return derivedID("pay_", string(op), strings.ToLower(referenceID))
}

func derivedID(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return prefix + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:15]))
}

// Final reports whether the payment has an outcome other than pending.
func (p Payment) Final() bool { return p.Outcome.Final() }

// Verified reports whether status and outcome were read by the relay itself from Dollr's status API.
func (p Payment) Verified() bool { return p.Status != "" && p.Outcome != Expired }

// HintLife is how long a hint stands that truth does not confirm. After it pages are shown the
// verified state again.
const HintLife = 60 * time.Second

// Hint returns what realtime said last while that is newer than what truth said: until truth
// catches up or overtakes it, the payment is final, or [HintLife] is over. A hint from the future is
// over, too: the clock was set back, and it might stand for hours. Empty otherwise.
func (p Payment) Hint(now time.Time) string {
	if p.HintStatus == "" || p.Final() || p.HintStatus == p.Status || now.Sub(p.HintAt).Abs() >= HintLife {
		return ""
	}
	if wordOf(p.Operation, p.HintStatus).rank < wordOf(p.Operation, p.Status).rank {
		return ""
	}
	return p.HintStatus
}

// reported is the outcome that the merchant has been told of before this one; empty if there was none. An
// expired payment that was registered again is pending, but not unheard of.
func (p Payment) reported() Outcome {
	switch {
	case p.Final():
		return p.Outcome
	case p.WatchSince.After(p.CreatedAt):
		return Expired
	}
	return ""
}

// A final payment is asked about again this long after its outcome (contract, section 7).
const (
	FirstRecheck = time.Hour
	LastRecheck  = 24 * time.Hour
)

// KnownAt is how old what is known of the payment is: its last answer, or its registration.
func (p Payment) KnownAt() time.Time { return cmp.Or(p.TruthAt, p.WatchSince) }

// HasRealtime reports whether the payment has what a realtime channel needs.
func (p Payment) HasRealtime() bool { return p.Operation == Collection && p.SessionID != 0 }
