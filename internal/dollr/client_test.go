package dollr_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

func TestNew_namesEveryBadField(t *testing.T) {
	t.Parallel()
	_, err := dollr.New(dollr.Options{BaseURL: "http://api.heydollr.app", Rate: -1})
	if err == nil {
		t.Fatal("New() = nil error, want one")
	}
	for _, field := range []string{"BaseURL", "ClientID", "ClientSecret", "Rate"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("error %q does not name %s", err, field)
		}
	}
}

func TestNew_plainHTTPOnlyOnLoopback(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url string
		ok  bool
	}{
		{"", true},
		{"https://api.heydollr.app", true},
		{"https://api.heydollr.app/", true},
		{"http://localhost:8090", true},
		{"http://127.0.0.1:8090", true},
		{"http://127.9.9.9", true},
		{"http://[::1]:8090", true},
		{"http://localhost.evil.example", false},
		{"http://10.0.0.1", false},
		{"http://0.0.0.0:8090", false},
		{"http://api.heydollr.app", false},
		{"ftp://localhost", false},
		{"api.heydollr.app", false},
		{"https://", false},
		{"https://:443", false},
		{"https://user:pass@api.heydollr.app", false},
		{"https://api.heydollr.app?x=1", false},
		{"://", false},
	}
	for _, tt := range tests {
		_, err := dollr.New(dollr.Options{BaseURL: tt.url, ClientID: "id", ClientSecret: secret.New("s")})
		if (err == nil) != tt.ok {
			t.Errorf("New(BaseURL %q) = %v, want it accepted: %t", tt.url, err, tt.ok)
		}
	}
}

func TestStatus_U13_U15_codesBecomeReasons(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code    int
		reason  string
		counts  bool
		passing bool // may go away by itself
	}{
		{204, dollr.ReasonUnreadable, true, true},
		{206, dollr.ReasonUnreadable, true, true},
		{301, dollr.ReasonUnreadable, true, true},
		{302, dollr.ReasonUnreadable, true, true},
		{304, dollr.ReasonUnreadable, true, true},
		{400, dollr.ReasonRefused, false, false},
		{401, dollr.ReasonRefused, false, false},
		{403, dollr.ReasonRefused, false, false},
		{404, dollr.ReasonNotFound, false, true},
		{408, dollr.ReasonUnreachable, false, true},
		{410, dollr.ReasonNotFound, false, true},
		{422, dollr.ReasonRefused, false, false},
		{429, dollr.ReasonRateLimited, false, true},
		{500, dollr.ReasonUnreachable, true, true},
		{502, dollr.ReasonUnreachable, true, true},
		{503, dollr.ReasonUnreachable, true, true},
		{504, dollr.ReasonUnreachable, true, true},
		{599, dollr.ReasonUnreachable, true, true},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.code), func(t *testing.T) {
			t.Parallel()
			srv := dollrtest.Start(t, dollrtest.Options{})
			put(t, srv, "COMPLETED")
			addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: tt.code})
			c := newClient(t, srv, nil)
			_, err := c.Status(t.Context(), collection(), nil)
			failure := wantError(t, err, tt.reason)
			if failure.Code != tt.code {
				t.Errorf("Code = %d, want %d", failure.Code, tt.code)
			}
			if got := failure.CountsForBreaker(); got != tt.counts {
				t.Errorf("CountsForBreaker() = %t for %d, want %t", got, tt.code, tt.counts)
			}
			if got := failure.Temporary(); got != tt.passing {
				t.Errorf("Temporary() = %t for %d, want %t", got, tt.code, tt.passing)
			}
		})
	}
}

func TestStatus_unknownPaymentIsNotFound(t *testing.T) {
	t.Parallel()
	c := newClient(t, dollrtest.Start(t, dollrtest.Options{}), nil)
	_, err := c.Status(t.Context(), collection(), nil)
	failure := wantError(t, err, dollr.ReasonNotFound)
	if want := "Execution not found"; failure.Detail != want {
		t.Errorf("Detail = %q, want %q", failure.Detail, want)
	}
}

func TestStatus_errorDetailNamesTheField(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 422})
	_, err := newClient(t, srv, nil).Status(t.Context(), collection(), nil)
	if got, want := wantError(t, err, dollr.ReasonRefused).Detail, "body.currency: field required"; got != want {
		t.Errorf("Detail = %q, want %q", got, want)
	}
}

func TestStatus_U13_brokenBodiesAndConnections(t *testing.T) {
	t.Parallel()
	tests := []struct{ kind, reason string }{
		{dollrtest.FaultHTML, dollr.ReasonUnreadable},
		{dollrtest.FaultEmpty, dollr.ReasonUnreadable},
		{dollrtest.FaultTruncated, dollr.ReasonUnreadable},
		{dollrtest.FaultOversize, dollr.ReasonUnreadable},
		{dollrtest.FaultAnotherID, dollr.ReasonUnreadable},
		{dollrtest.FaultNoID, dollr.ReasonUnreadable},
		{dollrtest.FaultNoStatus, dollr.ReasonUnreadable},
		{dollrtest.FaultSplit, dollr.ReasonUnreadable},
		{dollrtest.FaultTwice, dollr.ReasonUnreadable},
		{dollrtest.FaultDrop, dollr.ReasonUnreachable},
		{dollrtest.FaultHang, dollr.ReasonUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := dollrtest.Start(t, dollrtest.Options{})
				put(t, srv, "COMPLETED")
				// Twice: net/http repeats a GET by itself when a reused connection turns out to be closed.
				addFault(t, srv, dollrtest.Fault{Kind: tt.kind, Endpoint: dollrtest.AnyStatus})
				c := newClient(t, srv, nil)
				_, err := c.Status(t.Context(), collection(), nil)
				if !wantError(t, err, tt.reason).CountsForBreaker() {
					t.Error("CountsForBreaker() = false, want true")
				}
				srv.ClearFaults()
				if got, err := c.Status(t.Context(), collection(), nil); err != nil || got.Word != "COMPLETED" {
					t.Errorf("after the fault: Status() = %+v, %v, want COMPLETED", got, err)
				}
			})
		})
	}
}

func TestStatus_acceptsBothShapesAndStrings(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	put(t, srv, "COMPLETED")
	for _, kind := range []string{dollrtest.FaultWrap, dollrtest.FaultStrings} {
		srv.ClearFaults()
		addFault(t, srv, dollrtest.Fault{Kind: kind}) // tokens too
		got, err := newClient(t, srv, nil).Status(t.Context(), collection(), nil)
		if err != nil || got.Word != "COMPLETED" || got.Amounts["payee_amount"] != "250.00" {
			t.Errorf("%s: Status() = %+v, %v, want COMPLETED with payee_amount 250.00", kind, got, err)
		}
	}
}

func TestRealtimeKey_secondsAndFields(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{KeyLife: 300 * time.Second})
	c := newClient(t, srv, nil)
	key, err := c.RealtimeKey(t.Context(), dollr.KeyRequest{SessionID: 55, SourceType: "INVOICE", ReferenceID: ref}, dollr.NewTicket(dollr.UrgentPageKey))
	if err != nil {
		t.Fatal(err)
	}
	if key.ExpiresIn != 300*time.Second {
		t.Errorf("ExpiresIn = %s, want 5m0s: the endpoint tells seconds", key.ExpiresIn)
	}
	if strings.Count(key.Token.Reveal(), ".") != 2 {
		t.Error("the key is no JWT")
	}

	_, err = c.RealtimeKey(t.Context(), dollr.KeyRequest{SessionID: 55, SourceType: "CART", ReferenceID: ref}, dollr.NewTicket(dollr.UrgentPageKey))
	if got := wantError(t, err, dollr.ReasonRefused).Detail; !strings.HasPrefix(got, "body.source_type: ") {
		t.Errorf("Detail = %q, want it to name body.source_type", got)
	}
}

func TestRealtimeKey_refusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		``, `{}`, `{"access_token":"a"}`, `{"access_token":"","expires_in":300}`, `{"access_token":"a b","expires_in":300}`,
		`{"access_token":7,"expires_in":300}`, `{"access_token":"a","expires_in":0}`, `{"access_token":"a","expires_in":-5}`,
		`{"access_token":"a","expires_in":"soon"}`, `{"access_token":"a\r\nX-Evil: 1","expires_in":300}`,
	} {
		srv := dollrtest.Start(t, dollrtest.Options{})
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultBody, Endpoint: dollrtest.RealtimeKey, Body: body})
		_, err := newClient(t, srv, nil).RealtimeKey(t.Context(), dollr.KeyRequest{SessionID: 1, SourceType: "ORDER", ReferenceID: ref}, dollr.NewTicket(dollr.UrgentPageKey))
		if err == nil {
			t.Errorf("RealtimeKey() accepted %s", body)
			continue
		}
		wantReason(t, err, dollr.ReasonUnreadable)
	}
}

func TestClient_neverShowsASecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const clientSecret, cardSecret = "cs_live_very_secret", "pi_3ds_client_secret"
		log := &syncBuffer{}
		srv := dollrtest.Start(t, dollrtest.Options{ClientSecret: clientSecret})
		err := srv.Put(dollrtest.Payment{
			Operation: dollrtest.Collection, ReferenceID: ref, Status: "PENDING", ClientSecret: cardSecret, GatewayMessage: "call Jane Doe",
		})
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, srv, func(o *dollr.Options) {
			o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		var shown []string
		ask := func() {
			status, err := c.Status(t.Context(), collection(), nil)
			shown = append(shown, fmt.Sprintf("%+v %v %#v", status, err, err))
		}
		ask()
		for _, f := range []dollrtest.Fault{
			{Kind: dollrtest.FaultBody, Code: 400, Body: `{"detail":"bad secret ` + clientSecret + `"}`},
			{Kind: dollrtest.FaultAnotherID, Endpoint: dollrtest.AnyStatus},
			{Kind: dollrtest.FaultCode, Code: 401},
			{Kind: dollrtest.FaultCode, Code: 429, RetryAfter: "1"},
			{Kind: dollrtest.FaultDrop},
		} {
			srv.ClearFaults()
			addFault(t, srv, f)
			ask()
			srv.RevokeTokens()
			ask()
			time.Sleep(time.Minute)
		}
		shown = append(shown, log.String(), fmt.Sprintf("%+v", c))
		for _, text := range shown {
			for _, private := range []string{clientSecret, cardSecret, "tok_", "Jane Doe"} {
				if strings.Contains(text, private) {
					t.Errorf("%q shows %q", text, private)
				}
			}
		}
	})
}

func TestClient_observesEveryRequest(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	var mu sync.Mutex
	var seen []string
	c := newClient(t, srv, func(o *dollr.Options) {
		o.Observe = func(r dollr.Observation) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, r.Endpoint+" "+r.Result)
		}
	})
	_, _ = c.Status(t.Context(), collection(), nil)
	put(t, srv, "PENDING")
	_, _ = c.Status(t.Context(), collection(), nil)
	_, _ = c.RealtimeKey(t.Context(), dollr.KeyRequest{SessionID: 1, SourceType: "ORDER", ReferenceID: ref}, dollr.NewTicket(dollr.UrgentPageKey))
	want := "token ok, collection not_found, collection ok, realtime_key ok"
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("observed %q, want %q", got, want)
	}
}
