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
	"net"
	"net/http"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
	"github.com/dollr-relay/dollr-relay/web"
)

// Options are what a relay needs beside its configuration.
type Options struct {
	Logger *slog.Logger
	// Public is the public listener, for callers that must know its port before. Default: the
	// configured address is listened to.
	Public net.Listener
	// Mounts are further handlers of the public listener by path prefix, such as the demo shop's.
	Mounts map[string]http.Handler
	// Now is the wall clock. Defaults to time.Now.
	Now func() time.Time
}

// App is a whole relay: listeners bound, database open, nothing running yet.
type App struct {
	config Config
	log    *slog.Logger

	public, admin net.Listener
	store         *store.Store
	relay         *relay.Relay
	asker         *asker
	poller        *fallback.Poller
	feed          *realtime.Feed // nil without Supabase
	sweep         *fallback.Sweep
	sender        *callback.Sender
	api           *api.Server
	metrics       *metrics
	now           func() time.Time
}

// New opens the database and the listeners and wires the parts. Whatever it opened is closed by
// Run, or by New itself if it fails.
func New(ctx context.Context, config Config, opts Options) (_ *App, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	a := &App{config: config, log: opts.Logger, public: opts.Public, now: opts.Now, metrics: newMetrics()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := a.open(ctx); err != nil {
		return nil, err
	}
	if err := a.wire(ctx, opts); err != nil {
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
	a.store, err = store.Open(ctx, a.config.DatabaseURL.Reveal(), options)
	if err != nil {
		return err
	}
	if err := a.store.ExpireLeases(ctx); err != nil {
		return fmt.Errorf("free interrupted callbacks: %w", err)
	}
	var listen net.ListenConfig
	if a.public == nil {
		if a.public, err = listen.Listen(ctx, "tcp", a.config.Listen); err != nil {
			return fmt.Errorf("RELAY_LISTEN: %w", err)
		}
	}
	if a.admin, err = listen.Listen(ctx, "tcp", a.config.AdminListen); err != nil {
		return fmt.Errorf("RELAY_ADMIN_LISTEN: %w", err)
	}
	return nil
}

// wire makes the parts know each other.
func (a *App) wire(ctx context.Context, opts Options) (err error) {
	client, err := dollr.New(dollr.Options{
		BaseURL: a.config.DollrBaseURL, ClientID: a.config.DollrClientID, ClientSecret: a.config.DollrClientSecret,
		Rate: a.config.DollrRate, Logger: a.log, Now: opts.Now, Observe: a.metrics.dollrRequest,
	})
	if err != nil {
		return err
	}
	scripts, err := pageScripts()
	if err != nil {
		return err
	}
	reports := &relay.Bell{}
	a.sender, err = callback.New(a.store, callback.Options{
		URLs: a.config.CallbackURLs, Secrets: a.config.CallbackSecrets, Schedule: a.config.CallbackSchedule,
		Drain: a.config.ShutdownGrace * 3 / 4, Version: a.config.Version, Logger: a.log, Now: opts.Now,
		OnResult: a.metrics.callbackAttempt,
	})
	if err != nil {
		return err
	}
	a.asker = newAsker(client, a)
	a.poller = fallback.NewPoller(a.check, fallback.PollerOptions{Hold: a.asker.RetryAfter, Now: opts.Now})
	keys := newKeyMinter(client, a.config, a.metrics, func(id string) bool { return a.relay.Hub().OpenPages(id) > 0 })
	parts := relay.Parts{
		Store: a.store, Asker: a.asker,
		Schedule: &schedule{a.poller, fallback.Cadence{PollMin: a.config.PollMin, PollMax: a.config.PollMax, AuditEvery: a.config.AuditEvery}, opts.Now},
		Reported: func(url string) {
			reports.Ring()
			a.wakeSender(url)
		},
	}
	if a.config.SupabaseURL != "" {
		if a.feed, err = realtime.New(realtime.Options{
			URL: a.config.SupabaseURL, AnonKey: a.config.SupabaseAnonKey, Keys: keys, Notify: a.hear, Logger: a.log, Now: opts.Now,
			Hooks: a.metrics.realtimeHooks(),
		}); err != nil {
			return err
		}
		parts.Feed = feed{a.feed}
	}
	if a.relay, err = relay.New(parts, relay.Options{
		WatchFor: a.config.WatchFor, RealtimeWindow: a.config.RealtimeWindow, Logger: a.log, Monitor: a.metrics, Now: opts.Now,
	}); err != nil {
		return err
	}
	if a.sweep, err = a.newSweep(ctx, opts.Now); err != nil {
		return err
	}
	apiOptions := api.Options{
		Payments: a.relay, Records: a.store, Reports: reports, Reconciler: reconciler{a.sweep}, Redelivered: a.wakeSender,
		APIKeys: a.config.APIKeys, PageSecrets: a.config.PageSecrets, PageTokenTTL: a.config.PageTokenTTL,
		PublicURL: a.config.PublicURL, AllowedOrigins: a.config.AllowedOrigins, TrustedProxies: a.config.TrustedProxies,
		CallbackURLs: a.config.CallbackURLs, MaxPages: a.config.MaxPages, Spread: a.config.ShutdownGrace / 2,
		Scripts: scripts, Mounts: opts.Mounts, Logger: a.log, Now: opts.Now,
	}
	if a.feed != nil {
		apiOptions.Keys = keys
	}
	if a.api, err = api.New(apiOptions); err != nil {
		return err
	}
	a.metrics.watch(a)
	return nil
}

// pageScripts are the page scripts by name.
func pageScripts() (map[string]http.Handler, error) {
	scripts, err := web.Scripts()
	byName := make(map[string]http.Handler, len(scripts))
	for _, script := range scripts {
		byName[script.Name] = script
	}
	return byName, err
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
