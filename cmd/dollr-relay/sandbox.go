package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dollr-relay/dollr-relay/internal/sandbox"
)

// sandboxCommand runs only the stand-ins.
type sandboxCommand struct {
	Listen  string        `name:"listen" default:"127.0.0.1:8090" help:"Address of the stand-ins."`
	KeyLife time.Duration `name:"key-life" default:"5m" help:"Life of realtime keys."`
}

// Run implements the command.
func (s *sandboxCommand) Run(ctx context.Context, c *console) error {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	base := "http://" + localAddress(listener.Addr().String())
	c.printf("# The sandbox listens. A relay is pointed at it by:\n")
	for _, pair := range sandbox.Environment(base) {
		c.printf("export %s=%s\n", pair[0], pair[1])
	}
	c.printf("# Control it under %s/_sandbox/, for example:\n", base)
	c.printf("#   curl -X POST %s/_sandbox/payments -d '{\"payee_amount\":\"250.00\",\"payee_currency\":\"USD\"}'\n", base)
	c.printf("#   curl -X PUT %s/_sandbox/payments/latest/status -d '{\"status\":\"COMPLETED\"}'   # or the reference_id instead of latest\n", base)
	return runSandbox(ctx, sandbox.New(sandbox.Options{KeyLife: s.KeyLife}), listener)
}

// runSandbox serves a sandbox until ctx ends.
func runSandbox(ctx context.Context, stand *sandbox.Sandbox, listener net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	server := &http.Server{Handler: stand.Handler(), ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error { return stand.Run(ctx) })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve sandbox: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return group.Wait()
}

// localAddress is an address of this machine as a URL's host: all addresses become localhost.
func localAddress(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
