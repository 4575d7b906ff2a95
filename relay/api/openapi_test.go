package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/errors"
	"golang.org/x/net/html"
)

// document is the validator of openapi.yaml.
var document = sync.OnceValues(func() (validator.Validator, error) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		return nil, fmt.Errorf("openapi.yaml: %v", errs)
	}
	return v, nil
})

var documentUse sync.Mutex

// validating sends requests and checks them and their answers against the document, so that it and
// the handlers cannot drift apart. A request is only checked if it was accepted.
type validating struct {
	tb    testing.TB
	next  http.RoundTripper
	relay string
}

// RoundTrip implements [http.RoundTripper].
func (v *validating) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	answer, err := v.next.RoundTrip(r)
	if err != nil || !strings.HasPrefix(r.URL.String(), v.relay) || answer.Header.Get("Content-Type") == "text/event-stream; charset=utf-8" || answer.StatusCode == http.StatusSwitchingProtocols {
		return answer, err
	}
	got, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(got))
	if err != nil || undocumented(r, answer.StatusCode) {
		return answer, err
	}
	checker, err := document()
	if err != nil {
		v.tb.Fatal(err)
	}
	documentUse.Lock()
	defer documentUse.Unlock()
	request := r.Clone(r.Context())
	request.Body = io.NopCloser(bytes.NewReader(sent))
	if answer.StatusCode < 300 {
		_, errs := checker.ValidateHttpRequestSync(request)
		v.report("request", r, answer, sent, errs)
	}
	copied := *answer
	copied.Body = io.NopCloser(bytes.NewReader(got))
	_, errs := checker.ValidateHttpResponse(request, &copied)
	v.report("answer", r, answer, got, errs)
	return answer, nil
}

// undocumented are requests that no client should make: there is nothing at the address.
func undocumented(r *http.Request, code int) bool {
	return code == http.StatusMethodNotAllowed || r.Method == http.MethodOptions || r.Header.Get("Undocumented") != ""
}

func (v *validating) report(what string, r *http.Request, answer *http.Response, body []byte, errs []*errors.ValidationError) {
	for _, e := range errs {
		v.tb.Errorf("%s %s = %d: the %s is not what the document says: %s: %s %v\n%s", r.Method, r.URL.Path, answer.StatusCode, what, e.Message, e.Reason, e.SchemaValidationErrors, body)
	}
}

func TestDocument_isValidOpenAPI(t *testing.T) {
	t.Parallel()
	checker, err := document()
	if err != nil {
		t.Fatal(err)
	}
	documentUse.Lock()
	defer documentUse.Unlock()
	if ok, errs := checker.ValidateDocument(); !ok {
		for _, e := range errs {
			t.Errorf("%s: %s %v", e.Message, e.Reason, e.SchemaValidationErrors)
		}
	}
}

func TestDocument_isServedAsJSON(t *testing.T) {
	t.Parallel()
	s := start(t)
	answer := s.send(request{method: "GET", path: "/openapi.json", header: http.Header{"Authorization": {""}}})
	if answer.code != 200 || answer.header.Get("Content-Type") != "application/json" || answer.fields["openapi"] != "3.1.0" {
		t.Fatalf("GET /openapi.json = %d %s, openapi %v, want the document", answer.code, answer.header.Get("Content-Type"), answer.fields["openapi"])
	}
	doc, err := libopenapi.NewDocument(answer.body)
	if err != nil {
		t.Fatal(err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	if got := model.Model.Paths.PathItems.Len(); got < 15 {
		t.Errorf("the served document has %d paths, want all", got)
	}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			answer := s.send(request{method: strings.ToUpper(method), path: strings.ReplaceAll(path, "{id}", "x"), header: http.Header{"Authorization": {""}}})
			if answer.code == 405 || answer.code == 404 {
				t.Errorf("%s %s is documented and answers %d", method, path, answer.code)
			}
		}
	}
	again := s.send(request{method: "GET", path: "/openapi.json", header: http.Header{"If-None-Match": {answer.header.Get("ETag")}}})
	if again.code != 304 {
		t.Errorf("with its ETag: %d, want 304", again.code)
	}
}

func TestDocs_needNothingFromOutside(t *testing.T) {
	t.Parallel()
	s := start(t)
	answer := s.send(request{method: "GET", path: "/docs", header: http.Header{"Authorization": {""}}})
	if policy := answer.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("policy = %q, want one that allows nothing but the page's own style", policy)
	}
	page := string(answer.body)
	for _, want := range []string{"Watch a payment", "/v1/payments/{id}/verify", "schema-Payment", "Retry-After"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not mention %q", want)
		}
	}
	ids, links := map[string]bool{}, []string{}
	tokens := html.NewTokenizer(bytes.NewReader(answer.body))
	for tokens.Next() != html.ErrorToken {
		token := tokens.Token()
		for _, a := range token.Attr {
			switch a.Key {
			case "id":
				ids[a.Val] = true
			case "href":
				links = append(links, a.Val)
			case "src", "style", "onclick":
				t.Errorf("<%s %s=%q>, want no assets, inline styles or handlers", token.Data, a.Key, a.Val)
			}
		}
	}
	for _, link := range links {
		if anchor, ok := strings.CutPrefix(link, "#"); ok && !ids[anchor] {
			t.Errorf("the link %q leads nowhere", link)
		} else if !ok && link != "openapi.json" && link != "v1/relay.mjs" && link != "v1/relay.d.ts" {
			t.Errorf("the link %q leads outside", link)
		}
	}
	if len(links) < 40 {
		t.Errorf("%d links, want the whole contents", len(links))
	}
}
