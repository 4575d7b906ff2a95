package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// patience is how long a backend waits for an answer of the relay.
const patience = 70 * time.Second

// merchant is the backend of one order: it registers the payment, asks for it, and has the relay verify it.
type merchant struct {
	world      *world
	order      *order
	id         string
	http       *http.Client
	registered chan struct{} // closed when the relay has acknowledged the registration
}

func newMerchant(w *world, o *order) *merchant {
	return &merchant{world: w, order: o, id: o.id(), http: w.client(), registered: make(chan struct{})}
}

// id is the payment's id, which follows from what it is.
func (o *order) id() string {
	if o.operation == relay.Source {
		return relay.PaymentID(o.operation, "", o.sourceTyp, o.sourceID)
	}
	return relay.PaymentID(o.operation, o.reference, "", 0)
}

func (m *merchant) run(ctx context.Context) {
	if !m.world.sleepUntil(ctx, m.order.register) {
		return
	}
	draw := m.world.dice.roll("merchant", m.order.number)
	for !m.register(ctx) {
		if !sleep(ctx, between(draw, 200*time.Millisecond, 2*time.Second)) {
			return
		}
	}
	close(m.registered)
	type call struct {
		at time.Duration
		do func(context.Context)
	}
	var calls []call
	for _, at := range m.order.again {
		calls = append(calls, call{at, func(ctx context.Context) { m.register(ctx) }})
	}
	for _, at := range m.order.verify {
		calls = append(calls, call{at, m.verify}, call{at + 3*time.Second, func(ctx context.Context) { m.read(ctx) }})
	}
	slices.SortStableFunc(calls, func(a, b call) int { return int(a.at - b.at) })
	for _, c := range calls {
		if !m.world.sleepUntil(ctx, c.at) {
			return
		}
		c.do(ctx)
	}
}

// register reports whether the relay has taken the payment on.
func (m *merchant) register(ctx context.Context) bool {
	o := m.order
	body := map[string]any{"operation": o.operation, "callback_url": m.world.shops[o.shop].url(), "watch_for": o.watchFor.String(), "metadata": map[string]string{"order": fmt.Sprint(o.number)}}
	if o.operation != relay.Source {
		body["reference_id"] = strings.ToUpper(o.reference)
	}
	if o.session != 0 {
		body["session_id"] = o.session
	}
	if o.sourceTyp != "" {
		body["source_type"], body["source_id"] = o.sourceTyp, o.sourceID
	}
	if o.expected {
		body["expected"] = map[string]string{"amount": o.amount(), "currency": "USD", "side": o.side}
		if o.side == "" {
			body["expected"] = map[string]string{"amount": o.amount(), "currency": "USD"}
		}
	}
	m.world.referee.registers(o, m.world.wall())
	m.world.referee.pokes(o)
	code, p := m.world.call(ctx, m.http, http.MethodPost, "/v1/payments", body)
	if code != http.StatusCreated && code != http.StatusOK {
		return false
	}
	m.world.referee.registered(o, p)
	m.world.referee.read("POST /v1/payments", p, 0)
	return true
}

// amount is what the merchant expects.
func (o *order) amount() string {
	if o.side == "payer" && o.operation != relay.Source {
		return "255"
	}
	return "250.0"
}

func (m *merchant) verify(ctx context.Context) {
	m.world.referee.pokes(m.order)
	floor := m.world.referee.floor(m.id)
	code, p := m.world.call(ctx, m.http, http.MethodPost, "/v1/payments/"+m.id+"/verify", nil)
	if code == http.StatusOK {
		m.world.referee.read("verify", p, floor)
	}
}

// read asks for the payment. Nil: the relay did not answer.
func (m *merchant) read(ctx context.Context) *state {
	floor := m.world.referee.floor(m.id)
	code, p := m.world.call(ctx, m.http, http.MethodGet, "/v1/payments/"+m.id, nil)
	if code == http.StatusNotFound {
		m.world.referee.missing(m.order)
	}
	if code != http.StatusOK {
		return nil
	}
	return m.world.referee.read("GET /v1/payments/…", p, floor)
}

// token gets a fresh page token.
func (m *merchant) token(ctx context.Context) string {
	_, body := m.world.call(ctx, m.http, http.MethodPost, "/v1/payments/"+m.id+"/page-token", nil)
	var answer struct{ Page struct{ Token string } }
	_ = json.Unmarshal(body, &answer) // no token then
	return answer.Page.Token
}

// call asks the relay for something. Code 0: no answer.
func (w *world) call(ctx context.Context, client *http.Client, method, path string, body any) (code int, answer []byte) {
	return w.callHost(ctx, client, relayHost, method, path, body)
}

func (w *world) callHost(ctx context.Context, client *http.Client, host, method, path string, body any) (code int, answer []byte) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			w.referee.fail("simulator", "encode: %v", err)
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, content)
	if err != nil {
		w.referee.fail("simulator", "request: %v", err)
		return 0, nil
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil
	}
	w.referee.secrets(method+" "+path, string(answer))
	if resp.StatusCode >= 400 || method != http.MethodGet {
		w.history.note("api", "%s %s = %d", method, path, resp.StatusCode)
	}
	if resp.StatusCode == http.StatusInternalServerError {
		w.referee.fail("answers", "%s %s is answered with 500", method, path)
	}
	return resp.StatusCode, answer
}

// operate is an operator who looks and meddles.
func (w *world) operate(ctx context.Context) {
	draw := w.dice.roll("operator")
	client := w.client()
	for range draw.IntN(4) {
		if !sleep(ctx, between(draw, time.Second, w.plan.lasts/3)) || w.now() > w.plan.lasts {
			return
		}
		switch draw.IntN(3) {
		case 0:
			w.call(ctx, client, http.MethodPost, "/v1/reconcile", nil)
		default:
			_, body := w.call(ctx, client, http.MethodGet, "/v1/callbacks", nil)
			var list struct{ Data []struct{ ID string } }
			if json.Unmarshal(body, &list) != nil || len(list.Data) == 0 {
				continue
			}
			id := list.Data[draw.IntN(len(list.Data))].ID
			w.referee.redelivered(id)
			w.call(ctx, client, http.MethodPost, "/v1/callbacks/"+id+"/redeliver", nil)
		}
	}
}

// feedReader is a backend that pulls the event feed.
type feedReader struct {
	world  *world
	cursor string
	ids    []string
}

func (f *feedReader) run(ctx context.Context) {
	draw := f.world.dice.roll("feed")
	client := f.world.client()
	for ctx.Err() == nil {
		if !f.pull(ctx, client, "20s") {
			sleep(ctx, between(draw, 100*time.Millisecond, 3*time.Second))
		}
	}
}

// entry is one entry of the event feed.
type entry struct {
	Cursor, ID, Type string
	Data             json.RawMessage
}

// pull reads the next entries. It reports whether the relay answered.
func (f *feedReader) pull(ctx context.Context, client *http.Client, wait string) bool {
	code, body := f.world.call(ctx, client, http.MethodGet, "/v1/events?limit=3&wait="+wait+"&after="+url.QueryEscape(f.cursor), nil)
	if code == http.StatusGone {
		f.world.referee.fail("keeps the feed", "the cursor %q that the relay gave out is unknown to it now", f.cursor)
	}
	var page struct {
		Data       []entry
		NextCursor string `json:"next_cursor"`
	}
	if code != http.StatusOK || json.Unmarshal(body, &page) != nil {
		return false
	}
	for _, e := range page.Data {
		f.world.history.note("feed", "%s of order %d", e.Type, f.world.referee.number(e.Data))
		f.world.referee.fed(e, f.ids)
		f.world.referee.mu.Lock()
		f.ids = append(f.ids, e.ID)
		f.world.referee.mu.Unlock()
	}
	f.cursor = page.NextCursor
	return true
}

// has is what the reader has got so far.
func (f *feedReader) has() []string {
	f.world.referee.mu.Lock()
	defer f.world.referee.mu.Unlock()
	return slices.Clone(f.ids)
}

// pullQuietly reads the next entries at once, without telling the history.
func (f *feedReader) pullQuietly(ctx context.Context, client *http.Client) bool {
	code, body := f.world.call(ctx, client, http.MethodGet, "/v1/events?limit=100&after="+url.QueryEscape(f.cursor), nil)
	var page struct {
		Data       []entry
		NextCursor string `json:"next_cursor"`
	}
	if code != http.StatusOK || json.Unmarshal(body, &page) != nil {
		return false
	}
	for _, e := range page.Data {
		f.ids = append(f.ids, e.ID)
	}
	f.cursor = page.NextCursor
	return true
}
