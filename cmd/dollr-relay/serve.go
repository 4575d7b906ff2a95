package main

import (
	"context"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// serveCommand is the relay itself.
type serveCommand struct {
	settings
}

// Run implements the command.
func (s *serveCommand) Run(ctx context.Context, c *console) error {
	config, level, err := newChecker(s.settings, os.Getenv).config(version().text)
	if err != nil {
		return err
	}
	log := c.logger(level)
	warnPlainCallbacks(ctx, config.CallbackURLs, log)
	relay, err := app.New(ctx, config, app.Options{Logger: log})
	if err != nil {
		return err
	}
	return relay.Run(ctx)
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
