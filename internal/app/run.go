package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// readHeaderTimeout and idleTimeout cut off clients that open connections and say nothing.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	drainPoll         = 20 * time.Millisecond
)

// Run runs the relay until ctx ends, then stops it within the grace period: not ready, nothing new,
// held requests answered, pages closed spread over more than half of it, callbacks in flight
// finished. The admin listener stays until all that is done. Nil means that it was asked to stop and did.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.close()) }()
	if a.feed == nil {
		a.log.InfoContext(ctx, "SUPABASE_URL is unset: no realtime, polling only")
	}
	admin := a.httpServer(a.adminPages)
	group, broken := errgroup.WithContext(context.WithoutCancel(ctx))
	group.Go(func() error { return serve(admin, a.admin) })
	group.Go(func() error {
		err := a.runParts(ctx, broken)
		return errors.Join(err, admin.Close())
	})
	err = group.Wait()
	a.log.InfoContext(context.WithoutCancel(ctx), "relay has stopped")
	return err
}

// runParts runs everything but the admin listener until ctx ends or outer does. The parts outlive
// the requests that use them: they end when the public listener has drained.
func (a *App) runParts(ctx, outer context.Context) error {
	group, broken := errgroup.WithContext(outer)
	work, stopWork := context.WithCancel(broken)
	defer stopWork()
	sending, stopSending := context.WithCancel(work)
	defer stopSending()

	if a.replicas != nil {
		group.Go(func() error { return named("leases", a.replicas.keeper.Run(sending)) }) // others take over while pages are closed
		group.Go(func() error { return named("notes", a.replicas.notes.Run(work)) })
		group.Go(func() error { return named("news", a.replicas.board.Run(work)) })
		group.Go(func() error { return named("sweeps", a.sweeps.run(work)) })
	}
	group.Go(func() error { return named("asker", a.asker.Run(work)) })
	group.Go(func() error { return named("poller", a.poller.Run(work)) })
	group.Go(func() error { return named("reconciliation", a.sweep.Run(work)) })
	group.Go(func() error { return a.prune(work, a.opts.Now) })
	group.Go(func() error { return named("relay", a.relay.Run(work)) })
	group.Go(func() error { return named("callbacks", a.sender.Run(sending)) })
	if a.feed != nil {
		group.Go(func() error { return named("realtime", a.feed.Run(work)) })
	}
	group.Go(func() error { return named("pages", a.api.Run(work)) })
	handler := a.api.Handler()
	if a.opts.Tracing != nil {
		handler = a.opts.Tracing.Accept(handler)
	}
	public := a.httpServer(handler)
	crowd := newQueue(a.public)
	public.ConnState = crowd.state
	group.Go(crowd.run)
	group.Go(func() error { return serve(public, crowd) })
	a.log.InfoContext(ctx, "relay is up", slog.String("listen", a.public.Addr().String()), slog.String("admin", a.admin.Addr().String()))

	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-broken.Done():
		}
		stopSending()
		a.stopPublic(context.WithoutCancel(ctx), public)
		stopWork()
		return nil
	})
	return group.Wait()
}

// stopPublic drains the public listener within the grace period. It goes on to accept while pages
// are open, so that who comes now is told to try again (503) instead of being turned away unheard.
func (a *App) stopPublic(ctx context.Context, public *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, a.config.ShutdownGrace)
	defer cancel()
	a.log.InfoContext(ctx, "stopping", slog.Duration("grace", a.config.ShutdownGrace))
	a.api.Stop()
	for !a.api.Drained() && ctx.Err() == nil { // Shutdown does not know upgraded connections
		select {
		case <-ctx.Done():
		case <-time.After(drainPoll):
		}
	}
	if err := public.Shutdown(ctx); err != nil {
		a.log.WarnContext(ctx, "requests cut off at the end of the grace period", slog.Any("err", err))
		_ = public.Close()
	}
}

func (a *App) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

func serve(server *http.Server, listener net.Listener) error {
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	return nil
}

func named(part string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	return nil
}
