package callback_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// exhibit is one callback as a receiver got it.
type exhibit struct {
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// The official Standard Webhooks library accepts what the Sender sends, by each of the secrets, and nothing else.
func TestJudge_officialLibraryVerifiesWhatIsSent(t *testing.T) {
	t.Parallel()
	newSecret, oldSecret := callback.NewSecretText(), callback.NewSecretText()
	body := `{"type":"payment.succeeded","data":{"metadata":{"name":"Zoë & Söhne <é> 日本"}}}`
	sent := capture(t, body, newSecret, oldSecret)

	forged := sent
	forged.Body = strings.Replace(body, "succeeded", "failed", 1)
	exhibits := []exhibit{
		{newSecret, sent.Headers, sent.Body},
		{oldSecret, sent.Headers, sent.Body},
		{callback.NewSecretText(), sent.Headers, sent.Body},
		{newSecret, forged.Headers, forged.Body},
	}
	verdicts := judge(t, exhibits)
	for i, name := range []string{"new secret", "old secret"} {
		if verdicts[i] != "ok" {
			t.Errorf("%s: the official library says %q, want ok", name, verdicts[i])
		}
	}
	for i, name := range []string{"a stranger's secret", "a changed body"} {
		if verdicts[2+i] == "ok" {
			t.Errorf("%s: the official library says ok, so this test proves nothing", name)
		}
	}
}

// capture sends one callback and returns it as it arrived.
func capture(t *testing.T, body string, secrets ...string) exhibit {
	t.Helper()
	arrived := make(chan exhibit, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the callback: %v", err)
		}
		headers := map[string]string{}
		for _, name := range []string{callback.HeaderID, callback.HeaderTimestamp, callback.HeaderSignature} {
			headers[name] = r.Header.Get(name)
		}
		arrived <- exhibit{Headers: headers, Body: string(raw)}
	}))
	t.Cleanup(srv.Close)
	box := &memory{}
	if err := box.Queue(t.Context(), "cb_1", "pay_1", srv.URL, []byte(body), time.Now()); err != nil {
		t.Fatal(err)
	}
	opts := callback.Options{URLs: []string{srv.URL}, Logger: slog.New(slog.DiscardHandler)}
	for _, text := range secrets {
		opts.Secrets = append(opts.Secrets, mustSecret(t, text))
	}
	s, err := callback.New(box, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = s.Run(ctx) }()
	return <-arrived
}

// judge asks the official library, installing it by its lock file if that was not done yet.
func judge(t *testing.T, exhibits []exhibit) []string {
	t.Helper()
	if _, err := os.Stat("judge/node_modules/standardwebhooks"); err != nil {
		install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
		install.Dir = "judge"
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm ci in judge/: %v\n%s", err, out)
		}
	}
	input, err := json.Marshal(exhibits)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "verify.mjs")
	node.Dir, node.Stdin, node.Stderr = "judge", bytes.NewReader(input), os.Stderr
	out, err := node.Output()
	if err != nil {
		t.Fatalf("node verify.mjs: %v", err)
	}
	var verdicts []string
	if err := json.Unmarshal(out, &verdicts); err != nil || len(verdicts) != len(exhibits) {
		t.Fatalf("the judge said %q, %v; want %d verdicts", out, err, len(exhibits))
	}
	return verdicts
}
