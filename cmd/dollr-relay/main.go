// Command dollr-relay watches Dollr payments and tells pages and backends what became of them.
//
// Each command has a file of its own; serve.go is the relay.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/mattn/go-isatty"
)

// Exit codes (contract, section 1).
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

// commands is the command line. Only here and in settings.go is the environment read.
type commands struct {
	Demo      demoCommand      `cmd:"" help:"The whole system on this machine with nothing to configure: sandbox, demo shop and relay."`
	Serve     serveCommand     `cmd:"" help:"The relay, from flags and environment variables."`
	Sandbox   sandboxCommand   `cmd:"" help:"Only the stand-ins for the Dollr API and Supabase Realtime, for tests of your own."`
	Payments  paymentsCommand  `cmd:"" help:"Look at payments, verify and reconcile them, over a relay's HTTP API."`
	Callbacks callbacksCommand `cmd:"" help:"Look at callbacks, redeliver them, and bring them to a developer's machine."`
	Doctor    doctorCommand    `cmd:"" help:"Check configuration, credentials, Supabase, database and callback endpoints; say what to do about each failure."`
	Migrate   migrateCommand   `cmd:"" help:"Apply database migrations and exit. serve does it at start, too."`
	Health    healthCommand    `cmd:"" help:"Exit 0 if the relay on this machine is up, for container health checks."`
	Version   versionCommand   `cmd:"" help:"Version, commit and Go version."`

	Completion    completionCommand    `cmd:"" help:"What makes bash, zsh or fish complete these commands."`
	CompleteWords completeWordsCommand `cmd:"" hidden:"" help:"Answers the shells."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments.
func run(args []string, stdout, stderr io.Writer) int {
	// The first signal ends the context; then signals have their usual effect, so a second one ends at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	var cli commands
	exited := -1
	parser, err := kong.New(&cli,
		kong.Name("dollr-relay"),
		kong.Description("Tells your checkout page and your backend what became of a Dollr payment: verified, once, and never wrongly."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.ShortUsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&console{stdout, stderr}),
	)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "dollr-relay:", err)
		return exitFailed
	}
	chosen, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "dollr-relay: %v\nTry: dollr-relay --help\n", err)
		return exitUsage
	}
	err = chosen.Run()
	var wrong *usageError
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &wrong):
		_, _ = fmt.Fprintln(stderr, wrong)
		return exitUsage
	default:
		_, _ = fmt.Fprintln(stderr, "dollr-relay:", err)
		return exitFailed
	}
}

// console is where commands write.
type console struct{ out, err io.Writer }

func (c *console) printf(format string, args ...any) { _, _ = fmt.Fprintf(c.out, format, args...) }

// logger writes JSON lines to stderr, or text if that is a terminal.
func (c *console) logger(level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: withUnits}
	if file, ok := c.err.(*os.File); ok && isatty.IsTerminal(file.Fd()) {
		return slog.New(slog.NewTextHandler(file, options))
	}
	return slog.New(slog.NewJSONHandler(c.err, options))
}

// withUnits writes durations with their unit: as a number nobody could tell what "took" counts.
func withUnits(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}
