package api_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestDocs_scriptTagLoadsWhatItsHashSays does what a merchant does: it copies the tag from the page of the documentation
// and has a browser's checks done on it.
func TestDocs_scriptTagLoadsWhatItsHashSays(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.client = http.DefaultClient // the scripts are files; the document describes relay.js
	page := s.send(request{method: "GET", path: "/docs"})
	_, rest, _ := bytes.Cut(page.body, []byte("<pre"))
	_, rest, _ = bytes.Cut(rest, []byte("<code>"))
	shown, _, found := bytes.Cut(rest, []byte("</code></pre>"))
	if !found {
		t.Fatal("the page shows nothing to paste")
	}
	attributes := map[string]string{}
	tokens := html.NewTokenizer(strings.NewReader(html.UnescapeString(string(shown))))
	for kind := tokens.Next(); kind != html.ErrorToken; kind = tokens.Next() {
		if token := tokens.Token(); token.Data == "script" && kind == html.StartTagToken {
			for _, a := range token.Attr {
				attributes[a.Key] = a.Val
			}
		}
	}
	path, ok := strings.CutPrefix(attributes["src"], "http://relay.test") // the public URL
	if !ok || !strings.HasPrefix(path, "/v1/relay-") || attributes["crossorigin"] != "anonymous" {
		t.Fatalf("the tag to paste has attributes %v", attributes)
	}
	script := s.send(request{method: "GET", path: path, header: http.Header{"Authorization": {""}, "Origin": {"https://anywhere.example"}}})
	sum := sha512.Sum384(script.body)
	if want := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); script.code != 200 || attributes["integrity"] != want {
		t.Errorf("GET %s = %d, integrity of the tag = %s, want %s", path, script.code, attributes["integrity"], want)
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=31536000, immutable", "Content-Type": "text/javascript; charset=utf-8",
	} {
		if got := script.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if other := s.send(request{method: "GET", path: "/v1/relay-0.0.1.js"}); other.code != 404 {
		t.Errorf("a version that never was: %d, want 404", other.code)
	}
	if short := s.send(request{method: "GET", path: "/v1/relay.js"}).header.Get("Cache-Control"); short != "public, max-age=3600" {
		t.Errorf("Cache-Control of /v1/relay.js = %q, want one hour", short)
	}
	if types := s.send(request{method: "GET", path: "/v1/relay.d.ts"}); types.code != 200 || !bytes.Contains(types.body, []byte("WatchOptions")) {
		t.Errorf("GET /v1/relay.d.ts = %d, want the types", types.code)
	}
}
