package docs_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// vault is a relay whose secrets are in files, and a backend that takes its callbacks.
type vault struct {
	*desk
	stop func()
	sent chan sentCallback
}

type sentCallback struct {
	header http.Header
	body   []byte
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{desk: newDesk(t), sent: make(chan sentCallback, 10)}
	v.practise(t)
	shop := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		v.sent <- sentCallback{r.Header, body}
	}))
	_ = shop.Listener.Close()
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", v.ports.Replace("127.0.0.1:3000"))
	if err != nil {
		t.Fatal(err)
	}
	shop.Listener = listener
	shop.Start()
	t.Cleanup(shop.Close)
	v.paste(t, "secrets", `mkdir secrets; openssl rand -hex 32 > secrets/api-keys; openssl rand -hex 32 > secrets/page-secrets
echo "whsec_$(openssl rand -base64 32)" > secrets/callback-secrets`)
	v.restart(t)
	return v
}

// restart ends the relay, if it runs, and starts it with the secrets as the files have them now.
func (v *vault) restart(t *testing.T) {
	t.Helper()
	if v.stop != nil {
		v.stop()
	}
	relay, stop := v.start(t, "relay", filled(`export RELAY_API_KEYS_FILE=secrets/api-keys RELAY_PAGE_SECRETS_FILE=secrets/page-secrets
export RELAY_CALLBACK_SECRETS_FILE=secrets/callback-secrets RELAY_CALLBACK_URLS=http://localhost:3000/hooks RELAY_SHUTDOWN_GRACE=1s RELAY_POLL_MIN=500ms
exec dollr-relay serve`))
	relay.waitFor(t, "relay is up", 1)
	v.stop = stop
}

// secrets are those of a file, first one first.
func (v *vault) secrets(t *testing.T, name string) []string {
	t.Helper()
	return strings.Split(v.read(t, "secrets/"+name), ",")
}

// call makes a request with a key and returns the answer's code and fields.
func (v *vault) call(t *testing.T, method, address, key, body string) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, v.ports.Replace(address), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var fields map[string]any
	_ = json.NewDecoder(answer.Body).Decode(&fields) // not every answer has a body
	return answer.StatusCode, fields
}

// pay makes and registers a payment, and returns its page token and reference.
func (v *vault) pay(t *testing.T) (token, reference string) {
	t.Helper()
	_, p := v.call(t, http.MethodPost, "http://localhost:8090/_sandbox/payments", "", `{"payee_amount":"250.00","payee_currency":"USD"}`)
	reference, _ = p["reference_id"].(string)
	code, known := v.call(t, http.MethodPost, "http://localhost:8080/v1/payments", v.secrets(t, "api-keys")[0], fmt.Sprintf(`{"operation":"collection","reference_id":%q}`, reference))
	page, _ := known["page"].(map[string]any)
	token, _ = page["token"].(string)
	if code != http.StatusCreated || token == "" {
		t.Fatalf("registration = %d %v", code, known)
	}
	return token, reference
}

// The steps of security.md, one secret after the other: nobody notices the change, and what was dropped is worth nothing.
func TestSecurity_changingSecrets(t *testing.T) {
	t.Parallel()
	g, v := readGuide(t, "security.md"), newVault(t)
	keyWorks := func(key string) bool {
		code, _ := v.call(t, http.MethodGet, "http://localhost:8080/v1/payments", key, "")
		return code == http.StatusOK
	}
	tokenWorks := func(token string) bool {
		code, _ := v.call(t, http.MethodGet, "http://localhost:8080/v1/page/status", token, "")
		return code == http.StatusOK
	}
	expect := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: works %t, want %t", what, got, want)
		}
	}

	old := v.secrets(t, "api-keys")[0]
	expect("the API key", keyWorks(old), true)
	v.paste(t, "new key", g.run(t, "new-api-key"))
	v.restart(t)
	fresh := v.secrets(t, "api-keys")[0]
	expect("the new API key", keyWorks(fresh) && fresh != old, true)
	expect("the old API key beside it", keyWorks(old), true)
	v.paste(t, "drop key", g.run(t, "drop-api-key"))
	v.restart(t)
	expect("the new API key alone", keyWorks(fresh), true)
	expect("the dropped API key", keyWorks(old), false)

	token, reference := v.pay(t)
	v.paste(t, "new page secret", g.run(t, "new-page-secret"))
	v.restart(t)
	newToken, _ := v.pay(t)
	expect("a page of the old secret beside the new one", tokenWorks(token), true)
	expect("a page of the new secret", tokenWorks(newToken), true)
	v.paste(t, "drop page secret", g.run(t, "drop-page-secret"))
	v.restart(t)
	expect("a page of the new secret alone", tokenWorks(newToken), true)
	expect("a page of the dropped secret", tokenWorks(token), false)

	// What a page token cannot do.
	for _, path := range []string{"/v1/payments", "/v1/events", "/v1/callbacks"} {
		if code, _ := v.call(t, http.MethodGet, "http://localhost:8080"+path, newToken, ""); code != http.StatusUnauthorized {
			t.Errorf("a page token at %s = %d, want 401", path, code)
		}
	}
	if _, text := v.get(t, "/v1/page/status", newToken); strings.Contains(text, "250") || strings.Contains(text, reference) {
		t.Errorf("a page token reads an amount or a reference: %s", text)
	}

	signed := func(reference string) func(secret string) bool {
		v.call(t, http.MethodPut, "http://localhost:8090/_sandbox/payments/"+reference+"/status", "", `{"status":"COMPLETED"}`)
		select {
		case got := <-v.sent:
			return func(secret string) bool { return verifies(t, got, secret) }
		case <-time.After(patience):
			t.Fatal("no callback came")
			return nil
		}
	}
	oldSecret := v.secrets(t, "callback-secrets")[0]
	v.paste(t, "new callback secret", g.run(t, "new-callback-secret"))
	v.restart(t)
	by := signed(reference)
	newSecret := v.secrets(t, "callback-secrets")[0]
	expect("a callback by the new secret", by(newSecret) && newSecret != oldSecret, true)
	expect("the same callback by the old secret", by(oldSecret), true)
	v.paste(t, "drop callback secret", g.run(t, "drop-callback-secret"))
	v.restart(t)
	_, reference = v.pay(t)
	by = signed(reference)
	expect("a callback by the new secret alone", by(newSecret), true)
	expect("a callback by the dropped secret", by(oldSecret), false)
}

func verifies(t *testing.T, got sentCallback, secret string) bool {
	t.Helper()
	parsed, err := callback.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := callback.NewVerifier([]callback.Secret{parsed}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = verifier.Verify(got.header, got.body)
	return err == nil
}
