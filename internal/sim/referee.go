package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/relay"
)

// referee sees everything that leaves the relay, and all that Dollr really said, and knows the promises.
type referee struct {
	world *world

	mu         sync.Mutex
	violations []string
	files      map[string]*file // by payment id
	keys       map[string]*file // by key at Dollr
	hidden     []string         // what may be in no output
	lives      map[string]*life // of the relay, by number
	reports    map[string]*report
	views      map[*pageView]struct{} // open pages
	joins      []time.Duration
	all        together // of several replicas
}

// file is what is known of one payment.
type file struct {
	order        *order
	truths       map[truth]bool
	wall         time.Time        // the relay's clock when it was first asked to take the payment on
	shown        int64            // the highest version that anybody was shown
	paged        int64            // the highest that a page was shown
	states       map[int64]string // what each version was said to be
	succeededAt  int64            // the lowest version shown as a verified success; 0: none
	contradicted int64            // likewise
	askedAt      time.Duration    // when Dollr was asked last
	answeredAt   time.Duration    // when it answered last
	hinted       time.Time        // the newest terminal hint
	liveAt       time.Duration    // when a page was told so last
	acknowledged bool             // its registration was
	poked        time.Duration    // when any replica was made to ask
	toldPages    int64            // the highest version whose way to all pages is watched
	finalAt      time.Duration    // when a final outcome was shown first
}

// truth is an honest answer of Dollr.
type truth struct {
	word    string
	outcome relay.Outcome
}

func newReferee(w *world) *referee {
	r := &referee{
		world: w, files: map[string]*file{}, keys: map[string]*file{}, lives: map[string]*life{}, reports: map[string]*report{}, views: map[*pageView]struct{}{},
		hidden: []string{dollrtest.ClientSecret, apiKey, pageSecret, callbackSecret, cardSecret, `"tok_`, "Bearer "},
	}
	for _, o := range w.plan.orders {
		f := &file{order: o, truths: map[truth]bool{}, states: map[int64]string{}}
		r.files[o.id()], r.keys[o.key()] = f, f
	}
	return r
}

// fail notes that a promise was broken.
func (r *referee) fail(promise, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failLocked(promise, format, args...)
}

func (r *referee) failLocked(promise, format string, args ...any) {
	text := promise + ": " + fmt.Sprintf(format, args...)
	r.world.history.note("VIOLATION", "%s", text)
	if len(r.violations) < 20 {
		r.violations = append(r.violations, fmt.Sprintf("%.3fs %s", r.world.now().Seconds(), text))
	}
}

func (r *referee) found() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.violations
}

func (r *referee) broken() bool { return len(r.found()) > 0 }

// keep notes a secret that may be in no output.
func (r *referee) keep(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden = append(r.hidden, secret)
}

// secrets checks an output for secrets.
func (r *referee) secrets(where, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range r.hidden {
		if strings.Contains(text, secret) {
			r.failLocked("no secret in any output", "%s in %s", secret[:min(8, len(secret))]+"…", where)
		}
	}
}

// served notes what Dollr has answered, whether the answer arrives or not.
func (r *referee) served(key string, a *answer, honest bool) {
	if !honest || a.code != 200 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.keys[key]
	said, ok := a.status()
	if f == nil || !ok {
		return
	}
	f.truths[truth{said.Status, f.order.verdict(said)}] = true
}

// said is an answer of Dollr as the referee reads it, by other code than the relay's.
type said struct {
	Status        string
	PayerAmount   json.Number `json:"payer_amount"`
	PayerCurrency string      `json:"payer_currency"`
	PayeeAmount   json.Number `json:"payee_amount"`
	PayeeCurrency string      `json:"payee_currency"`
	TotalAmount   json.Number `json:"total_amount"`
	Currency      string
}

// status reads an honest answer.
func (a *answer) status() (said, bool) {
	var plain struct {
		said

		Data *said
	}
	if json.Unmarshal(a.body.Bytes(), &plain) != nil {
		return said{}, false
	}
	if plain.Data != nil {
		return *plain.Data, true
	}
	return plain.said, plain.Status != ""
}

// word is what an answer says, for people.
func (a *answer) word() string {
	s, _ := a.status()
	return s.Status
}

// verdict is what an honest answer makes of an order.
func (o *order) verdict(s said) relay.Outcome {
	good, bad, outcome := "COMPLETED", "FAILED", relay.Failed
	if o.operation == relay.Source {
		good, bad, outcome = "PAID", "CANCELED", relay.Canceled
	}
	switch s.Status {
	case bad:
		return outcome
	case good:
		if o.fits(s) {
			return relay.Succeeded
		}
		return relay.Mismatch
	}
	return relay.Pending
}

func (o *order) fits(s said) bool {
	is := func(amount json.Number, currency string) bool {
		got, err := decimal.NewFromString(amount.String())
		return err == nil && currency == "USD" && got.Equal(decimal.RequireFromString(o.amount()))
	}
	payer, payee := is(s.PayerAmount, s.PayerCurrency), is(s.PayeeAmount, s.PayeeCurrency)
	switch {
	case !o.expected:
		return true
	case o.operation == relay.Source:
		return is(s.TotalAmount, s.Currency)
	case o.side == "payer":
		return payer
	case o.side == "payee":
		return payee
	}
	return payer || payee
}

// state is what the relay says of a payment, wherever it does.
type state struct {
	ID              string        `json:"id"`
	Version         int64         `json:"version"`
	Status          *string       `json:"status"`
	Outcome         relay.Outcome `json:"outcome"`
	Verified        bool          `json:"verified"`
	Final           bool          `json:"final"`
	Late            bool          `json:"late"`
	PreviousOutcome *string       `json:"previous_outcome"`
	Contradicted    bool          `json:"contradicted"`
	Link            *string       `json:"link"`
	At              time.Time     `json:"at"`
	Siblings        []string      `json:"siblings"`
	Metadata        struct {
		Order string `json:"order"`
	} `json:"metadata"`
	WatchUntil time.Time `json:"watch_until"`
}

func (s state) word() string {
	if s.Status == nil {
		return ""
	}
	return *s.Status
}

// floor is the lowest version that the relay may still show of a payment.
func (r *referee) floor(id string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[id].shown
}

// registers notes that the relay is asked to take a payment on: its watch does not begin before that.
func (r *referee) registers(o *order, wall time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.files[o.id()]; f.wall.IsZero() || wall.Before(f.wall) { // a clock that was set back began again
		f.wall = wall
	}
}

// registered checks how the relay acknowledges a registration.
func (r *referee) registered(o *order, body []byte) {
	var s state
	if json.Unmarshal(body, &s) != nil || s.ID != o.id() {
		r.fail("derived ids", "order %d has the id %q, want %q", o.number, s.ID, o.id())
	}
	r.registers(o, r.world.wall()) // the clock may have been set back while it was under way
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[o.id()].acknowledged = true
}

// missing checks that a payment which is not found was not acknowledged, either: trouble may have kept it out to the end.
func (r *referee) missing(o *order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files[o.id()].acknowledged {
		r.failLocked("keeps what it acknowledged", "order %d was registered and is not found", o.number)
	}
}

// read checks a payment that the API has answered with. floor is what was known when it was asked for.
func (r *referee) read(where string, body []byte, floor int64) *state {
	var s state
	if err := json.Unmarshal(body, &s); err != nil {
		r.fail("answers", "%s: %v", where, err)
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Final != (s.Outcome != relay.Pending) {
		r.failLocked("final is an outcome", "%s says final %t with outcome %s", where, s.Final, s.Outcome)
	}
	r.checkLocked(where, s, floor, true)
	return &s
}

// checkLocked checks a committed state. whole tells that Late and Contradicted are in it.
func (r *referee) checkLocked(where string, s state, floor int64, whole bool) {
	f := r.files[s.ID]
	if f == nil {
		r.failLocked("derived ids", "%s is about %q, which nobody registered", where, s.ID)
		return
	}
	n := f.order.number
	if s.Version < floor {
		r.failLocked("versions never fall", "%s shows order %d with version %d, but %d was shown before", where, n, s.Version, floor)
	}
	if s.Outcome != relay.Pending && s.Outcome != relay.Expired && !f.truths[truth{s.word(), s.Outcome}] {
		r.failLocked("no outcome without truth", "%s says order %d is %s (%s), which Dollr has never answered", where, n, s.Outcome, s.word())
	}
	if s.Outcome == relay.Pending && s.word() != "" && !f.truths[truth{s.word(), relay.Pending}] {
		r.failLocked("no status without truth", "%s says order %d is %s, which Dollr has never answered", where, n, s.word())
	}
	if s.Outcome == relay.Expired && r.world.lastWall().Before(f.wall.Add(f.order.watchFor-time.Second)) {
		r.failLocked("a watch lasts", "%s says order %d has expired before the end of its watch", where, n)
	}
	if f.succeededAt != 0 && s.Version >= f.succeededAt && s.Outcome != relay.Succeeded {
		r.failLocked("success is never overwritten", "%s says order %d is %s in version %d, after it succeeded in version %d", where, n, s.Outcome, s.Version, f.succeededAt)
	}
	if s.Outcome == relay.Succeeded && (f.succeededAt == 0 || s.Version < f.succeededAt) {
		f.succeededAt = s.Version
	}
	what := fmt.Sprintf("%s %s", s.word(), s.Outcome)
	if before, seen := f.states[s.Version]; seen && before != what {
		r.failLocked("a version is one state", "%s says version %d of order %d is %q, it was %q", where, s.Version, n, what, before)
	}
	f.states[s.Version] = what
	if whole && f.contradicted != 0 && s.Version >= f.contradicted && !s.Contradicted {
		r.failLocked("contradicted stays", "%s says order %d is not contradicted in version %d, it was in %d", where, n, s.Version, f.contradicted)
	}
	if whole && s.Contradicted && (f.contradicted == 0 || s.Version < f.contradicted) {
		f.contradicted = s.Version
	}
	f.shown = max(f.shown, s.Version)
	if s.Outcome != relay.Pending && f.finalAt == 0 {
		f.finalAt = r.world.now()
	}
}

// number is the number of the order that some data is about, for people.
func (r *referee) number(data []byte) int {
	var s state
	if json.Unmarshal(data, &s) != nil {
		return -1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.files[s.ID]; f != nil {
		return f.order.number
	}
	return -1
}

// lastWall is the latest time that the relay's clock has shown.
func (w *world) lastWall() time.Time {
	w.wall()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}
