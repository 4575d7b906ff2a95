package app

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/web"
)

// wire makes the parts know each other, from the outside in: whom to ask and hear, the relay
// between them, and who may ask it.
func (a *App) wire(ctx context.Context) error {
	keys, err := a.wireDollr()
	if err != nil {
		return err
	}
	if err := a.wireSender(); err != nil {
		return err
	}
	if err := a.wireRelay(keys); err != nil {
		return err
	}
	if err := a.wireSweep(ctx); err != nil {
		return err
	}
	if err := a.wireAPI(keys); err != nil {
		return err
	}
	if a.adminPages, err = a.wireAdmin(); err != nil {
		return err
	}
	return a.metrics.registry.Register(newGauges(a))
}

// wireDollr makes what asks Dollr: the client, the asker, the poller and the minter of realtime keys.
func (a *App) wireDollr() (*keyMinter, error) {
	options := dollr.Options{
		BaseURL: a.config.DollrBaseURL, ClientID: a.config.DollrClientID, ClientSecret: a.config.DollrClientSecret,
		Rate: a.config.DollrRate, HTTPClient: a.opts.HTTPClient, Logger: a.log, Now: a.opts.Now, Observe: a.metrics.dollrRequest,
	}
	options.Limited = func(hold time.Duration) {
		if a.replicas != nil {
			a.replicas.keeper.SetHeld(hold)
		}
	}
	if a.opts.Tracing != nil {
		options.Header = a.opts.Tracing.Inject
	}
	client, err := dollr.New(options)
	if err != nil {
		return nil, err
	}
	a.wireReplicas(client)
	a.asker = newAsker(client, a)
	a.poller = fallback.NewPoller(a.check, fallback.PollerOptions{
		Workers: pollWorkers(a.config.DollrRate), Hold: a.asker.RetryAfter, Now: a.opts.Now,
	})
	pageOpen := func(id string) bool { return a.relay.LookedAt(id) }
	keys := newKeyMinter(client, a.config, a.metrics, pageOpen)
	a.operator.client, a.operator.keys = client, keys
	return keys, nil
}

// pollWorkers are as many as questions may be under way while all intervals hold: the rate times the slowest answer that is
// waited for.
func pollWorkers(rate float64) int {
	return int(min(max(32, math.Ceil(rate*dollr.AnswerWithin.Seconds())), 1024))
}

func (a *App) wireSender() (err error) {
	a.sender, err = callback.New(a.store, callback.Options{
		URLs: a.config.CallbackURLs, Secrets: a.config.CallbackSecrets, Schedule: a.config.CallbackSchedule,
		Drain: a.config.ShutdownGrace * 3 / 4, Version: a.config.Version, Transport: a.opts.CallbackTransport,
		Logger: a.log, Now: a.opts.Now, Rand: a.opts.Random, OnResult: a.metrics.callbackAttempt, OnBreaker: a.metrics.callbackBreaker, OnAttempt: a.attemptTrace(),
	})
	return err
}

func (a *App) wireRelay(keys *keyMinter) (err error) {
	parts := relay.Parts{
		Store: a.store, Asker: a.asker, Reported: a.reported,
		Schedule: &schedule{
			poller: a.poller, now: a.opts.Now, random: a.opts.Random,
			cadence: fallback.Cadence{PollMin: a.config.PollMin, PollMax: a.config.PollMax, AuditEvery: a.config.AuditEvery},
		},
	}
	if a.replicas != nil {
		parts.Replicas = a.replicas
	}
	if a.opts.Tracing != nil {
		parts.Store = tracedStore{a.store, a.opts.Tracing}
	}
	if a.config.SupabaseURL != "" {
		var minter realtime.Keys = keys
		if a.opts.Tracing != nil {
			minter = tracedKeys{keys, a.opts.Tracing}
		}
		if a.feed, err = realtime.New(realtime.Options{
			URL: a.config.SupabaseURL, AnonKey: a.config.SupabaseAnonKey, Keys: minter, Notify: a.hear, HTTPClient: a.opts.HTTPClient,
			Logger: a.log, Now: a.opts.Now, Random: a.opts.Random, Hooks: a.metrics.realtimeHooks(),
		}); err != nil {
			return err
		}
		parts.Feed = feed{a.feed, keys}
	}
	a.relay, err = relay.New(parts, relay.Options{
		WatchFor: a.config.WatchFor, RealtimeWindow: a.config.RealtimeWindow, Logger: a.log, Monitor: a.metrics, Now: a.opts.Now,
	})
	return err
}

func (a *App) wireAPI(keys *keyMinter) error {
	scripts, err := pageScripts()
	if err != nil {
		return err
	}
	tag, err := web.Tag(a.config.PublicURL.String())
	if err != nil {
		return err
	}
	options := api.Options{
		Payments: a.relay, Records: a.store, Reports: &a.reports, Reconciler: a.reconciler(), Redelivered: a.wakeSender,
		APIKeys: a.config.APIKeys, PageSecrets: a.config.PageSecrets, PageTokenTTL: a.config.PageTokenTTL,
		PublicURL: a.config.PublicURL, AllowedOrigins: a.config.AllowedOrigins, TrustedProxies: a.config.TrustedProxies,
		CallbackURLs: a.config.CallbackURLs, MaxPages: a.config.MaxPages, Spread: a.config.ShutdownGrace * 3 / 5, Monitor: a.metrics,
		Scripts: scripts, ScriptTag: tag, Mounts: a.opts.Mounts, Logger: a.log, Now: a.opts.Now, Random: a.opts.Random,
	}
	if a.feed != nil {
		options.Keys = keys
	}
	if a.opts.Tracing != nil {
		options.Payments = tracedPayments{a.relay, a.opts.Tracing, a.opts.Now}
	}
	a.api, err = api.New(options)
	return err
}

// reported wakes who waits for outcomes: readers of the feed, and the sender of callbacks.
func (a *App) reported(callbackURL string) {
	a.reports.Ring()
	a.wakeSender(callbackURL)
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
