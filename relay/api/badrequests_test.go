package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

const (
	invalidDetail = "The request names fields or values that are not accepted."
	reference     = "550e8400-e29b-41d4-a716-446655440000"

	wantUUID       = "must be a UUID v4 such as 550e8400-e29b-41d4-a716-446655440000"
	wantInteger    = "must be an integer above zero"
	wantDigits     = wantInteger + ", or a string of its digits"
	wantAmount     = `must be a decimal above zero, such as "250.00"`
	wantCurrency   = "must be an ISO 4217 code in upper case, such as USD"
	wantWatch      = "must be a duration from 1m to 720h, such as 72h"
	wantOperation  = "must be collection, payout, transfer, refund or source"
	wantEmpty      = "must not be empty; leave it out"
	wantWait       = "must be a duration such as 25s"
	notField       = "is not a field of this request"
	notParameter   = "is not a parameter of this request"
	noKey          = "401 Send `Authorization: Bearer` with one of RELAY_API_KEYS."
	noPayment      = "404 There is no such payment or callback."
	noToken        = "401 The page token is missing or wrong."
	noOrigin       = "403 Pages of this origin are not allowed; the operator names them in RELAY_ALLOWED_ORIGINS."
	malformed      = "400 The body must be one JSON object: it is malformed."
	notObject      = "400 The body must be one JSON object: it is not one."
	malformedQuery = "400 The query is malformed."
)

// said writes a problem in one line: the fields at fault, or else the detail.
func said(answer reply) string {
	errs, _ := answer.fields["errors"].([]any)
	if len(errs) == 0 {
		return fmt.Sprintf("%d %v", answer.code, answer.fields["detail"])
	}
	parts := make([]string, len(errs))
	for i, e := range errs {
		fault, _ := e.(map[string]any)
		parts[i] = fmt.Sprintf("%v: %v", fault["field"], fault["message"])
	}
	return fmt.Sprintf("%d %s", answer.code, strings.Join(parts, " | "))
}

// collection is a registration with some fields replaced: pairs of a name and a JSON value, or "" to leave it out.
func collection(pairs ...string) string {
	fields := []string{"operation", `"collection"`, "reference_id", `"` + reference + `"`, "session_id", "55", "source_type", `"INVOICE"`}
	values := map[string]string{}
	var order []string
	for i := 0; i < len(fields)+len(pairs); i += 2 {
		all := append(slices.Clip(fields), pairs...)
		if _, known := values[all[i]]; !known {
			order = append(order, all[i])
		}
		values[all[i]] = all[i+1]
	}
	var parts []string
	for _, name := range order {
		if values[name] != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", name, values[name]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func expected(fields string) string { return collection("expected", "{"+fields+"}") }

func pairs(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestRegister_badRequests(t *testing.T) {
	t.Parallel()
	s := start(t)
	tests := []struct{ name, body, want string }{
		{"no body", ``, notObject},
		{"blank", ` `, notObject},
		{"no JSON", `hello`, notObject},
		{"cut off", `{"operation":"collection"`, malformed},
		{"trailing comma", `{"operation":"collection",}`, malformed},
		{"single quotes", `{'operation':'collection'}`, malformed},
		{"form", `operation=collection`, notObject},
		{"null", `null`, notObject},
		{"array", `[{}]`, notObject},
		{"string", `"x"`, notObject},
		{"number", `5`, notObject},
		{"two objects", `{}{}`, "400 The body must be one JSON object: something follows it."},
		{"a field twice", `{"operation":"collection","operation":"payout"}`, `400 The body must be one JSON object: it names "operation" twice.`},
		{"not UTF-8", "{\"operation\":\"\xff\"}", "400 The body must be one JSON object: it is not UTF-8."},
		{"too large", `{"metadata":{"k":"` + strings.Repeat("x", 70_000) + `"}}`, "413 The body is larger than 64 KiB."},
		{"empty object", `{}`, "422 operation: " + wantOperation},
		{"unknown operation", collection("operation", `"loan"`), "422 operation: " + wantOperation},
		{"operation in capitals", collection("operation", `"COLLECTION"`), "422 operation: " + wantOperation},
		{"operation a number", collection("operation", `1`), "422 operation: must be a string"},
		{"operation null", collection("operation", `null`), "422 operation: " + wantOperation},
		{"operation empty", collection("operation", `""`), "422 operation: " + wantEmpty},
		{"no reference", collection("reference_id", ""), "422 reference_id: is required"},
		{"reference null", collection("reference_id", "null"), "422 reference_id: is required"},
		{"reference empty", collection("reference_id", `""`), "422 reference_id: " + wantEmpty},
		{"reference a number", collection("reference_id", `5`), "422 reference_id: must be a string"},
		{"reference no UUID", collection("reference_id", `"abc"`), "422 reference_id: " + wantUUID},
		{"reference a UUID v1", collection("reference_id", `"550e8400-e29b-11d4-a716-446655440000"`), "422 reference_id: " + wantUUID},
		{"reference of another variant", collection("reference_id", `"550e8400-e29b-41d4-0716-446655440000"`), "422 reference_id: " + wantUUID},
		{"reference in braces", collection("reference_id", `"{550e8400-e29b-41d4-a716-446655440000}"`), "422 reference_id: " + wantUUID},
		{"reference without dashes", collection("reference_id", `"550e8400e29b41d4a716446655440000"`), "422 reference_id: " + wantUUID},
		{"reference as URN", collection("reference_id", `"urn:uuid:550e8400-e29b-41d4-a716-446655440000"`), "422 reference_id: " + wantUUID},
		{"reference with a source", `{"operation":"source","reference_id":"` + reference + `","source_type":"ORDER","source_id":1}`, "422 reference_id: a source is known by source_type and source_id; leave it out"},
		{"source without anything", `{"operation":"source"}`, "422 source_type: is required for a source and with session_id | source_id: is required for a source"},
		{"source without id", `{"operation":"source","source_type":"ORDER"}`, "422 source_id: is required for a source"},
		{"source with id zero", `{"operation":"source","source_type":"ORDER","source_id":0}`, "422 source_id: " + wantInteger},
		{"source id a string", `{"operation":"source","source_type":"ORDER","source_id":"101"}`, "422 source_id: " + wantInteger},
		{"source id a fraction", `{"operation":"source","source_type":"ORDER","source_id":1.5}`, "422 source_id: " + wantInteger},
		{"source id too large", `{"operation":"source","source_type":"ORDER","source_id":9223372036854775808}`, "422 source_id: " + wantInteger},
		{"source with session", `{"operation":"source","source_type":"ORDER","source_id":1,"session_id":5}`, "422 session_id: only a collection has one"},
		{"payout with session", collection("operation", `"payout"`), "422 session_id: only a collection has one"},
		{"session without type", collection("source_type", ""), "422 source_type: is required for a source and with session_id"},
		{"session negative", collection("session_id", `-5`), "422 session_id: " + wantDigits},
		{"session zero", collection("session_id", `0`), "422 session_id: " + wantDigits},
		{"session a fraction", collection("session_id", `5.5`), "422 session_id: " + wantDigits},
		{"session no digits", collection("session_id", `"fifty"`), "422 session_id: " + wantDigits},
		{"session an empty string", collection("session_id", `""`), "422 session_id: " + wantDigits},
		{"session with a sign", collection("session_id", `"+55"`), "422 session_id: " + wantDigits},
		{"session a boolean", collection("session_id", `true`), "422 session_id: " + wantDigits},
		{"session a list", collection("session_id", `[55]`), "422 session_id: " + wantDigits},
		{"type in small letters", collection("source_type", `"invoice"`), "422 source_type: must be INVOICE or ORDER"},
		{"type unknown", collection("source_type", `"CART"`), "422 source_type: must be INVOICE or ORDER"},
		{"expected a number", collection("expected", `250`), "422 expected: must be an object with amount and currency"},
		{"expected a list", collection("expected", `[]`), "422 expected: must be an object with amount and currency"},
		{"expected empty", expected(``), "422 expected.amount: is required | expected.currency: is required"},
		{"no amount", expected(`"currency":"USD"`), "422 expected.amount: is required"},
		{"no currency", expected(`"amount":"1"`), "422 expected.currency: is required"},
		{"amount zero", expected(`"amount":"0.00","currency":"USD"`), "422 expected.amount: " + wantAmount},
		{"amount negative", expected(`"amount":-1,"currency":"USD"`), "422 expected.amount: " + wantAmount},
		{"amount with a comma", expected(`"amount":"1,50","currency":"USD"`), "422 expected.amount: " + wantAmount},
		{"amount with spaces", expected(`"amount":" 1 ","currency":"USD"`), "422 expected.amount: " + wantAmount},
		{"amount NaN", expected(`"amount":"NaN","currency":"USD"`), "422 expected.amount: " + wantAmount},
		{"amount with a huge exponent", expected(`"amount":1e999,"currency":"USD"`), "422 expected.amount: " + wantAmount},
		{"amount text with an exponent", expected(`"amount":"1e2","currency":"USD"`), "422 expected.amount: " + wantAmount},
		{"amount a boolean", expected(`"amount":true,"currency":"USD"`), "422 expected.amount: " + wantAmount},
		{"currency in small letters", expected(`"amount":"1","currency":"usd"`), "422 expected.currency: " + wantCurrency},
		{"currency too long", expected(`"amount":"1","currency":"USDT"`), "422 expected.currency: " + wantCurrency},
		{"currency a number", expected(`"amount":"1","currency":840`), "422 expected.currency: must be a string"},
		{"side unknown", expected(`"amount":"1","currency":"USD","side":"me"`), "422 expected.side: must be payee or payer"},
		{"unknown in expected", expected(`"amount":"1","currency":"USD","fee":1`), "422 expected.fee: " + notField},
		{"callback not configured", collection("callback_url", `"https://evil.example/"`), "422 callback_url: must be one of RELAY_CALLBACK_URLS, exactly as written there"},
		{"callback empty", collection("callback_url", `""`), "422 callback_url: " + wantEmpty},
		{"metadata a list", collection("metadata", `["a"]`), "422 metadata: must be an object of strings"},
		{"metadata twice the same key", collection("metadata", `{"a":"1","a":"2"}`), "422 metadata: must be an object of strings"},
		{"metadata value a number", collection("metadata", `{"order":1042}`), "422 metadata.order: must be a string of at most 512 characters"},
		{"metadata value null", collection("metadata", `{"order":null}`), "422 metadata.order: must be a string of at most 512 characters"},
		{"metadata value too long", collection("metadata", `{"order":"`+strings.Repeat("x", 513)+`"}`), "422 metadata.order: must be a string of at most 512 characters"},
		{"metadata key too long", collection("metadata", `{"`+strings.Repeat("k", 65)+`":"v"}`), "422 metadata: has a key that is empty or longer than 64 characters"},
		{"metadata key empty", collection("metadata", `{"":"v"}`), "422 metadata: has a key that is empty or longer than 64 characters"},
		{"metadata too many", collection("metadata", pairs(17)), "422 metadata: has 17 pairs, at most 16 are kept"},
		{"metadata with U+0000", collection("metadata", `{"a":"\u0000"}`), "422 metadata: must not contain the character U+0000"},
		{"watch too short", collection("watch_for", `"59s"`), "422 watch_for: " + wantWatch},
		{"watch too long", collection("watch_for", `"721h"`), "422 watch_for: " + wantWatch},
		{"watch without unit", collection("watch_for", `"72"`), "422 watch_for: " + wantWatch},
		{"watch a number", collection("watch_for", `72`), "422 watch_for: must be a string"},
		{"unknown field", collection("amount", `5`), "422 amount: " + notField},
		{"several at once", `{"operation":"payout","session_id":5,"colour":"red","x":null}`, "422 reference_id: is required | session_id: only a collection has one | source_type: is required for a source and with session_id | colour: " + notField + " | x: " + notField},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := s.send(request{method: "POST", path: "/v1/payments", body: tt.body})
			if said(got) != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.body, said(got), tt.want)
			}
			checkProblem(t, got)
		})
	}
	t.Cleanup(func() {
		if list := s.call(200, "GET", "/v1/payments", ""); len(list["data"].([]any)) != 0 {
			t.Errorf("refused registrations left %v", list["data"])
		}
	})
}

// checkProblem checks what every error answer has.
func checkProblem(t *testing.T, got reply) {
	t.Helper()
	if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("Content-Type = %q, want application/problem+json", kind)
	}
	if got.fields["status"] != float64(got.code) || got.fields["type"] != "about:blank" || got.fields["title"] != http.StatusText(got.code) {
		t.Errorf("problem = %s, want status, type and title of %d", got.body, got.code)
	}
	if id := got.header.Get("X-Request-Id"); id == "" || got.fields["request_id"] != id {
		t.Errorf("request_id = %v and header %q, want the same", got.fields["request_id"], id)
	}
	if got.code == 422 && got.fields["detail"] != invalidDetail {
		t.Errorf("detail = %v, want %q", got.fields["detail"], invalidDetail)
	}
	if wantsRetry := got.code == 429 || got.code == 503; wantsRetry != (got.header.Get("Retry-After") != "") {
		t.Errorf("%d with Retry-After %q", got.code, got.header.Get("Retry-After"))
	}
}

// signed is a page token as somebody else might make it.
func signed(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		panic(err)
	}
	return text
}

func TestOthers_badRequests(t *testing.T) {
	t.Parallel()
	s := start(t, withSupabase, func(c *app.Config) { c.MaxPages = 50 })
	p := s.pay()
	show, none := "/v1/payments/"+p.id, http.Header{"Authorization": {""}}
	exp := time.Now().Add(time.Hour).Unix()
	claims := func(pairs ...any) jwt.MapClaims {
		c := jwt.MapClaims{"sub": p.id, "aud": "page", "exp": exp}
		for i := 0; i < len(pairs); i += 2 {
			c[pairs[i].(string)] = pairs[i+1]
		}
		return c
	}
	key := []byte(pageSecret)
	foreign := signed(jwt.SigningMethodHS256, []byte("somebody-elses-secret-with-32-characters"), claims())
	unsigned := signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims())
	realtimeKey := `"session_id":55,"source_type":"INVOICE","reference_id":"` + reference + `"`
	page := "/v1/page/status"
	tests := []struct {
		name   string
		header http.Header
		method string
		path   string
		body   string
		want   string
	}{
		{"no key", none, "POST", "/v1/payments", collection(), noKey},
		{"wrong key", bearer("wrong-api-key-with-at-least-32-characters"), "GET", "/v1/payments", "", noKey},
		{"beginning of a key", bearer(apiKey[:20]), "GET", "/v1/payments", "", noKey},
		{"key with a tail", bearer(apiKey + "x"), "GET", "/v1/payments", "", noKey},
		{"key as basic", http.Header{"Authorization": {"Basic " + apiKey}}, "GET", show, "", noKey},
		{"page token as key", bearer(p.token), "GET", show, "", noKey},
		{"key in the query", none, "GET", show + "?token=" + apiKey, "", noKey},
		{"nothing there", http.Header{"Undocumented": {"yes"}}, "GET", "/v1/nothing", "", "404 There is nothing at this address."},
		{"nothing there either", http.Header{"Undocumented": {"yes"}}, "GET", "/nothing", "", "404 There is nothing at this address."},
		{"parent folder", http.Header{"Undocumented": {"yes"}}, "GET", "/v1/../../etc/passwd", "", "404 There is nothing at this address."},
		{"wrong method", nil, "DELETE", "/v1/payments", "", "405 This address does not take this method."},
		{"wrong method on one", nil, "PUT", show, "{}", "405 This address does not take this method."},
		{"register with a parameter", nil, "POST", "/v1/payments?dry=1", collection(), "422 dry: " + notParameter},
		{"broken query", nil, "GET", "/v1/payments?limit=%zz", "", malformedQuery},
		{"query with semicolons", nil, "GET", "/v1/payments?limit=5;x=1", "", malformedQuery},

		{"unknown payment", nil, "GET", "/v1/payments/pay_unknown", "", noPayment},
		{"wait no duration", nil, "GET", show + "?wait=25", "", "422 wait: " + wantWait},
		{"wait negative", nil, "GET", show + "?wait=-1s", "", "422 wait: " + wantWait},
		{"since no number", nil, "GET", show + "?since=abc", "", "422 since: must be an integer from 0 to 4611686018427387904"},
		{"since negative", nil, "GET", show + "?since=-1", "", "422 since: must be an integer from 0 to 4611686018427387904"},
		{"since twice", nil, "GET", show + "?since=1&since=2", "", "422 since: is given more than once"},
		{"show with an unknown parameter", nil, "GET", show + "?fields=id&a=b", "", "422 a: " + notParameter + " | fields: " + notParameter},

		{"list of an unknown outcome", nil, "GET", "/v1/payments?outcome=paid", "", "422 outcome: must be one of pending, succeeded, failed, canceled, mismatch, expired"},
		{"list of an unknown operation", nil, "GET", "/v1/payments?operation=loan", "", "422 operation: must be one of collection, payout, transfer, refund, source"},
		{"list of no reference", nil, "GET", "/v1/payments?reference_id=abc", "", "422 reference_id: must be a UUID v4"},
		{"list with limit zero", nil, "GET", "/v1/payments?limit=0", "", "422 limit: must be an integer from 1 to 500"},
		{"list with a limit too high", nil, "GET", "/v1/payments?limit=501", "", "422 limit: must be an integer from 1 to 500"},
		{"list with a bad cursor", nil, "GET", "/v1/payments?cursor=abc", "", "422 cursor: must be a next_cursor of this list"},
		{"list with an unknown parameter", nil, "GET", "/v1/payments?page=2", "", "422 page: " + notParameter},

		{"timeline of nothing", nil, "GET", "/v1/payments/x/events", "", noPayment},
		{"timeline with a parameter", nil, "GET", show + "/events?limit=5", "", "422 limit: " + notParameter},
		{"verify nothing", nil, "POST", "/v1/payments/x/verify", "", noPayment},
		{"verify with a field", nil, "POST", show + "/verify", `{"force":true}`, "422 force: " + notField},
		{"verify with junk", nil, "POST", show + "/verify", `force`, notObject},
		{"verify with a parameter", nil, "POST", show + "/verify?force=1", "", "422 force: " + notParameter},
		{"token of nothing", nil, "POST", "/v1/payments/x/page-token", "", noPayment},
		{"token with a field", nil, "POST", show + "/page-token", `{"ttl":"1h"}`, "422 ttl: " + notField},

		{"key without fields", nil, "POST", "/v1/realtime-keys/collection", `{}`, "422 session_id: is required | source_type: is required | reference_id: is required"},
		{"key of a bad session", nil, "POST", "/v1/realtime-keys/collection", `{"session_id":"x","source_type":"INVOICE","reference_id":"` + reference + `"}`, "422 session_id: " + wantDigits},
		{"key of a bad type", nil, "POST", "/v1/realtime-keys/collection", `{"session_id":1,"source_type":"CART","reference_id":"` + reference + `"}`, "422 source_type: must be INVOICE or ORDER"},
		{"key of a bad reference", nil, "POST", "/v1/realtime-keys/collection", `{"session_id":1,"source_type":"ORDER","reference_id":"x"}`, "422 reference_id: " + wantUUID},
		{"key with an unknown field", nil, "POST", "/v1/realtime-keys/collection", `{` + realtimeKey + `,"ttl":5}`, "422 ttl: " + notField},
		{"key of nothing", nil, "POST", "/v1/realtime-keys/collection", "", notObject},

		{"feed after junk", nil, "GET", "/v1/events?after=junk", "", "410 This database has not given out this cursor; it was probably restored from a backup. Start over without a cursor and drop the ids that you know."},
		{"feed after a foreign cursor", nil, "GET", "/v1/events?after=1-0123456789abcdef", "", "410 This database has not given out this cursor; it was probably restored from a backup. Start over without a cursor and drop the ids that you know."},
		{"feed with a limit too high", nil, "GET", "/v1/events?limit=1001", "", "422 limit: must be an integer from 1 to 1000"},
		{"feed with a bad wait", nil, "GET", "/v1/events?wait=soon", "", "422 wait: " + wantWait},
		{"feed with an unknown parameter", nil, "GET", "/v1/events?since=1", "", "422 since: " + notParameter},
		{"callbacks of an unknown state", nil, "GET", "/v1/callbacks?state=lost", "", "422 state: must be one of pending, delivered, dead"},
		{"callbacks with a bad cursor", nil, "GET", "/v1/callbacks?cursor=-1", "", "422 cursor: must be a next_cursor of this list"},
		{"redeliver nothing", nil, "POST", "/v1/callbacks/evt_x/redeliver", "", noPayment},
		{"redeliver with a field", nil, "POST", "/v1/callbacks/evt_x/redeliver", `{"now":true}`, "422 now: " + notField},
		{"reconcile with a field", nil, "POST", "/v1/reconcile", `{"all":true}`, "422 all: " + notField},
		{"report with a parameter", nil, "GET", "/v1/reconcile?all=1", "", "422 all: " + notParameter},
		{"document with a parameter", none, "GET", "/openapi.json?v=2", "", "422 v: " + notParameter},
		{"docs with a parameter", none, "GET", "/docs?v=2", "", "422 v: " + notParameter},

		{"page without a token", none, "GET", page, "", noToken},
		{"page with an API key", nil, "GET", page, "", noToken},
		{"page with junk", bearer("junk"), "GET", page, "", noToken},
		{"page with a foreign token", bearer(foreign), "GET", page, "", noToken},
		{"page with an unsigned token", bearer(unsigned), "GET", page, "", noToken},
		{"page with another algorithm", bearer(signed(jwt.SigningMethodHS512, key, claims())), "GET", page, "", noToken},
		{"page with another audience", bearer(signed(jwt.SigningMethodHS256, key, claims("aud", "backend"))), "GET", page, "", noToken},
		{"page token without an end", bearer(signed(jwt.SigningMethodHS256, key, jwt.MapClaims{"sub": p.id, "aud": "page"})), "GET", page, "", noToken},
		{"page token of nobody", bearer(signed(jwt.SigningMethodHS256, key, claims("sub", ""))), "GET", page, "", noToken},
		{"page token of the future", bearer(signed(jwt.SigningMethodHS256, key, claims("nbf", exp))), "GET", page, "", noToken},
		{"page token of an unknown payment", bearer(signed(jwt.SigningMethodHS256, key, claims("sub", "pay_x"))), "GET", page, "", noPayment},
		{"expired page token", bearer(signed(jwt.SigningMethodHS256, key, claims("exp", 1))), "GET", page, "", "401 The page token has expired; get a fresh one from the merchant's backend."},
		{"expired and foreign", bearer(signed(jwt.SigningMethodHS256, []byte(apiKey), claims("exp", 1))), "GET", page, "", noToken},
		{"page with an unknown parameter", bearer(p.token), "GET", page + "?id=5", "", "422 id: " + notParameter},
		{"stream with an unknown parameter", bearer(p.token), "GET", "/v1/page/events?since=5", "", "422 since: " + notParameter},
		{"page with a bad wait", bearer(p.token), "GET", page + "?wait=x", "", "422 wait: " + wantWait},
		{"page with a bad since", bearer(p.token), "GET", page + "?since=x", "", "422 since: must be an integer from 0 to 4611686018427387904"},
		{"socket without a handshake", bearer(p.token), "GET", "/v1/page/stream", "", "426 This address speaks WebSocket only."},
		{"page key with the token in the query", none, "POST", "/v1/page/realtime-key?token=" + p.token, "", noToken},
		{"page key with a field", bearer(p.token), "POST", "/v1/page/realtime-key", `{"session_id":1}`, "422 session_id: " + notField},
		{"page of a foreign origin", with(bearer(p.token), "Origin", "https://evil.example"), "GET", page, "", noOrigin},
		{"page of the origin null", with(bearer(p.token), "Origin", "null"), "GET", page, "", noOrigin},
		{"page of another scheme", with(bearer(p.token), "Origin", "http://shop.example"), "GET", page, "", noOrigin},
		{"page of another port", with(bearer(p.token), "Origin", "https://shop.example:444"), "GET", page, "", noOrigin},
		{"page of a lookalike", with(bearer(p.token), "Origin", "https://evilshop.example:8443"), "GET", page, "", noOrigin},
		{"page of the wildcard itself", with(bearer(p.token), "Origin", "https://shop.example:8443"), "GET", page, "", noOrigin},
		{"page of two origins", http.Header{"Authorization": {"Bearer " + p.token}, "Origin": {"https://shop.example", "https://shop.example"}}, "GET", page, "", noOrigin},
		{"preflight of a foreign origin", http.Header{"Origin": {"https://evil.example"}}, "OPTIONS", page, "", noOrigin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := s.send(request{method: tt.method, path: tt.path, body: tt.body, header: tt.header})
			if said(got) != tt.want {
				t.Errorf("%s %s %s\n got %s\nwant %s", tt.method, tt.path, tt.body, said(got), tt.want)
			}
			checkProblem(t, got)
		})
	}
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}
