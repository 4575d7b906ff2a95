package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/api"
)

// asker lets the relay ask through fallback's Asker.
type asker struct {
	*fallback.Asker[relay.Payment]

	held func() time.Duration // how long a 429 still holds every call to Dollr
}

func newAsker(client *dollr.Client, a *App) *asker {
	settle := func(ctx context.Context, q fallback.Question, s dollr.Status, err error) (relay.Payment, error) {
		a.operator.journal.add(q, s, err, a.opts.Now())
		if err == nil {
			a.metrics.truth(q.Urgency, q.KnownAt, a.opts.Now())
		}
		return a.relay.Observe(ctx, q.ID, observation(q, s, err))
	}
	var source fallback.StatusSource = client
	if a.opts.Tracing != nil {
		source = tracedSource{client, a.opts.Tracing}
	}
	return &asker{held: client.Held, Asker: fallback.NewAsker(source, settle, fallback.AskerOptions{
		Now: a.opts.Now,
		OnChange: func(_, to fallback.State) {
			a.metrics.breaker("status", to)
			a.relay.SetDollrDown(to != fallback.Closed)
			if a.replicas != nil {
				a.replicas.keeper.SetDown(to != fallback.Closed)
			}
		},
	})}
}

// observation is what a question brought, in the judge's terms.
func observation(q fallback.Question, s dollr.Status, err error) relay.Observation {
	via := relay.Via(q.Via)
	if err != nil {
		return relay.Silence{Via: via, Reason: reason(err), AskedAt: q.SentAt}
	}
	return relay.Truth{Via: via, Status: s.Word, AskedAt: q.SentAt, KnownAt: q.KnownAt, Amounts: relay.Amounts{
		PayerAmount: s.Amounts["payer_amount"], PayerCurrency: s.Amounts["payer_currency"],
		PayeeAmount: s.Amounts["payee_amount"], PayeeCurrency: s.Amounts["payee_currency"],
		TotalAmount: s.Amounts["total_amount"], Currency: s.Amounts["currency"],
	}}
}

// reason is the contract's word for why a question brought no truth.
func reason(err error) string {
	var known *dollr.Error
	if errors.As(err, &known) && known.Reason() != "" {
		return known.Reason()
	}
	return dollr.ReasonUnreachable
}

// Ask implements [relay.Asker].
func (a *asker) Ask(ctx context.Context, q relay.Question) (relay.Payment, bool, error) {
	if deadline, ok := ctx.Deadline(); ok && a.held() > time.Until(deadline) {
		// Who cannot wait for the end of a 429's hold hears of it at once.
		return relay.Payment{}, false, &relay.AskError{Reason: dollr.ReasonRateLimited, RetryAfter: a.held(), Unsent: true, Err: errHeld}
	}
	answer := a.Asker.Ask(ctx, question(q))
	return answer.Value, answer.Joined, askError(answer.Err)
}

var errHeld = errors.New("a 429 with Retry-After holds every call")

// AskAgain implements [relay.Asker].
func (a *asker) AskAgain(q relay.Question) { a.Asker.AskAgain(question(q)) }

func question(q relay.Question) fallback.Question {
	return fallback.Question{
		ID: q.Payment.ID, Via: string(q.Via), Urgency: dollr.Urgency(q.Urgency),
		KnownAt: q.Payment.KnownAt(),
		Subject: dollr.Subject{
			Payment:   q.Payment.ID,
			Operation: string(q.Payment.Operation), ReferenceID: q.Payment.ReferenceID,
			SourceType: q.Payment.SourceType, SourceID: q.Payment.SourceID,
		},
	}
}

// askError says in the relay's terms what Dollr, or the breaker before it, had against a question.
// An error of the relay's own database stays what it is.
func askError(err error) error {
	var (
		open  *fallback.OpenError
		known *dollr.Error
	)
	switch {
	case errors.As(err, &open):
		return &relay.AskError{Reason: dollr.ReasonUnreachable, RetryAfter: open.RetryAfter, Unsent: true, Err: err}
	case errors.As(err, &known) && known.Reason() != "":
		return &relay.AskError{Reason: known.Reason(), RetryAfter: known.RetryAfter(), Err: err}
	}
	return err
}

// schedule lets the relay plan questions on fallback's Poller.
type schedule struct {
	poller  *fallback.Poller
	cadence fallback.Cadence
	now     func() time.Time
	random  func() float64
}

// Plan implements [relay.Schedule].
func (s *schedule) Plan(id string, f relay.Facts) bool {
	due, via, urgency, ok := s.cadence.Next(fallback.Facts(f), s.now(), s.random())
	if ok {
		s.poller.Set(id, due, via, urgency)
	}
	return ok
}

// Forget implements [relay.Schedule].
func (s *schedule) Forget(id string) { s.poller.Remove(id) }

// feed lets the relay follow payments on realtime's Feed.
type feed struct {
	feed *realtime.Feed
	keys *keyMinter
}

// Follow implements [relay.Feed].
func (f feed) Follow(p relay.Payment) {
	f.feed.Follow(realtime.Target{ID: p.ID, SessionID: p.SessionID, SourceType: p.SourceType, ReferenceID: p.ReferenceID})
}

// Unfollow implements [relay.Feed].
func (f feed) Unfollow(id string) { f.feed.Unfollow(id) }

// Rejoin implements [relay.Feed].
func (f feed) Rejoin(id string) { f.feed.Rejoin(id, missed) }

// Hurry implements [relay.Feed].
func (f feed) Hurry(id string) {
	f.keys.hurry(id)
	f.feed.Hurry(id)
}

// missed is why a channel is joined again after others saw a change first.
const missed = "missed"

// keyMinter mints realtime keys for the feed, pages and backends, behind a breaker of its own:
// trouble with keys must not stop the questions.
type keyMinter struct {
	client   *dollr.Client
	breaker  *fallback.Breaker
	config   Config
	pageOpen func(paymentID string) bool

	mu      sync.Mutex
	waiting map[string]*dollr.Ticket // of the feed's keys, by payment
}

func newKeyMinter(client *dollr.Client, config Config, m *metrics, pageOpen func(string) bool) *keyMinter {
	return &keyMinter{
		client: client, config: config, pageOpen: pageOpen, waiting: map[string]*dollr.Ticket{},
		breaker: fallback.NewBreaker(func(_, to fallback.State) { m.breaker("realtime_key", to) }),
	}
}

// RealtimeKey implements [realtime.Keys].
func (k *keyMinter) RealtimeKey(ctx context.Context, t realtime.Target) (realtime.Key, error) {
	ticket := dollr.NewTicket(dollr.UrgentYoung)
	defer k.wait(t.ID, ticket)()
	if k.pageOpen(t.ID) { // one that is opened from here on hurries the ticket
		ticket.Raise(dollr.UrgentPageKey)
	}
	key, err := k.mint(ctx, dollr.KeyRequest{SessionID: t.SessionID, SourceType: t.SourceType, ReferenceID: t.ReferenceID}, ticket)
	return realtime.Key{Token: key.Token, Lifetime: key.ExpiresIn}, err
}

// wait keeps the ticket of a payment's key until done.
func (k *keyMinter) wait(id string, t *dollr.Ticket) (done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting[id] = t
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.waiting[id] == t {
			delete(k.waiting, id)
		}
	}
}

// hurry makes a payment's key as urgent as that of an open page, if it waits for the budget.
func (k *keyMinter) hurry(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.waiting[id]; t != nil {
		t.Raise(dollr.UrgentPageKey)
	}
}

// MintKey implements [api.KeyMinter].
func (k *keyMinter) MintKey(ctx context.Context, r api.KeyRequest) (api.RealtimeKey, error) {
	urgency := dollr.UrgentYoung
	if r.OpenPage {
		urgency = dollr.UrgentPageKey
	}
	key, err := k.mint(ctx, dollr.KeyRequest{SessionID: r.SessionID, SourceType: r.SourceType, ReferenceID: r.ReferenceID}, dollr.NewTicket(urgency))
	if err != nil {
		return api.RealtimeKey{}, askError(err)
	}
	target := realtime.Target{SessionID: r.SessionID, ReferenceID: r.ReferenceID}
	return api.RealtimeKey{
		AccessToken: key.Token.Reveal(), ExpiresIn: int64(key.ExpiresIn.Seconds()),
		SupabaseURL: k.config.SupabaseURL, AnonKey: k.config.SupabaseAnonKey.Reveal(),
		Topic: target.Topic(), Schema: realtime.Schema, Table: realtime.Table, Filter: target.Filter(),
	}, nil
}

func (k *keyMinter) mint(ctx context.Context, r dollr.KeyRequest, t *dollr.Ticket) (key dollr.Key, err error) {
	err = k.breaker.Do(t, func() error {
		key, err = k.client.RealtimeKey(ctx, r, t)
		return err
	})
	if err != nil {
		return dollr.Key{}, fmt.Errorf("mint realtime key: %w", err)
	}
	return key, nil
}
