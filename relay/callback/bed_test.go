package callback_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

const shop = "http://shop.example/hooks/dollr"

// bed is a test's world inside a synctest bubble: an outbox and backends reached over net.Pipe.
type bed struct {
	t       *testing.T
	box     *memory
	secret  callback.Secret
	network *network
	start   time.Time
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, box: &memory{}, secret: mustSecret(t, vectorSecret), network: &network{}, start: time.Now()}
	t.Cleanup(b.network.close)
	return b
}

// bubble runs a test in a synctest bubble with a bed.
func bubble(t *testing.T, test func(*bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newBed(t)) })
}

// options for a Sender to the shop, without jitter.
func (b *bed) options(urls ...string) callback.Options {
	if len(urls) == 0 {
		urls = []string{shop}
	}
	return callback.Options{
		URLs: urls, Secrets: []callback.Secret{b.secret}, Version: "1.2.3",
		Transport: b.network.transport(), Logger: slog.New(slog.DiscardHandler),
		Rand: func() float64 { return 0.5 },
	}
}

// run starts a Sender and returns it with the function that stops it and waits for it.
func (b *bed) run(box callback.Outbox, opts callback.Options) (s *callback.Sender, stop func()) {
	b.t.Helper()
	s, err := callback.New(box, opts)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run = %v, want nil", err)
		}
	})
	b.t.Cleanup(stop)
	return s, stop
}

// queue stores a callback, due now.
func (b *bed) queue(id, payment, url string) {
	b.t.Helper()
	if err := b.box.Queue(b.t.Context(), id, payment, url, []byte(`{"id":"`+id+`"}`), time.Now()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) wantState(id string, want callback.State, attempts int) {
	b.t.Helper()
	row, err := b.box.Look(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	if row.State != want || len(row.Attempts) != attempts {
		b.t.Errorf("%s is %s after %d attempts, want %s after %d", id, row.State, len(row.Attempts), want, attempts)
	}
}

// count tells how many callbacks are in a state.
func (m *memory) count(s callback.State) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.rows {
		if r.state == s {
			n++
		}
	}
	return n
}

// dueBefore tells how many callbacks wait that were due before that time.
func (m *memory) dueBefore(t time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.rows {
		if r.state == callback.Pending && r.claimableAt().Before(t) {
			n++
		}
	}
	return n
}

// received is one request that a backend saw.
type received struct {
	id, body, timestamp, signature string
	header                         http.Header
	after                          time.Duration // since the test began
}

// backend is a merchant's backend that keeps what it saw and answers as told.
type backend struct {
	bed    *bed
	answer func(n int, w http.ResponseWriter, r *http.Request) // n counts requests from 1

	mu   sync.Mutex
	seen []received
}

// backend puts a backend on the network at a host.
func (b *bed) backend(host string, answer func(n int, w http.ResponseWriter, r *http.Request)) *backend {
	k := &backend{bed: b, answer: answer}
	b.network.serve(host, k)
	return k
}

func (k *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	k.mu.Lock()
	k.seen = append(k.seen, received{
		id: r.Header.Get("webhook-id"), body: string(body), timestamp: r.Header.Get("webhook-timestamp"),
		signature: r.Header.Get("webhook-signature"), header: r.Header, after: time.Since(k.bed.start),
	})
	n := len(k.seen)
	k.mu.Unlock()
	k.answer(n, w, r)
}

func (k *backend) requests() []received {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]received(nil), k.seen...)
}

// Answers.
func ok(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func code(status int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func hang(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// network carries HTTP over net.Pipe, so that it runs under the bubble's clock.
type network struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
	servers   []*http.Server
	clients   []*http.Transport
}

func (n *network) serve(host string, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*pipeListener{}
	}
	ln := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[host] = ln
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	n.servers = append(n.servers, server)
	go func() { _ = server.Serve(ln) }()
}

func (n *network) transport() *http.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		ln := n.listeners[host]
		n.mu.Unlock()
		if ln == nil {
			return nil, fmt.Errorf("dial %s: %w", host, errors.New("connection refused"))
		}
		return ln.dial(ctx)
	}}
	n.clients = append(n.clients, t)
	return t
}

func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.clients {
		t.CloseIdleConnections()
	}
	for _, s := range n.servers {
		_ = s.Close()
	}
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
