package main_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

func TestDoctor_oneLineEach(t *testing.T) {
	t.Parallel()
	stand := httptest.NewServer(sandbox.New(sandbox.Options{}).Handler())
	t.Cleanup(stand.Close)
	var mu sync.Mutex
	methods := ""
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		methods += r.Method + " "
	}))
	t.Cleanup(backend.Close)
	well := good(t)
	for _, pair := range sandbox.Environment(stand.URL) {
		well[pair[0]] = pair[1]
	}
	well["RELAY_CALLBACK_URLS"], well["RELAY_CALLBACK_SECRETS"] = backend.URL+"/hooks", callback.NewSecretText()

	code, stdout, stderr := finish(t, command(t, well, "doctor"))
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 6 || strings.Count(stdout, "ok    ") != 6 {
		t.Errorf("exit %d with\n%s%swant 0 and six lines that are ok", code, stdout, stderr)
	}

	ill := maps.Clone(well)
	ill["DOLLR_CLIENT_SECRET"] = "another-secret-than-the-right-one"
	code, stdout, stderr = finish(t, command(t, ill, "doctor"))
	if code != 1 || strings.Count(stdout, "FAIL  ") != 2 || !strings.Contains(stdout, "FAIL  dollr: ") || !strings.Contains(stdout, " | ") || !strings.Contains(stdout, " → ") {
		t.Errorf("exit %d with\n%s%swant 1, and what it saw | what it means → what to do", code, stdout, stderr)
	}
	if strings.Contains(stdout+stderr, "another-secret") {
		t.Error("the doctor prints a secret")
	}

	code, stdout, _ = finish(t, command(t, ill, "doctor", "--json"))
	failed := map[string]bool{}
	for line := range strings.Lines(stdout) {
		var finding struct {
			Check, Saw, Means, Do string
			OK                    *bool
		}
		if err := json.Unmarshal([]byte(line), &finding); err != nil || finding.Check == "" || finding.Saw == "" || finding.OK == nil {
			t.Fatalf("--json wrote %s: %v", line, err)
		}
		if !*finding.OK && finding.Means != "" && finding.Do != "" {
			failed[finding.Check] = true
		}
	}
	if code != 1 || !failed["dollr"] || !failed["realtime keys"] || len(failed) != 2 {
		t.Errorf("exit %d, failed: %v; want 1, dollr and the realtime keys", code, failed)
	}

	delete(ill, "RELAY_API_KEYS")
	ill["RELAY_LOG"] = "loud"
	code, stdout, stderr = finish(t, command(t, ill, "doctor"))
	if code != 2 || stdout != "" || !strings.Contains(stderr, "RELAY_API_KEYS") || !strings.Contains(stderr, "RELAY_LOG") {
		t.Errorf("exit %d with %s%s; want 2 and every wrong variable", code, stdout, stderr)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Trim(methods, "HEAD ") != "" || methods == "" {
		t.Errorf("the backend saw %s, want only HEAD: the doctor posts no outcome", methods)
	}
}
