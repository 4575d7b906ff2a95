package proxies_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

const (
	host       = "relay.shop.example"
	apiKey     = "an-api-key-with-at-least-32-characters"
	pageSecret = "a-page-secret-with-at-least-32-characters"
	patience   = 30 * time.Second
)

// bed is three relays as the configurations name them, on addresses of loopback: relay-1 is a real one, relay-2 is not
// there, and relay-3 is about to stop. All have the same ports.
type bed struct {
	t       *testing.T
	sandbox string
	port    string // of the relays
	admin   string // port of their admin listeners
	folder  string // the certificate
	roots   *x509.CertPool
	refused atomic.Int64 // requests that relay-3 was asked
}

// Addresses on loopback.
const (
	relay1, relay2, relay3 = "127.0.71.1", "127.0.71.2", "127.0.71.3"
	customer               = "127.0.72.1"
	farProxy               = "127.0.72.2" // a proxy before ours, such as a content delivery network's
)

// newBed starts the relays; page tokens live for as long as it says.
func newBed(t *testing.T, tokenLife time.Duration) *bed {
	t.Helper()
	b := &bed{t: t, folder: t.TempDir()}
	b.certify()
	stand := sandbox.New(sandbox.Options{})
	standIns := httptest.NewServer(stand.Handler())
	t.Cleanup(standIns.Close)
	b.sandbox = standIns.URL
	b.run(stand.Run)

	public, admin := b.listen(relay1+":0"), b.listen(relay1+":0")
	_, b.port, _ = net.SplitHostPort(public.Addr().String())
	_, b.admin, _ = net.SplitHostPort(admin.Addr().String())
	relay, err := app.New(t.Context(), app.Config{
		DollrBaseURL: b.sandbox, DollrClientID: dollrtest.ClientID, DollrClientSecret: secret.New(dollrtest.ClientSecret), DollrRate: 1000,
		SupabaseURL: b.sandbox, SupabaseAnonKey: secret.New(sandbox.AnonKey()),
		PublicURL: &url.URL{Scheme: "https", Host: host}, DatabaseURL: secret.New("sqlite:" + filepath.Join(t.TempDir(), "relay.db")),
		APIKeys: []secret.Value{secret.New(apiKey)}, PageSecrets: []secret.Value{secret.New(pageSecret)},
		PageTokenTTL: tokenLife, MaxPages: 1000, WatchFor: time.Hour, ReconcileEvery: time.Hour, PollMin: time.Hour, PollMax: time.Hour,
		AuditEvery: time.Hour, RealtimeWindow: 10 * time.Minute, ShutdownGrace: 2 * time.Second,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix(farProxy + "/32")},
	}, app.Options{Public: public, Admin: admin, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b.run(relay.Run)

	stopping := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			b.refused.Add(1)
		}
		w.Header().Set("Connection", "close")
		http.Error(w, "stopping", http.StatusServiceUnavailable)
	})
	for _, port := range []string{b.port, b.admin} {
		server := &httptest.Server{Listener: b.listen(relay3 + ":" + port), Config: &http.Server{Handler: stopping, ReadHeaderTimeout: patience}}
		server.Start()
		t.Cleanup(server.Close)
	}
	return b
}

func (b *bed) listen(address string) net.Listener {
	b.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		b.t.Fatal(err)
	}
	return listener
}

// free is two addresses for a proxy that has a folder to itself. Nothing else on the machine uses their host, so that the ports
// stay free until the proxy takes them, also again after a restart.
func (b *bed) free(folder string) (secure, plain string) {
	name := fnv.New32a()
	_, _ = name.Write([]byte(folder))
	host := netip.AddrFrom4([4]byte{127, 70, byte(name.Sum32()), byte(name.Sum32() >> 8)})
	one, other := b.listen(host.String()+":0"), b.listen(host.String()+":0") // both at once, so that they differ
	defer func() { _, _ = one.Close(), other.Close() }()
	return one.Addr().String(), other.Addr().String()
}

// run runs a part until the test ends.
func (b *bed) run(part func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	b.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.t.Errorf("Run() = %v", err)
		}
	})
}

// certify makes the certificate that the configurations name.
func (b *bed) certify() {
	b.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	for name, content := range map[string][]byte{"relay.crt": certificate, "relay.key": private, "relay.pem": append(certificate, private...)} {
		if err := os.WriteFile(filepath.Join(b.folder, name), content, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	b.roots = x509.NewCertPool()
	b.roots.AppendCertsFromPEM(certificate)
}

// client is somebody at an address who reaches the proxy by its name.
func (b *bed) client(from, proxy string, protocols ...string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, proxy)
		},
		TLSClientConfig: &tls.Config{RootCAs: b.roots, NextProtos: protocols}, Protocols: &http.Protocols{},
	}
	transport.Protocols.SetHTTP1(true)
	for _, protocol := range protocols {
		transport.Protocols.SetHTTP2(protocol == "h2")
	}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// send makes a request and returns the code and the body of the answer.
func send(t *testing.T, client *http.Client, method, address, key, body string, header ...string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Logf("%s %s: %v", method, address, err)
		return 0, nil
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	_ = json.Unmarshal(text, &fields) // not every answer is an object
	return answer.StatusCode, fields
}

// payment is one that Dollr and the relay know.
type payment struct{ id, reference, token string }

// pay registers a payment through the proxy.
func (b *bed) pay(t *testing.T, client *http.Client) payment {
	t.Helper()
	p := payment{reference: uuid.NewString()}
	if code, _ := send(t, http.DefaultClient, "POST", b.sandbox+"/_sandbox/payments", "", fmt.Sprintf(`{"reference_id":%q,"session_id":55}`, p.reference)); code != 201 {
		t.Fatalf("the sandbox answers %d", code)
	}
	code, known := send(t, client, "POST", "https://"+host+"/v1/payments", apiKey,
		fmt.Sprintf(`{"operation":"collection","reference_id":%q,"session_id":55,"source_type":"INVOICE"}`, p.reference))
	if code != 201 {
		t.Fatalf("registration = %d %v", code, known)
	}
	p.id, p.token = known["id"].(string), known["page"].(map[string]any)["token"].(string)
	return p
}

// aged signs a page token, as a merchant may, that is good for a while and so old that a fresh one is due at once.
func (b *bed) aged(t *testing.T, p payment) string {
	t.Helper()
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": p.id, "aud": "page", "iat": now.Add(-400 * time.Second).Unix(), "exp": now.Add(100 * time.Second).Unix(),
	}).SignedString([]byte(pageSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (b *bed) complete(t *testing.T, p payment) {
	t.Helper()
	if code, _ := send(t, http.DefaultClient, "PUT", b.sandbox+"/_sandbox/payments/"+p.reference+"/status", "", `{"status":"COMPLETED"}`); code != 200 {
		t.Fatalf("the sandbox answers %d", code)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never %s", what)
		}
	}
}
