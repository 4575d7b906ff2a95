// Command bench measures what design and README promise, on the built binary in a process of its own, and prints each figure
// beside its promise and beside a floor: a hub of net/http and coder/websocket without any of the relay's features, measured in
// the same run by the same customers.
//
// Start at promises.go for the table of `make bench`, at soak.go for `make soak`. Servers run as child processes, so that memory
// and processor time are theirs alone; customers, Dollr, Supabase and the merchant's backend are in this process (world.go,
// crowd.go).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type commands struct {
	Promises promises `cmd:"" help:"Measure every promise beside the floor and print the table."`
	Soak     soak     `cmd:"" help:"Run the relay under load and faults for a while; any broken promise ends it with exit code 1."`
	Storm    storm    `cmd:"" help:"Measure only what idle pages cost and how soon they are back, several times."`
	Floor    floor    `cmd:"" hidden:"" help:"Serve the floor; what promises starts."`
}

func main() {
	var cli commands
	parsed := kong.Parse(&cli, kong.Name("bench"), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the signals end with the process
	}
}

// patience bounds every waiting for something that must happen.
const patience = 2 * time.Minute
