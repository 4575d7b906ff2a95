package dollrtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

const ref = "550e8400-e29b-41d4-a716-446655440000"

// send makes a request and returns the code, the header and the body.
func send(t *testing.T, srv *dollrtest.Running, method, path, token, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// obtain gets an access token.
func obtain(t *testing.T, srv *dollrtest.Running) string {
	t.Helper()
	_, _, body := send(t, srv, http.MethodPost, "/v1/jwt/client/obtain/token", "",
		`{"client_id":"`+dollrtest.ClientID+`","client_secret":"`+dollrtest.ClientSecret+`"}`)
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("no token in %q: %v", body, err)
	}
	if answer.ExpiresIn != 60 {
		t.Errorf("expires_in is %d for an hour, want 60: minutes", answer.ExpiresIn)
	}
	return answer.AccessToken
}

func TestServer_answersAsDocumented(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	err := srv.Put(dollrtest.Payment{
		Operation: dollrtest.Collection, ReferenceID: ref, Status: "COMPLETED",
		PayerAmount: "255.00", PayerCurrency: "USD", PayeeAmount: "250.00", PayeeCurrency: "USD", ClientSecret: "pi_secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	err = srv.Put(dollrtest.Payment{Operation: dollrtest.Source, SourceType: "INVOICE", SourceID: 101, TotalAmount: "250.00", Currency: "USD"})
	if err != nil {
		t.Fatal(err)
	}
	const keys, status = "/v1/realtime-keys/collection", "/v1/status/collection/"
	tests := []struct {
		name, method, path string
		anonymous          bool
		body               string
		code               int
		want               string // in the body
	}{
		{"token without id", "POST", "/v1/jwt/client/obtain/token", true, `{}`, 422, `"loc":["body","client_id"],"msg":"field required"`},
		{"wrong secret", "POST", "/v1/jwt/client/obtain/token", true, `{"client_id":"client_sandbox","client_secret":"x"}`, 401, `{"detail":"Could not validate credentials"}`},
		{"no token", "GET", status + ref, true, "", 401, `{"detail":"Not authenticated"}`},
		{"execution", "GET", status + ref, false, "", 200, `"payee_amount":250.00,"payee_currency":"USD"`},
		{"its id", "GET", status + strings.ToUpper(ref), false, "", 200, `"reference_id":"` + ref + `"`},
		{"its operation", "GET", status + ref, false, "", 200, `"operation_type":"COLLECTION"`},
		{"3-D Secure", "GET", status + ref, false, "", 200, `"client_secret":"pi_secret"`},
		{"other operation", "GET", "/v1/status/refund/" + ref, false, "", 404, `"detail":`},
		{"no such operation", "GET", "/v1/status/chargeback/" + ref, false, "", 404, `"detail":`},
		{"no UUID", "GET", status + "1042", false, "", 422, `"loc":["path","reference_id"]`},
		{"source", "GET", "/v1/status/source?source_type=INVOICE&source_id=101", false, "", 200, `"total_amount":250.00`},
		{"source starts idle", "GET", "/v1/status/source?source_type=INVOICE&source_id=101", false, "", 200, `"status":"IDLE"`},
		{"other source type", "GET", "/v1/status/source?source_type=ORDER&source_id=101", false, "", 404, `"detail":`},
		{"source without type", "GET", "/v1/status/source?source_id=101", false, "", 422, `"loc":["query","source_type"]`},
		{"source id no number", "GET", "/v1/status/source?source_type=ORDER&source_id=x", false, "", 422, `"loc":["query","source_id"]`},
		{"key", "POST", keys, false, `{"session_id":55,"source_type":"INVOICE","reference_id":"` + ref + `"}`, 200, `"expires_in":300`},
		{"key for a session that is a string", "POST", keys, false, `{"session_id":"55","source_type":"INVOICE","reference_id":"` + ref + `"}`, 422, `"loc":["body","session_id"]`},
		{"key without session", "POST", keys, false, `{"source_type":"INVOICE","reference_id":"` + ref + `"}`, 422, `"msg":"field required"`},
		{"key for a cart", "POST", keys, false, `{"session_id":55,"source_type":"CART","reference_id":"` + ref + `"}`, 422, `"loc":["body","source_type"]`},
		{"key for no UUID", "POST", keys, false, `{"session_id":55,"source_type":"ORDER","reference_id":"1"}`, 422, `"loc":["body","reference_id"]`},
		{"key from no JSON", "POST", keys, false, `nope`, 422, `"detail":`},
	}
	token := obtain(t, srv)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bearer := token
			if tt.anonymous {
				bearer = ""
			}
			code, _, body := send(t, srv, tt.method, tt.path, bearer, tt.body)
			if code != tt.code || !strings.Contains(body, tt.want) {
				t.Errorf("answer %d %s, want %d with %s", code, body, tt.code, tt.want)
			}
		})
	}
}

func TestServer_keysAreSignedForTheRealtimeSide(t *testing.T) {
	t.Parallel()
	signing := []byte("a-secret-that-the-realtime-side-knows-too")
	srv := dollrtest.Start(t, dollrtest.Options{JWTSecret: signing})
	_, _, body := send(t, srv, http.MethodPost, "/v1/realtime-keys/collection", obtain(t, srv),
		`{"session_id":55,"source_type":"INVOICE","reference_id":"`+ref+`"}`)
	var key struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &key); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.Parse(key.AccessToken, func(*jwt.Token) (any, error) { return signing, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	if err != nil {
		t.Fatalf("the key does not verify: %v", err)
	}
	claims, _ := parsed.Claims.(jwt.MapClaims)
	if claims["role"] != "authenticated" || claims["reference_id"] != ref {
		t.Errorf("claims %v, want role authenticated and the reference id", claims)
	}
}

func TestServer_tokensExpireAndCanBeRevoked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		token := obtain(t, srv)
		code := func() int {
			code, _, _ := send(t, srv, http.MethodGet, "/v1/status/payout/"+ref, token, "")
			return code
		}
		time.Sleep(time.Hour - 1)
		if got := code(); got != 404 {
			t.Errorf("within its hour: %d, want 404", got)
		}
		time.Sleep(time.Second)
		if got := code(); got != 401 {
			t.Errorf("after its hour: %d, want 401", got)
		}
		token = obtain(t, srv)
		srv.RevokeTokens()
		if got := code(); got != 401 {
			t.Errorf("revoked: %d, want 401", got)
		}
	})
}

func TestServer_limitsTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{Rate: 5})
		token := obtain(t, srv)
		limited := 0
		for range 20 {
			code, header, _ := send(t, srv, http.MethodGet, "/v1/status/payout/"+ref, token, "")
			if code == http.StatusTooManyRequests {
				limited++
				if got := header.Get("Retry-After"); got != "1" {
					t.Errorf("Retry-After is %q, want 1", got)
				}
			}
		}
		if limited != 11 {
			t.Errorf("%d of 21 requests at once were limited, want all but the burst of 10", limited)
		}
	})
}

func TestServer_tellsChangesInOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []string
	srv := dollrtest.New(dollrtest.Options{OnChange: func(p dollrtest.Payment) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, p.Status)
	}})
	if err := srv.Put(dollrtest.Payment{Operation: dollrtest.Collection, ReferenceID: ref}); err != nil {
		t.Fatal(err)
	}
	key := dollrtest.ExecutionKey(dollrtest.Collection, ref)
	for _, status := range []string{"PROCESSING", "COMPLETED"} {
		if err := srv.SetStatus(key, status); err != nil {
			t.Errorf("SetStatus(%s) = %v", status, err)
		}
	}
	if err := srv.SetStatus("collection:unknown", "FAILED"); err == nil {
		t.Error("SetStatus() of an unknown payment = nil, want ErrUnknown")
	}
	if got, want := strings.Join(told, " "), "PENDING PROCESSING COMPLETED"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	srv.Delete(key)
	if n := len(srv.Payments()); n != 0 {
		t.Errorf("%d payments after the only one was deleted", n)
	}
}

func TestServer_refusesPaymentsAndFaultsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	srv := dollrtest.New(dollrtest.Options{})
	for _, p := range []dollrtest.Payment{
		{},
		{Operation: "chargeback", ReferenceID: ref},
		{Operation: dollrtest.Payout, ReferenceID: "1"},
		{Operation: dollrtest.Source, SourceType: "CART", SourceID: 1},
		{Operation: dollrtest.Source, SourceType: "ORDER"},
		{Operation: dollrtest.Payout, ReferenceID: ref, PayerAmount: "a lot"},
	} {
		if err := srv.Put(p); err == nil {
			t.Errorf("Put(%+v) = nil, want an error", p)
		}
	}
	for _, f := range []dollrtest.Fault{{}, {Kind: "explode"}, {Kind: dollrtest.FaultCode}, {Kind: dollrtest.FaultCode, Code: 99}} {
		if err := srv.AddFault(f); err == nil {
			t.Errorf("AddFault(%+v) = nil, want an error", f)
		}
	}
}

func TestFault_happensToWhomAndHowOftenItSays(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	token := obtain(t, srv)
	err := srv.AddFault(dollrtest.Fault{Kind: dollrtest.FaultCode, Code: 503, Endpoint: dollrtest.Payout, ReferenceID: strings.ToUpper(ref), Times: 2})
	if err != nil {
		t.Fatal(err)
	}
	code := func(path string) int {
		code, _, _ := send(t, srv, http.MethodGet, path, token, "")
		return code
	}
	other := strings.Replace(ref, "550e", "550f", 1)
	for i, want := range []struct {
		path string
		code int
	}{
		{"/v1/status/refund/" + ref, 404},
		{"/v1/status/payout/" + other, 404},
		{"/v1/status/payout/" + ref, 503},
		{"/v1/status/payout/" + ref, 503},
		{"/v1/status/payout/" + ref, 404},
	} {
		if got := code(want.path); got != want.code {
			t.Errorf("request %d: %d, want %d", i, got, want.code)
		}
	}
	if n := srv.Count(dollrtest.AnyStatus); n != 5 {
		t.Errorf("Count(status) = %d, want 5", n)
	}
	srv.ForgetRequests()
	if n := srv.Count(""); n != 0 {
		t.Errorf("Count() = %d after ForgetRequests, want 0", n)
	}
}

func TestFault_inJSON(t *testing.T) {
	t.Parallel()
	want := dollrtest.Fault{Kind: dollrtest.FaultSlow, Endpoint: dollrtest.AnyStatus, Times: 3, Delay: 90 * time.Second, ReferenceID: ref}
	text, err := json.Marshal(want)
	if err != nil || !strings.Contains(string(text), `"delay":"1m30s"`) {
		t.Errorf("Marshal() = %s, %v, want the delay in words", text, err)
	}
	var got dollrtest.Fault
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Unmarshal(%s) = %+v, %v, want %+v", text, got, err, want)
	}
	for _, text := range []string{`{"kind":"slow","delay":"soon"}`, `{"kind":"slow","delay":"-1s"}`, `{"kind":"slow","delai":"1s"}`, `7`} {
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("Unmarshal(%s) = nil, want an error", text)
		}
	}
}
