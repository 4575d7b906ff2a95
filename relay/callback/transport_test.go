package callback_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// TestMain makes this process trust the certificate of httptest's TLS servers, as an operator would by
// SSL_CERT_FILE, so that the tests below use the Sender's own transport.
func TestMain(m *testing.M) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	srv.Close()
	dir, err := os.MkdirTemp("", "callback")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "cert.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		panic(err)
	}
	if err := os.Setenv("SSL_CERT_FILE", file); err != nil {
		panic(err)
	}
	failed := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(failed)
}

// deliver runs a Sender with its own transport until each of so many callbacks was attempted once.
func deliver(t *testing.T, url string, callbacks int) []callback.Result {
	t.Helper()
	box := &memory{}
	for i := range callbacks {
		if err := box.Queue(t.Context(), fmt.Sprint("cb_", i), fmt.Sprint("pay_", i), url, []byte(`{}`), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	results := make(chan callback.Result, callbacks)
	s, err := callback.New(box, callback.Options{
		URLs: []string{url}, Secrets: []callback.Secret{mustSecret(t, vectorSecret)},
		Logger: slog.New(slog.DiscardHandler), PerEndpoint: 4,
		OnResult: func(_ callback.Delivery, r callback.Result) { results <- r },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	got := make([]callback.Result, callbacks)
	for i := range got {
		got[i] = <-results
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	return got
}

// connections counts the connections of a server that is not started yet.
func connections(srv *httptest.Server) func() int {
	var mu sync.Mutex
	n := 0
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if s == http.StateNew {
			n++
		}
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestTransport_speaksHTTP2AndReusesItsConnection(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	versions := map[string]int{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		versions[r.Proto]++
	}))
	srv.EnableHTTP2 = true
	opened := connections(srv)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	defer srv.Close()
	for _, r := range deliver(t, srv.URL, 50) {
		if r.State != callback.Delivered {
			t.Fatalf("result = %+v, want it delivered", r)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	// Workers that start together may each dial before the first connection is known to be HTTP/2.
	if versions["HTTP/2.0"] != 50 || opened() > 12 {
		t.Errorf("versions %v over %d connections, want 50 times HTTP/2.0 over a few", versions, opened())
	}
}

func TestTransport_reusesConnectionsOfHTTP1(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("x", 60_000))) // more than is kept, less than is read
	}))
	opened := connections(srv)
	srv.Start()
	defer srv.Close()
	deliver(t, srv.URL, 50)
	if n := opened(); n > 12 { // net/http may dial once more while a connection is just coming back
		t.Errorf("%d connections for 50 callbacks by 4 workers, want them used again", n)
	}
}

func TestTransport_refusesAStrangersCertificate(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer srv.Close()
	// The certificate is trusted but names other hosts.
	url := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	if err := srv.Certificate().VerifyHostname("localhost"); err == nil {
		t.Fatal("the test server's certificate names localhost: this test proves nothing")
	}
	r := deliver(t, url, 1)[0]
	if r.Reason != callback.Unreachable || r.Code != 0 || !strings.Contains(r.Err, "certificate") {
		t.Errorf("result = %+v, want unreachable because of the certificate", r)
	}
}

func TestTransport_nobodyListens(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	r := deliver(t, srv.URL, 1)[0]
	if r.Reason != callback.Unreachable || r.State != callback.Pending || r.Err == "" {
		t.Errorf("result = %+v, want unreachable, pending, with words", r)
	}
}

func TestTransport_doesNotUnpackAnswers(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("accepts " + r.Header.Get("Accept-Encoding")))
	}))
	defer srv.Close()
	if r := deliver(t, srv.URL, 1)[0]; r.Response != "accepts " {
		t.Errorf("answer = %q, want no Accept-Encoding in the request", r.Response)
	}
}
