// Package app wires the parts of a relay together: it is the only place that knows all of them.
//
// Start at [New], which opens what can fail, then [App.Run], which starts everything in one group
// and stops it in order.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/tracing"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// Options are what a relay needs beside its configuration.
type Options struct {
	Logger *slog.Logger
	// Public and Admin are the listeners, for callers that must know their ports before or have them
	// in memory. Default: the configured addresses are listened to.
	Public, Admin net.Listener
	// HTTPClient reaches Dollr and Supabase, CallbackTransport the merchants' backends. Defaults:
	// the network, each with its own time-outs.
	HTTPClient        *http.Client
	CallbackTransport http.RoundTripper
	// Mounts are further handlers of the public listener by path prefix, such as the demo shop's.
	Mounts map[string]http.Handler
	// Tracing makes traces; nil makes none. Its owner shuts it down after Run.
	Tracing *tracing.Tracing
	// Now is the wall clock. Defaults to time.Now.
	Now func() time.Time
	// Shared lets several relays of this process share a SQLite file; nil: only PostgreSQL is shared.
	Shared Shared
	// Random, uniform in [0, 1), spreads retries and polls. Defaults to math/rand/v2.
	Random func() float64
}

// App is a whole relay: listeners bound, database open, nothing running yet.
type App struct {
	config Config
	opts   Options
	log    *slog.Logger

	public, admin net.Listener
	store         *store.Store
	relay         *relay.Relay
	asker         *asker
	poller        *fallback.Poller
	feed          *realtime.Feed // nil without Supabase
	sweep         *fallback.Sweep
	sweeps        *sweeps
	replicas      *replicas // nil on SQLite
	sender        *callback.Sender
	api           *api.Server
	metrics       *metrics
	operator      *operator
	adminPages    http.Handler
	reports       relay.Bell // rings when an outcome was reported
}

// New opens the database and the listeners and wires the parts. Whatever it opened is closed by
// Run, or by New itself if it fails.
func New(ctx context.Context, config Config, opts Options) (_ *App, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Random == nil {
		opts.Random = rand.Float64
	}
	a := &App{config: config, opts: opts, log: opts.Logger, public: opts.Public, admin: opts.Admin, metrics: newMetrics(config.CallbackURLs)}
	a.operator = newOperator(a)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := a.open(ctx); err != nil {
		return nil, err
	}
	if err := a.wire(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// open takes what only one process can have.
func (a *App) open(ctx context.Context) (err error) {
	options := store.Options{CallbackURLs: a.config.CallbackURLs, Observe: a.metrics.database}
	if len(a.config.CallbackSchedule) > 0 {
		options.FirstDelay = a.config.CallbackSchedule[0]
	}
	if a.opts.Shared != nil {
		options.Turn = a.opts.Shared.Turn
	}
	a.store, err = store.Open(ctx, a.config.DatabaseURL.Reveal(), options)
	if err != nil {
		return err
	}
	if err := a.store.KeepOut(ctx); err != nil {
		return err
	}
	if err := a.store.ExpireLeases(ctx); err != nil {
		return fmt.Errorf("free interrupted callbacks: %w", err)
	}
	listen := net.ListenConfig{KeepAlive: -1} // pages are pinged, and requests have an end: four system calls less for each page
	if a.public == nil {
		if a.public, err = listen.Listen(ctx, "tcp", a.config.Listen); err != nil {
			return fmt.Errorf("RELAY_LISTEN: %w", err)
		}
	}
	if a.admin == nil {
		if a.admin, err = listen.Listen(ctx, "tcp", a.config.AdminListen); err != nil {
			return fmt.Errorf("RELAY_ADMIN_LISTEN: %w", err)
		}
	}
	return nil
}

// URL is where the public listener can be reached from this machine.
func (a *App) URL() string { return "http://" + a.public.Addr().String() }

// AdminURL is where the admin listener can be reached from this machine.
func (a *App) AdminURL() string { return "http://" + a.admin.Addr().String() }

// hear passes on what the feed reports.
func (a *App) hear(e realtime.Event) {
	switch e.Kind {
	case realtime.Live:
		a.relay.Hear(e.ID, relay.Heard{Live: true})
	case realtime.Lost:
		a.relay.Hear(e.ID, relay.Heard{})
	case realtime.Change:
		defer a.hintTrace(e)()
		a.relay.Hear(e.ID, relay.Heard{Change: &relay.Change{Status: e.Status, At: e.At}})
	}
}

// check is what the poller does with a payment that is due.
func (a *App) check(ctx context.Context, id, via string, u dollr.Urgency) {
	a.relay.Check(ctx, id, relay.Via(via), relay.Urgency(u))
}

// wakeSender tells the sender of a callback that is due; an empty URL is the default one.
func (a *App) wakeSender(url string) {
	if url == "" && len(a.config.CallbackURLs) > 0 {
		url = a.config.CallbackURLs[0]
	}
	a.sender.Wake(url)
}

// close gives back what open has taken.
func (a *App) close() error {
	var errs []error
	for _, l := range []net.Listener{a.public, a.admin} {
		if l == nil {
			continue
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}
