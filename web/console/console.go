// Package console is the operator's page on the admin listener: how the relay is doing, which payments are open, what
// became of each, and the few buttons that help. It shows everything but secrets.
//
// Start at [Console.Handler], the table of contents. Every page is rendered here and works without script; with it the
// same pages are rendered again and again by [Console.follow] and patched into the browser's.
package console

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

//go:embed assets
var assets embed.FS

//go:embed pages
var pages embed.FS

// Payments is the relay, as far as the console needs it.
type Payments interface {
	Link(p relay.Payment) relay.Link
	Verify(ctx context.Context, id string, via relay.Via) (relay.Payment, error)
	Census(bounds []time.Duration) []map[relay.Link]int
	Open(link relay.Link, minAge, maxAge time.Duration, limit int) (ids []string, total int)
}

// Records is the database, as far as the console reads it.
type Records interface {
	Find(ctx context.Context, id string) (relay.Payment, error)
	List(ctx context.Context, f store.Filter) ([]relay.Payment, int64, error)
	Search(ctx context.Context, text string, limit int) ([]relay.Payment, error)
	Events(ctx context.Context, paymentID string) ([]relay.Event, error)
	CallbacksOf(ctx context.Context, paymentID string) ([]store.Callback, error)
	Callbacks(ctx context.Context, state callback.State, before int64, limit int) ([]store.Callback, int64, error)
	Redeliver(ctx context.Context, id string, now time.Time) (store.Callback, error)
}

// System is the process around the relay.
type System interface {
	// Health is how it is doing. It must answer soon, whatever is broken.
	Health(ctx context.Context) Health
	// Questions are those about a payment that this process still remembers, oldest first.
	Questions(paymentID string) []Question
	// Reconcile starts a sweep, unless one is running; Sweep is the running or else the last one.
	Reconcile()
	Sweep() Sweep
}

// Options configure a Console. All are required.
type Options struct {
	Payments Payments
	Records  Records
	System   System
	// Redelivered is told the URL of a callback that is due again.
	Redelivered func(url string)
	// Host is the host of RELAY_ADMIN_LISTEN, empty for all addresses.
	Host    string
	Version string
	Logger  *slog.Logger
	Now     func() time.Time
}

// Console is the operator's page.
type Console struct {
	Options

	csrf      string // of this process: forms carry it, other websites cannot read it
	templates *template.Template
	streams   chan struct{} // one element for each open live stream
}

// New checks the options and reads the pages.
func New(opts Options) (*Console, error) {
	if opts.Payments == nil || opts.Records == nil || opts.System == nil || opts.Redelivered == nil || opts.Logger == nil || opts.Now == nil {
		return nil, errors.New("console: all options are required")
	}
	c := &Console{Options: opts, csrf: rand.Text(), streams: make(chan struct{}, maxStreams)}
	var err error
	if c.templates, err = template.New("").Funcs(c.functions()).ParseFS(pages, "pages/*.html"); err != nil {
		return nil, fmt.Errorf("console: read pages: %w", err)
	}
	return c, nil
}

// Handler serves the console.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	view := func(pattern string, v view) {
		mux.HandleFunc("GET "+pattern, c.show(v))
		mux.HandleFunc("GET /live"+pattern, c.follow(v))
	}
	view("/{$}", c.overview)
	view("/payments", c.payments)
	view("/payments/{id}", c.payment)
	view("/callbacks", c.callbacks)

	mux.HandleFunc("POST /payments/{id}/verify", c.action(c.verify))
	mux.HandleFunc("POST /callbacks/{id}/redeliver", c.action(c.redeliver))
	mux.HandleFunc("POST /reconcile", c.action(c.reconcile))

	files, _ := fs.Sub(assets, "assets") // a constant path of an embedded folder
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", fresh(http.FileServerFS(files))))
	mux.HandleFunc("/", c.show(func(*http.Request) (page, error) { return page{}, errNoPage }))
	return c.guard(mux)
}

// fresh has browsers ask for files again after an update.
func fresh(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}
