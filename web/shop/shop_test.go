package shop_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/web/shop"
)

// deployment is a shop beside the real sandbox and a relay that takes every registration: callbacks are the test's own,
// so that it may forge and repeat them.
type deployment struct {
	t      *testing.T
	url    string
	secret callback.Secret
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	box := sandbox.New(sandbox.Options{})
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- box.Run(ctx) }()
	standIns := httptest.NewServer(box.Handler())
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"pay_1","page":{"token":"t"}}`)
	}))
	text := callback.NewSecretText()
	signing, err := callback.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := shop.New(shop.Options{
		RelayURL: relay.URL, APIKey: secret.New("key"), SandboxURL: standIns.URL, CallbackSecret: text,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		server.Close()
		relay.Close()
		standIns.Close()
		stop()
		if err := <-stopped; err != nil {
			t.Errorf("sandbox: %v", err)
		}
	})
	return &deployment{t: t, url: server.URL, secret: signing}
}

// send makes a request and returns the answer without following redirects.
func (d *deployment) send(r *http.Request) *http.Response {
	d.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func (d *deployment) request(method, to string, body io.Reader) *http.Request {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.url+to, body)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// order buys the lamp and returns the order's number.
func (d *deployment) order() string {
	d.t.Helper()
	r := d.request(http.MethodPost, "/demo/checkout", strings.NewReader(url.Values{"product": {"lamp"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := d.send(r)
	if answer.StatusCode != http.StatusSeeOther {
		d.t.Fatalf("checkout answered %d, want %d", answer.StatusCode, http.StatusSeeOther)
	}
	return path.Base(answer.Header.Get("Location"))
}

// call delivers a callback of that id and type for an order, signed with a secret.
func (d *deployment) call(id, kind, order string, with callback.Secret) int {
	d.t.Helper()
	body := fmt.Sprintf(`{"type":%q,"timestamp":"2026-11-22T10:00:00Z","data":{"id":"pay_1","metadata":{"order":%q}}}`, kind, order)
	now := time.Now()
	r := d.request(http.MethodPost, "/demo/hooks/dollr", strings.NewReader(body))
	r.Header.Set(callback.HeaderID, id)
	r.Header.Set(callback.HeaderTimestamp, fmt.Sprint(now.Unix()))
	r.Header.Set(callback.HeaderSignature, callback.Sign(id, now, []byte(body), []callback.Secret{with}))
	return d.send(r).StatusCode
}

// state reads the order's state and how many callbacks it got, as its page would.
func (d *deployment) state(order string) (state string, received int) {
	d.t.Helper()
	answer := d.send(d.request(http.MethodGet, "/demo/orders/"+order+"/events", http.NoBody))
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	if err != nil {
		d.t.Fatal(err)
	}
	var o struct {
		State    string            `json:"state"`
		Received []json.RawMessage `json:"received"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &o); err != nil {
		d.t.Fatal(err)
	}
	return o.State, len(o.Received)
}

func TestShop_onlyVerifiedCallbacksCount(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	order := d.order()
	foreign, err := callback.ParseSecret(callback.NewSecretText())
	if err != nil {
		t.Fatal(err)
	}
	if code := d.call("evt_1", "payment.succeeded", order, foreign); code != http.StatusUnauthorized {
		t.Errorf("a forged callback was answered %d, want %d", code, http.StatusUnauthorized)
	}
	if state, received := d.state(order); state != "awaiting payment" || received != 0 {
		t.Errorf("after a forged callback the order is %q with %d callbacks, want it awaiting payment with none", state, received)
	}
	if code := d.call("evt_1", "payment.succeeded", order, d.secret); code != http.StatusNoContent {
		t.Errorf("a genuine callback was answered %d, want %d", code, http.StatusNoContent)
	}
	if state, _ := d.state(order); state != "fulfilled" {
		t.Errorf("after a genuine callback the order is %q, want fulfilled", state)
	}
}

func TestShop_decidesPerOrder(t *testing.T) {
	t.Parallel()
	type event struct{ id, kind string }
	tests := []struct {
		name   string
		events []event
		want   string
	}{
		{"a success fulfils", []event{{"1", "payment.succeeded"}}, "fulfilled"},
		{"a failure releases the goods", []event{{"1", "payment.failed"}}, "released"},
		{"so does a canceled payment", []event{{"1", "payment.canceled"}}, "released"},
		{"another amount is for a person", []event{{"1", "payment.mismatch"}}, "on hold"},
		{"a late success counts", []event{{"1", "payment.failed"}, {"2", "payment.succeeded"}}, "fulfilled"},
		{"a repeated failure does not undo a success", []event{{"1", "payment.failed"}, {"2", "payment.succeeded"}, {"1", "payment.failed"}}, "fulfilled"},
		{"a refund fulfils nothing", []event{{"1", "refund.succeeded"}}, "awaiting payment"},
		{"nor does a type that is not known yet", []event{{"1", "payment.imagined"}}, "awaiting payment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := deploy(t)
			order := d.order()
			for _, e := range tt.events {
				if code := d.call(e.id, e.kind, order, d.secret); code != http.StatusNoContent {
					t.Fatalf("%s was answered %d, want %d", e.kind, code, http.StatusNoContent)
				}
			}
			state, received := d.state(order)
			if state != tt.want || received != len(tt.events) {
				t.Errorf("the order is %q with %d callbacks, want %q with %d", state, received, tt.want, len(tt.events))
			}
		})
	}
}

func TestShop_acknowledgesOrdersOfAnEarlierRun(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	if code := d.call("evt_1", "payment.succeeded", "7", d.secret); code != http.StatusNoContent {
		t.Errorf("a callback of a forgotten order was answered %d, want %d: it would come again for days", code, http.StatusNoContent)
	}
}

func TestShop_refusesFormsOfOtherSites(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	r := d.request(http.MethodPost, "/demo/checkout", http.NoBody)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if answer := d.send(r); answer.StatusCode != http.StatusForbidden {
		t.Errorf("another site's form was answered %d, want %d", answer.StatusCode, http.StatusForbidden)
	}
}

func TestNew_refusesBadOptions(t *testing.T) {
	t.Parallel()
	good := shop.Options{RelayURL: "http://r", SandboxURL: "http://s", APIKey: secret.New("k"), CallbackSecret: callback.NewSecretText()}
	for name, spoil := range map[string]func(*shop.Options){
		"no relay":            func(o *shop.Options) { o.RelayURL = "" },
		"no sandbox":          func(o *shop.Options) { o.SandboxURL = "" },
		"no key":              func(o *shop.Options) { o.APIKey = secret.Value{} },
		"bad callback secret": func(o *shop.Options) { o.CallbackSecret = "whsec_x" },
	} {
		opts := good
		spoil(&opts)
		if _, err := shop.New(opts); err == nil {
			t.Errorf("New() took options with %s", name)
		}
	}
	if _, err := shop.New(good); err != nil {
		t.Errorf("New() = %v with good options", err)
	}
}
