package api_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// answerWithin bounds one fuzzed request: some are held on purpose (wait=60s, streams), and tell nothing then.
const answerWithin = 300 * time.Millisecond

// FuzzRequest sends any request to a whole relay. It is answered in the contract's words, whatever it is, and never by a 5xx.
func FuzzRequest(f *testing.F) {
	s := start(f)
	p := s.pay()
	withKey, withToken := http.Header{"Authorization": {"Bearer " + apiKey}}, bearer(p.token)
	seeds := []struct{ method, path, query, body string }{
		{"POST", "/v1/payments", "", collection()},
		{"POST", "/v1/payments", "", collection("expected", `{"amount":"1e3","currency":"USD","side":"payee"}`, "metadata", `{"a":"b"}`, "watch_for", `"72h"`)},
		{"POST", "/v1/payments", "", `{"operation":"source","source_type":"ORDER","source_id":9007199254740993}`},
		{"POST", "/v1/payments", "", `{"operation":"payout","reference_id":"` + reference + `","callback_url":"` + s.backend + `/hook"}`},
		{"POST", "/v1/payments", "", "{\"operation\":\"\\ud800\",\"operation\":1}"},
		{"GET", "/v1/payments", "outcome=pending&operation=collection&reference_id=" + reference + "&limit=50&cursor=7", ""},
		{"GET", "/v1/payments/" + p.id, "wait=0s&since=3", ""},
		{"GET", "/v1/payments/" + p.id + "/events", "", ""},
		{"POST", "/v1/payments/" + p.id + "/verify", "", ""},
		{"POST", "/v1/payments/" + p.id + "/page-token", "", "{}"},
		{"GET", "/v1/events", "after=0&wait=1ms&limit=100", ""},
		{"GET", "/v1/callbacks", "state=dead&cursor=1", ""},
		{"POST", "/v1/callbacks/cb_1/redeliver", "", ""},
		{"GET", "/v1/reconcile", "", ""},
		{"POST", "/v1/realtime-keys/collection", "", `{"session_id":55,"source_type":"INVOICE","reference_id":"` + reference + `"}`},
		{"GET", "/v1/page/status", "since=1&wait=0s&token=" + p.token, ""},
		{"POST", "/v1/page/realtime-key", "", ""},
		{"GET", "/v1/page/view", "lang=fr&token=" + p.token, ""},
		{"GET", "/openapi.json", "", ""},
		{"DELETE", "/v1/nothing", "%zz=&;", "\xff"},
	}
	for i, seed := range seeds {
		f.Add(uint8(i), "", seed.query, []byte(seed.body), strings.HasPrefix(seed.path, "/v1/page/"))
	}
	f.Fuzz(func(t *testing.T, which uint8, more, query string, body []byte, asPage bool) {
		method, path := seeds[int(which)%len(seeds)].method, seeds[int(which)%len(seeds)].path+more
		target, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		target.Path, target.RawQuery = path, visible(query)
		ctx, cancel := context.WithTimeout(t.Context(), answerWithin)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, method, target.String(), strings.NewReader(string(body)))
		if err != nil {
			return // no client can send it
		}
		request.Header = withKey.Clone()
		if asPage {
			request.Header = withToken.Clone()
		}
		answer, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(request)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("%s %s: %v", method, target, err)
			}
			return
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err == nil {
			checkAnswer(t, method+" "+target.RequestURI(), answer, text)
		}
	})
}

// visible escapes what cannot stand in a request line.
func visible(query string) string {
	var b strings.Builder
	for _, c := range []byte(query) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			b.WriteString(url.QueryEscape(string(rune(c))))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// checkAnswer holds every answer against the contract's section 3.
func checkAnswer(t *testing.T, what string, answer *http.Response, body []byte) {
	t.Helper()
	kind := answer.Header.Get("Content-Type")
	if answer.StatusCode < 400 {
		if strings.HasPrefix(kind, "application/json") && !json.Valid(body) {
			t.Errorf("%s: %d with a body that is not JSON: %q", what, answer.StatusCode, body)
		}
		return
	}
	var problem struct {
		Type, Title, Detail string
		Status              int
		RequestID           string `json:"request_id"`
		Errors              []struct{ Field, Message string }
	}
	switch {
	case answer.Request.Method == http.MethodHead: // no body to look at
	case kind == "text/html; charset=utf-8": // the status page tells people, not programs
	case kind != "application/problem+json":
		t.Errorf("%s: %d as %q: %q", what, answer.StatusCode, kind, body)
	case json.Unmarshal(body, &problem) != nil || problem.Type == "" || problem.Title == "" || problem.RequestID == "" || problem.Status != answer.StatusCode:
		t.Errorf("%s: %d with the problem %s", what, answer.StatusCode, body)
	case problem.Status == http.StatusUnprocessableEntity && len(problem.Errors) == 0:
		t.Errorf("%s: 422 that names no field: %s", what, body)
	}
	for _, e := range problem.Errors {
		if e.Message == "" || e.Field == "" && e.Message != "is not a field of this request" && e.Message != "is not a parameter of this request" {
			t.Errorf("%s: a complaint without a field or without words: %s", what, body) // a field that nobody knows may have an empty name
		}
	}
	if answer.StatusCode >= 500 && !strings.Contains(what, "/realtime-key") { // this relay has no Supabase
		t.Errorf("%s: %d: %s", what, answer.StatusCode, body)
	}
}

// FuzzPageToken offers any text as a page token: only what the relay's secret has signed opens a payment.
func FuzzPageToken(f *testing.F) {
	s := start(f)
	p := s.pay()
	now := time.Now()
	claims := jwt.MapClaims{"sub": p.id, "aud": "page", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	f.Add(p.token)
	for method, secret := range map[jwt.SigningMethod]any{
		jwt.SigningMethodHS256: []byte("another-secret-with-at-least-32-characters"), jwt.SigningMethodHS384: []byte(pageSecret),
		jwt.SigningMethodHS512: []byte(pageSecret), jwt.SigningMethodNone: jwt.UnsafeAllowNoneSignatureType,
	} {
		text, err := jwt.NewWithClaims(method, claims).SignedString(secret)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add("a.e30.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/page/status?since=0&wait=0s&token="+url.QueryEscape(token), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, "GET /v1/page/status", answer, body)
		if answer.StatusCode < 300 && genuine(token) != nil {
			t.Errorf("%q opens a payment although %v", token, genuine(token))
		}
		if answer.StatusCode == http.StatusUnauthorized && token == p.token {
			t.Errorf("the genuine token is refused")
		}
	})
}

// genuine checks a token's signature by hand.
func genuine(token string) error {
	signed, signature := token, ""
	if dot := strings.LastIndexByte(token, '.'); dot >= 0 {
		signed, signature = token[:dot], token[dot+1:]
	}
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return err
	}
	for _, secret := range []string{pageSecret, oldPageSecret} {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(signed))
		if hmac.Equal(mac.Sum(nil), given) {
			return nil
		}
	}
	return errors.New("no secret of ours has signed it")
}
