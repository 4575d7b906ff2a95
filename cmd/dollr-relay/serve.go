package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/tracing"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// serveCommand is the relay itself.
type serveCommand struct {
	settings
}

// Run implements the command.
func (s *serveCommand) Run(ctx context.Context, c *console) error {
	config, level, err := newChecker(s.settings, os.Getenv).config(version().text)
	log := c.logger(level)
	traces, badTraces := tracing.New(ctx, tracing.Options{Getenv: os.Getenv, Version: version().text, Logger: log})
	if err := allProblems(err, badTraces); err != nil {
		return err
	}
	warnPlainCallbacks(ctx, config.CallbackURLs, log)
	if traces != nil {
		defer func() { _ = traces.Shutdown(ctx) }() // what the collector did not take has been said
	}
	relay, err := app.New(ctx, config, app.Options{Logger: log, Tracing: traces})
	if err != nil {
		return err
	}
	return relay.Run(ctx)
}

// allProblems adds what is wrong with the variables of OpenTelemetry to what is wrong with our own.
func allProblems(config, traces error) error {
	if traces == nil {
		return config
	}
	var wrong *usageError
	if !errors.As(config, &wrong) {
		wrong = &usageError{}
	}
	return &usageError{append(wrong.problems, strings.Split(traces.Error(), "\n")...)}
}

// warnPlainCallbacks reminds of callbacks that leave this machine unencrypted. It is the operator's
// decision: they are signed, but anybody on the way can read them.
func warnPlainCallbacks(ctx context.Context, urls []string, log *slog.Logger) {
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
			continue
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
			log.WarnContext(ctx, "RELAY_CALLBACK_URLS: plain http beyond this machine, others can read the callbacks", slog.String("host", u.Host))
		}
	}
}

// migrateCommand prepares the database without serving.
type migrateCommand struct {
	DatabaseURL string `name:"database-url" env:"RELAY_DATABASE_URL" fallback:"sqlite:relay.db" secret:"" help:"sqlite:PATH (default sqlite:relay.db)."`
}

// databaseOnly is the environment without the settings that migrate does not look at.
func databaseOnly(name string) string {
	if !strings.HasPrefix(name, "RELAY_DATABASE_URL") {
		return ""
	}
	return os.Getenv(name)
}

// Run implements the command.
func (m *migrateCommand) Run(ctx context.Context, c *console) error {
	check := newChecker(settings{DatabaseURL: m.DatabaseURL}, databaseOnly)
	url := check.database("RELAY_DATABASE_URL")
	if len(check.problems) > 0 {
		return &usageError{check.problems}
	}
	database, err := store.Open(ctx, url.Reveal(), store.Options{})
	if err != nil {
		return err
	}
	c.printf("The database is up to date.\n")
	return database.Close()
}
