package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
	"github.com/dollr-relay/dollr-relay/web/view"
)

// Payments is the relay, as far as the API needs it.
type Payments interface {
	Register(ctx context.Context, g relay.Registration) (p relay.Payment, created bool, err error)
	Verify(ctx context.Context, id string, via relay.Via) (relay.Payment, error)
	Wait(ctx context.Context, id string, since int64) (relay.Payment, error)
	Link(p relay.Payment) relay.Link
	OpenPage(ctx context.Context, id string, notify func()) (*relay.Page, error)
	ClosePage(page *relay.Page)
	Unsettled(id string) bool
}

// Records is the database, as far as the API reads it.
type Records interface {
	Find(ctx context.Context, id string) (relay.Payment, error)
	List(ctx context.Context, f store.Filter) ([]relay.Payment, int64, error)
	Events(ctx context.Context, paymentID string) ([]relay.Event, error)
	Feed(ctx context.Context, after string, limit int) ([]store.FeedEntry, error)
	Callbacks(ctx context.Context, state callback.State, before int64, limit int) ([]store.Callback, int64, error)
	Redeliver(ctx context.Context, id string, now time.Time) (store.Callback, error)
	Probe(ctx context.Context) error
}

// KeyMinter mints realtime keys with the relay's own credentials.
type KeyMinter interface {
	MintKey(ctx context.Context, r KeyRequest) (RealtimeKey, error)
}

// Monitor hears of what an operator wants to count. Its methods must not block.
type Monitor interface {
	// PageMessage is a message that was written to a page: status, link, token or ping.
	PageMessage(kind string)
	// PageClosed is the end of a page's connection, one of [CloseReasons].
	PageClosed(reason string)
}

// Options configure a Server. All but Mounts are required; Keys may be nil without Supabase.
type Options struct {
	Payments Payments
	Records  Records
	Keys     KeyMinter
	// Reconciler sweeps on demand.
	Reconciler Reconciler
	// Reports rings when an outcome was reported, for requests that wait for the event feed.
	Reports *relay.Bell
	// Redelivered is told the URL of a callback that is due again.
	Redelivered func(url string)

	APIKeys        []secret.Value
	PageSecrets    []secret.Value // the first signs page tokens, all verify
	PageTokenTTL   time.Duration
	PublicURL      *url.URL
	AllowedOrigins []Origin
	TrustedProxies []netip.Prefix
	CallbackURLs   []string
	MaxPages       int
	// Spread is over how long open pages are closed when the server stops.
	Spread  time.Duration
	Monitor Monitor

	Scripts map[string]http.Handler // by name under /v1/: relay.js, relay.mjs, relay.d.ts, relay-1.0.0.js
	// ScriptTag is the HTML that loads the page script, for the readable page of the documentation.
	ScriptTag string
	// Mounts are further handlers by path prefix, such as the demo shop's.
	Mounts map[string]http.Handler
	Logger *slog.Logger
	Now    func() time.Time
	// Random, uniform in [0, 1), spreads pings and returning pages. Defaults to math/rand/v2.
	Random func() float64
}

// Server is the HTTP surface.
type Server struct {
	Options

	public  *echo.Echo
	tokens  *tokens
	keys    *keyCache // nil without Supabase
	views   *view.Views
	open    openPages
	sockets sockets

	pageLimit, keyLimit, payKeyLimit, badKeyLimit *buckets
	proxyWarning                                  sync.Once

	stopping chan struct{} // closed when the server begins to stop
}

// New returns a Server; it listens to nothing by itself. Its Handler needs Run.
func New(opts Options) (*Server, error) {
	if len(opts.APIKeys) == 0 || len(opts.PageSecrets) == 0 || opts.PublicURL == nil {
		return nil, errors.New("api: API keys, page secrets and the public URL are required")
	}
	if opts.Random == nil {
		opts.Random = rand.Float64
	}
	s := &Server{
		Options: opts, tokens: newTokens(opts.PageSecrets, opts.PageTokenTTL, opts.Now),
		pageLimit: newBuckets(pagesPerSecond, pagesBurst), keyLimit: newBuckets(keysPerSecond, keysBurst),
		payKeyLimit: newBuckets(payKeysPerSecond, payKeysBurst), badKeyLimit: newBuckets(badKeysPerSecond, badKeysBurst),
		sockets: newSockets(), stopping: make(chan struct{}),
	}
	if opts.Keys != nil {
		s.keys = newKeyCache(opts.Keys)
	}
	var err error
	if s.views, err = view.New(); err != nil {
		return nil, err
	}
	if s.public, err = s.routes(); err != nil {
		return nil, err
	}
	return s, nil
}

// Handler serves merchants and pages.
func (s *Server) Handler() http.Handler { return s.public }

// Stop makes the server not ready, refuses new work, answers held requests and closes open pages,
// spread over [Options.Spread]. Call it once, before http.Server.Shutdown, which waits for them.
func (s *Server) Stop() {
	s.open.beginParting()
	close(s.stopping)
}

// Drained reports whether all pages are gone.
func (s *Server) Drained() bool { return s.open.total() == 0 }

// OpenPages counts the open pages by transport.
func (s *Server) OpenPages() map[string]int { return s.open.counts() }

// Stopping reports whether Stop was called.
func (s *Server) Stopping() bool { return s.isStopping() }

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// routes is the table of contents.
func (s *Server) routes() (*echo.Echo, error) {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = s.clientAddress
	e.HTTPErrorHandler = s.handleError
	e.Use(s.observe, s.secure)

	// Not groups: those answer 404 where 405 would help.
	backend := func(method, path string, handler echo.HandlerFunc) {
		e.Add(method, path, handler, s.requireAPIKey, s.refuseWhileStopping)
	}
	backend("POST", "/v1/payments", s.registerPayment)
	backend("GET", "/v1/payments", s.listPayments)
	backend("GET", "/v1/payments/:id", s.showPayment)
	backend("GET", "/v1/payments/:id/events", s.showTimeline)
	backend("POST", "/v1/payments/:id/verify", s.verifyPayment)
	backend("POST", "/v1/payments/:id/page-token", s.newPageToken)
	backend("POST", "/v1/realtime-keys/collection", s.mintKey)
	backend("GET", "/v1/events", s.readFeed)
	backend("GET", "/v1/callbacks", s.listCallbacks)
	backend("POST", "/v1/callbacks/:id/redeliver", s.redeliver)
	backend("POST", "/v1/reconcile", s.startReconcile)
	backend("GET", "/v1/reconcile", s.showReconcile)

	page := func(method, path string, handler echo.HandlerFunc) {
		e.Add(method, path, handler, s.allowOrigin, s.refuseWhileStopping, s.limitAddress)
		e.OPTIONS(path, s.preflight, s.allowOrigin)
	}
	page("GET", "/v1/page/stream", s.streamPage)
	page("GET", "/v1/page/events", s.streamPageEvents)
	page("GET", "/v1/page/status", s.pollPage)
	page("GET", viewPath, s.viewPage)
	page("POST", "/v1/page/realtime-key", s.mintPageKey)

	for name, script := range s.Scripts {
		e.Match([]string{http.MethodGet, http.MethodHead}, "/v1/"+name, echo.WrapHandler(script))
	}
	for prefix, handler := range s.Mounts {
		e.Any(prefix+"*", echo.WrapHandler(handler), s.refuseWhileStopping)
	}
	return e, s.document(e)
}

// find reads the payment of the request's path.
func (s *Server) find(c echo.Context) (relay.Payment, error) {
	about(c, c.Param("id"))
	p, err := s.Records.Find(c.Request().Context(), c.Param("id"))
	if err != nil {
		return p, fmt.Errorf("show payment: %w", err)
	}
	return p, nil
}
