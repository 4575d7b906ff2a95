package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/dollr-relay/dollr-relay/web"
	"github.com/dollr-relay/dollr-relay/web/bundle"
)

func scripts(t *testing.T) map[string]web.Script {
	t.Helper()
	list, err := web.Scripts()
	if err != nil {
		t.Fatalf("Scripts() = %v", err)
	}
	byName := map[string]web.Script{}
	for _, s := range list {
		byName[s.Name] = s
	}
	return byName
}

func get(t *testing.T, s web.Script, headers map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/"+s.Name, http.NoBody)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func TestScripts_areWhatTheSourcesBuildTo(t *testing.T) {
	t.Parallel()
	built, err := bundle.Build("snippet")
	if err != nil {
		t.Fatalf("Build() = %v", err)
	}
	committed := scripts(t)
	for name, content := range built {
		if !bytes.Equal(committed[name].Content, content) {
			t.Errorf("web/dist/%s differs from its sources: run go generate ./web", name)
		}
	}
}

func TestScripts_areSmall(t *testing.T) {
	t.Parallel()
	const limit = 4000 // promised: under 4 KB
	for _, name := range []string{"relay.js", "relay.mjs"} {
		answer := get(t, scripts(t)[name], map[string]string{"Accept-Encoding": "gzip, br"})
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes gzipped", name, len(body))
		if len(body) == 0 || len(body) >= limit {
			t.Errorf("%s is %d bytes gzipped, want fewer than %d", name, len(body), limit)
		}
	}
}

func TestScripts_needNoUnsafePolicy(t *testing.T) {
	t.Parallel()
	// Sinks that a strict content security policy or Trusted Types refuses.
	unsafe := regexp.MustCompile(`\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|parseFromString|\.cssText`)
	for _, name := range []string{"relay.js", "relay.mjs"} {
		if found := unsafe.Find(scripts(t)[name].Content); found != nil {
			t.Errorf("%s contains %q, which a strict policy refuses", name, found)
		}
	}
}

func TestScript_serves(t *testing.T) {
	t.Parallel()
	script := scripts(t)["relay.js"]

	plain := get(t, script, nil)
	body, err := io.ReadAll(plain.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(body, script.Content) {
		t.Errorf("plain answer has %d bytes, want the script's %d", len(body), len(script.Content))
	}
	for name, want := range map[string]string{
		"Content-Type":                "text/javascript; charset=utf-8",
		"Access-Control-Allow-Origin": "*",
		"Cache-Control":               "public, max-age=3600",
		"X-Content-Type-Options":      "nosniff",
	} {
		if got := plain.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}

	packed := get(t, script, map[string]string{"Accept-Encoding": "gzip"})
	unpacked, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatalf("compressed answer: %v", err)
	}
	if body, err = io.ReadAll(unpacked); err != nil || !bytes.Equal(body, script.Content) {
		t.Errorf("compressed answer is not the script (%d bytes, error %v)", len(body), err)
	}

	again := get(t, script, map[string]string{"If-None-Match": plain.Header.Get("ETag")})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("answer to a known ETag = %d, want %d", again.StatusCode, http.StatusNotModified)
	}
}
