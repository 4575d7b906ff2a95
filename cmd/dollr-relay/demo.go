package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/sandbox"
	"github.com/dollr-relay/dollr-relay/web/shop"
)

// demoCommand runs sandbox, shop and relay in one process. They talk over real sockets, as they
// would on three machines.
type demoCommand struct {
	Listen      string `name:"listen" default:"localhost:8080" help:"Address of the shop and the relay."`
	AdminListen string `name:"admin-listen" default:"127.0.0.1:9090" help:"Address for health, metrics and the operator console."`
	Data        string `name:"data" type:"path" help:"Folder for the database. Default: a temporary one, removed at the end."`
	Verbose     bool   `name:"verbose" short:"v" help:"Show the relay's log."`
}

// Run implements the command.
func (d *demoCommand) Run(ctx context.Context, c *console) (err error) {
	folder := d.Data
	if folder == "" {
		if folder, err = os.MkdirTemp("", "dollr-relay-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	}
	level := slog.LevelWarn
	if d.Verbose {
		level = slog.LevelInfo
	}
	log := c.logger(level)

	var listen net.ListenConfig
	standIns, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	public, err := listen.Listen(ctx, "tcp", d.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("--listen: %w", err), standIns.Close())
	}
	base, err := baseURL(d.Listen, public)
	if err != nil {
		return errors.Join(err, standIns.Close(), public.Close())
	}
	config, callbackSecret, err := d.config(base, "http://"+standIns.Addr().String(), filepath.Join(folder, "relay.db"))
	if err != nil {
		return errors.Join(err, standIns.Close(), public.Close())
	}
	store, err := shop.New(shop.Options{
		RelayURL: base, APIKey: config.APIKeys[0], SandboxURL: config.DollrBaseURL, CallbackSecret: callbackSecret, Logger: log,
	})
	if err != nil {
		return errors.Join(err, standIns.Close(), public.Close())
	}
	relay, err := app.New(ctx, config, app.Options{
		Logger: log, Public: public, Mounts: map[string]http.Handler{"/demo": store.Handler()},
	})
	if err != nil {
		return errors.Join(err, standIns.Close())
	}
	c.printf("The demo shop is open: %s/demo/\nBehind its counter, the operator console: %s/\nStop it with Ctrl+C.\n", base, relay.AdminURL())

	// The stand-ins stay until the relay has stopped, as the real services would.
	standing, leave := context.WithCancel(context.WithoutCancel(ctx))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return runSandbox(standing, sandbox.New(sandbox.Options{}), standIns) })
	group.Go(func() error {
		defer leave()
		return relay.Run(ctx)
	})
	return group.Wait()
}

// config is what an operator would have set, with secrets made for this run.
func (d *demoCommand) config(base, standIns, database string) (app.Config, string, error) {
	callbackSecret := "whsec_" + base64.StdEncoding.EncodeToString([]byte(rand.Text()+rand.Text()))
	environment := map[string]string{}
	for _, pair := range sandbox.Environment(standIns) {
		environment[pair[0]] = pair[1]
	}
	config, _, err := newChecker(settings{
		DollrBaseURL: environment["DOLLR_BASE_URL"], DollrClientID: environment["DOLLR_CLIENT_ID"], DollrClientSecret: environment["DOLLR_CLIENT_SECRET"],
		SupabaseURL: environment["SUPABASE_URL"], SupabaseAnonKey: environment["SUPABASE_ANON_KEY"],
		PublicURL: base, AdminListen: d.AdminListen, DatabaseURL: "sqlite:" + database,
		APIKeys: rand.Text() + rand.Text(), PageSecrets: rand.Text() + rand.Text(),
		CallbackURLs: base + "/demo/hooks/dollr", CallbackSecrets: callbackSecret,
		ShutdownGrace: "3s",
	}, func(string) string { return "" }).config(version().text)
	return config, callbackSecret, err
}

// baseURL is how a browser here reaches a listener: by the host that was asked for, so that the
// page's origin is the one that was printed.
func baseURL(asked string, listener net.Listener) (string, error) {
	host, _, err := net.SplitHostPort(localAddress(asked))
	if err != nil {
		return "", fmt.Errorf("--listen: %w", err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return "http://" + net.JoinHostPort(host, port), err
}
