package dollr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Operations that Dollr tells the status of.
const (
	Collection = "collection"
	Payout     = "payout"
	Transfer   = "transfer"
	Refund     = "refund"
	Source     = "source"
)

// Subject is what a question is about: an execution by its reference id, or a source by its type and id.
type Subject struct {
	Operation   string // collection, payout, transfer, refund or source
	ReferenceID string // UUID; executions only
	SourceType  string // INVOICE or ORDER; sources only
	SourceID    int64  // sources only
	Payment     string // the caller's own id of it, for logs
}

// Status is Dollr's answer about exactly the [Subject] that was asked for.
type Status struct {
	// Word as Dollr wrote it, such as "PROCESSING". It may be a word that nobody knows yet.
	Word string
	// Amounts holds those of payer_amount, payer_currency, payee_amount and payee_currency (executions) or total_amount and
	// currency (sources) that the answer has; nil if it has none. Amounts are decimal text as written ("250.00"), exponents
	// written out; currencies upper case. What is no decimal or no currency is left out, as if it were missing.
	Amounts map[string]string
}

// ErrBadSubject reports a [Subject] that Dollr cannot be asked about. Nothing was sent.
var ErrBadSubject = errors.New("dollr: bad subject")

// Status asks Dollr how a payment stands. t says how urgently and may be raised meanwhile; nil is least urgent.
//
// The error is an [*Error], what the ticket's last check returned, or [ErrBadSubject].
func (c *Client) Status(ctx context.Context, s Subject, t *Ticket) (Status, error) {
	r, err := s.request()
	if err != nil {
		return Status{}, err
	}
	body, err := c.authorized(ctx, r, t)
	if err != nil {
		return Status{}, err
	}
	status, err := readStatus(body, s)
	if err != nil {
		if errors.Is(err, errAnother) {
			c.opts.Logger.ErrorContext(ctx, "dollr answered about another payment, the answer is refused",
				slog.Bool("security", true), slog.String("endpoint", r.endpoint), slog.String("payment", cmp.Or(s.Payment, s.String())))
		}
		return Status{}, unreadable(r.endpoint, err.Error())
	}
	return status, nil
}

// String names the subject for logs.
func (s Subject) String() string {
	if s.Operation == Source {
		return s.SourceType + " " + strconv.FormatInt(s.SourceID, 10)
	}
	return s.ReferenceID
}

func (s Subject) request() (request, error) {
	r := request{endpoint: s.Operation, method: http.MethodGet}
	switch s.Operation {
	case Collection, Payout, Transfer, Refund:
		id, err := uuid.Parse(s.ReferenceID)
		if err != nil {
			return request{}, fmt.Errorf("%w: reference id is no UUID", ErrBadSubject)
		}
		r.path = []string{"status", s.Operation, id.String()}
	case Source:
		if s.SourceType == "" {
			return request{}, fmt.Errorf("%w: a source has a type", ErrBadSubject)
		}
		r.path = []string{"status", "source"}
		r.query = url.Values{"source_type": {s.SourceType}, "source_id": {strconv.FormatInt(s.SourceID, 10)}}
	default:
		return request{}, fmt.Errorf("%w: unknown operation", ErrBadSubject)
	}
	return r, nil
}

// errAnother is an answer that is not about the payment that was asked for.
var errAnother = errors.New("an answer about another payment")

// wordText bounds what is taken for a status: a word, known or not.
var wordText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_. -]{0,63}$`)

// readStatus believes only an object that carries the status and the identity of s together.
func readStatus(body []byte, s Subject) (Status, error) {
	read := readExecution
	if s.Operation == Source {
		read = readSource
	}
	o, err := read(body, s)
	if err != nil {
		return Status{}, err
	}
	word, ok := o.text("status")
	if !ok || !wordText.MatchString(word) {
		return Status{}, errors.New("no status word")
	}
	return Status{Word: word, Amounts: o.amounts()}, nil
}

func readExecution(body []byte, s Subject) (object, error) {
	o, err := pick(body, "status", "reference_id")
	if err != nil {
		return nil, err
	}
	text, _ := o.text("reference_id")
	answered, err := uuid.Parse(text)
	if asked, _ := uuid.Parse(s.ReferenceID); err != nil || answered != asked {
		return nil, errAnother
	}
	if kind, _ := o.text("operation_type"); o.has("operation_type") && !strings.EqualFold(kind, s.Operation) {
		return nil, errAnother
	}
	return o, nil
}

func readSource(body []byte, s Subject) (object, error) {
	o, err := pick(body, "status", "source_id", "source_type")
	if err != nil {
		return nil, err
	}
	id, _ := o.number("source_id")
	kind, _ := o.text("source_type")
	if n, err := id.Int64(); err != nil || n != s.SourceID || !strings.EqualFold(kind, s.SourceType) {
		return nil, errAnother
	}
	if kind, _ := o.text("operation_type"); o.has("operation_type") && !strings.EqualFold(kind, s.Operation) {
		return nil, errAnother
	}
	return o, nil
}

func (o object) amounts() map[string]string {
	found := map[string]string{}
	for _, name := range []string{"payer_amount", "payee_amount", "total_amount"} {
		if text, ok := o.amount(name); ok {
			found[name] = text
		}
	}
	for _, name := range []string{"payer_currency", "payee_currency", "currency"} {
		if code, ok := o.currency(name); ok {
			found[name] = code
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found
}
