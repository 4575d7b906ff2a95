package sim

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/pipenet"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
	"github.com/dollr-relay/dollr-relay/relay"
)

// cardSecret is what Dollr tells with some payments, and what the relay must not keep.
const cardSecret = "pi_card_secret_that_nobody_may_keep"

// bank is Dollr: the API and the realtime service, with all that goes wrong with them.
type bank struct {
	world    *world
	api      *dollrtest.Server
	realtime *realtimetest.Server
	anonKey  string

	mu    sync.Mutex
	count map[string]int // requests by endpoint and payment
}

func newBank(w *world) *bank {
	b := &bank{world: w, count: map[string]int{}}
	b.api = dollrtest.New(dollrtest.Options{KeyLife: w.plan.keyLife, Fault: func(r *http.Request) (dollrtest.Fault, bool) {
		f, ok := r.Context().Value(faultKey{}).(dollrtest.Fault)
		return f, ok
	}})
	b.realtime = realtimetest.New(realtimetest.Options{JWTSecret: secret.New(dollrtest.JWTSecret), PollInterval: 7 * time.Millisecond, OnFrame: w.referee.frame})
	b.anonKey = b.realtime.Token(24 * time.Hour)
	w.referee.keep(b.anonKey)
	return b
}

// open serves both services. The returned function closes them.
func (b *bank) open(servers *sync.WaitGroup) func() {
	ends := []func(){
		b.world.serve(bankHost, b, servers),
		b.world.serve(supabaseHost, b.realtime, servers),
	}
	return func() {
		b.realtime.Close()
		for _, end := range ends {
			end()
		}
	}
}

// serve makes a handler reachable under a host name.
func (w *world) serve(host string, h http.Handler, servers *sync.WaitGroup) func() {
	listener := pipenet.Listen(host)
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	servers.Go(func() { _ = server.Serve(door{listener, w.outside}) })
	w.net.serve(host, listener)
	return func() { _ = server.Close() }
}

// key names an order at Dollr.
func (o *order) key() string {
	if o.operation == relay.Source {
		return dollrtest.SourceKey(o.sourceTyp, o.sourceID)
	}
	return dollrtest.ExecutionKey(string(o.operation), o.reference)
}

// play lets an order happen at Dollr.
func (b *bank) play(ctx context.Context, o *order) {
	if !b.world.sleepUntil(ctx, o.created) {
		return
	}
	p := dollrtest.Payment{
		Operation: string(o.operation), ReferenceID: o.reference, SessionID: o.session, SourceType: o.sourceTyp, SourceID: o.sourceID, ClientSecret: cardSecret,
	}
	money(&p, "right")
	if err := b.api.Put(p); err != nil {
		b.world.referee.fail("simulator", "put %s: %v", o.key(), err)
		return
	}
	b.world.history.note("dollr", "order %d exists", o.number)
	b.tell(o, "PENDING") //nolint:contextcheck // the stand-in has its own
	for _, s := range o.steps {
		if !b.world.sleepUntil(ctx, s.at) {
			return
		}
		b.world.history.note("dollr", "order %d: %s", o.number, s)
		if !s.forged {
			if err := b.api.Change(o.key(), func(p *dollrtest.Payment) { p.Status = s.status; money(p, s.money) }); err != nil {
				b.world.referee.fail("simulator", "change %s: %v", o.key(), err)
			}
		}
		if !s.silent {
			b.tell(o, s.status) //nolint:contextcheck // likewise
		}
	}
}

// tell changes the row that realtime tells of.
func (b *bank) tell(o *order, status string) {
	if o.session == 0 {
		return
	}
	b.realtime.Change(realtimetest.Row{
		"reference_id": o.reference, "session_id": o.session, "status": status,
		"updated_at": time.Now().UTC().Format(time.RFC3339Nano),
	})
}

// money sets the amounts of an answer.
func money(p *dollrtest.Payment, kind string) {
	payer, payee, currency := "255.00", "250.00", "USD"
	switch kind {
	case "wrong":
		payer, payee = "5.10", "5"
	case "foreign":
		currency = "CDF"
	case "none":
		payer, payee, currency = "", "", ""
	}
	if p.Operation == dollrtest.Source {
		p.TotalAmount, p.Currency = payee, currency
		return
	}
	p.PayerAmount, p.PayerCurrency, p.PayeeAmount, p.PayeeCurrency = payer, currency, payee, currency
}

type faultKey struct{}

// ServeHTTP answers a request to the API, after its way here and before its way back.
func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Read to its end before anything else: until then net/http does not notice that the client has gone.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	what, key := endpoint(r)
	b.mu.Lock()
	b.count[what+key]++
	n := b.count[what+key]
	b.mu.Unlock()
	process := r.Header.Get(processHeader)
	draw := b.world.dice.roll("answer", what, key, n)
	fault, faulty := b.fault(draw, what, process)
	question := b.world.referee.asked(process, what, key)
	a := &answer{header: http.Header{}}
	defer func() { //nolint:contextcheck // it is asked whether the request has ended
		if a.code == 0 {
			b.world.history.note("dollr", "%s %s: no answer (%s)", what, short(key), fault.Kind)
			b.world.referee.answered(question, r.Context(), a, false)
		}
	}()
	if p := b.world.current(); p != nil && what == "status" {
		p.reached("dollr_asked")
	}
	there, back := b.travel(draw)
	if !sleep(r.Context(), there) {
		return
	}
	if faulty {
		r = r.WithContext(context.WithValue(r.Context(), faultKey{}, fault))
	}
	var whole answer
	whole.header = http.Header{}
	b.api.ServeHTTP(&whole, r)
	b.world.referee.served(key, &whole, honest(fault, faulty))
	if !sleep(r.Context(), back) {
		return
	}
	*a = whole
	b.world.history.note("dollr", "%s %s for relay#%s: %d %s %s", what, short(key), process, a.code, fault.Kind, a.word())
	b.world.referee.answered(question, r.Context(), a, honest(fault, faulty))
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.code)
	_, _ = w.Write(a.body.Bytes())
}

// endpoint is what a request asks for: token, key or status, and of which payment.
func endpoint(r *http.Request) (what, key string) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	switch {
	case path == "status/source":
		return "status", dollrtest.Source + ":" + r.URL.Query().Get("source_type") + ":" + r.URL.Query().Get("source_id")
	case strings.HasPrefix(path, "status/"):
		return "status", strings.ReplaceAll(strings.TrimPrefix(path, "status/"), "/", ":")
	case strings.HasPrefix(path, "realtime-keys"):
		return "key", ""
	}
	return "token", ""
}

// short is a key for people.
func short(key string) string {
	if len(key) > 24 {
		return key[:24]
	}
	return key
}

// answer is a whole answer before it is sent.
type answer struct {
	code   int
	header http.Header
	body   bytes.Buffer
}

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(code int) { a.code = code }

// Write implements [http.ResponseWriter].
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// retryAfter is how long a 429 asks for, in seconds; 0 if it does not say.
func (a *answer) retryAfter() time.Duration {
	seconds, _ := strconv.Atoi(a.header.Get("Retry-After"))
	return time.Duration(seconds) * time.Second
}
