// Package doctor finds out why a relay would not work: one check a dependency, each with what was
// seen, what it means and what to do. It changes nothing, and posts no outcome anywhere.
package doctor

import (
	"context"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// checkTimeout bounds one check. Supabase holds refusals back for 2 s, Dollr may take 15 s.
const checkTimeout = 20 * time.Second

// Finding is what one check found. Each text is one line, without secrets.
type Finding struct {
	Name  string `json:"check"`
	OK    bool   `json:"ok"`
	Saw   string `json:"saw"`
	Means string `json:"means,omitempty"` // for payments and customers, if it is not OK
	Do    string `json:"do,omitempty"`    // about it; also where it is OK and may surprise
}

// Options say what is checked. Without SupabaseURL realtime is not used, without CallbackURLs no
// callbacks are sent, without Traces none are; the first two are said, and none is a failure.
type Options struct {
	Dollr           dollr.Options
	SupabaseURL     string
	SupabaseAnonKey secret.Value
	DatabaseURL     secret.Value
	CallbackURLs    []string
	// Traces sends nothing but an empty batch to the collector of traces.
	Traces func(context.Context) error
	// Now is compared with the clocks of others. Defaults to time.Now.
	Now func() time.Time
}

// What several failures mean.
const (
	everythingWaits = "no payment can be verified: all stay pending, pages read \"still being checked\""
	nothingKept     = "the relay does not start: nothing can be kept"
	pollingOnly     = "payments are polled instead of heard: customers wait some seconds longer"
	callbacksWait   = "callbacks are tried again for three days, then they are dead: the backend does not learn of outcomes"
)

// Examine runs all checks, in the order in which a payment would meet them, and hands each finding
// to tell as soon as it is there. It reports whether all were fine.
func Examine(ctx context.Context, opts Options, tell func(Finding)) bool {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	fine := true
	run := func(check func(context.Context) Finding) Finding {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		f := check(ctx)
		f.Saw = strings.Join(strings.Fields(f.Saw), " ") // errors of others may have lines
		fine = fine && f.OK
		tell(f)
		return f
	}
	run(func(ctx context.Context) Finding { return checkDatabase(ctx, opts.DatabaseURL) })
	known := run(func(ctx context.Context) Finding { return checkDollr(ctx, opts.Dollr) })
	if opts.SupabaseURL == "" {
		run(func(context.Context) Finding {
			return Finding{Name: "realtime", OK: true, Saw: "not configured: polling only"}
		})
	} else {
		run(func(ctx context.Context) Finding { return checkKeys(ctx, opts.Dollr, known.OK) })
		run(func(ctx context.Context) Finding {
			return checkSupabase(ctx, opts.SupabaseURL, opts.SupabaseAnonKey)
		})
	}
	if len(opts.CallbackURLs) == 0 {
		run(func(context.Context) Finding {
			return Finding{Name: "callbacks", OK: true, Saw: "not configured: backends read GET /v1/events"}
		})
	}
	for _, address := range opts.CallbackURLs {
		run(func(ctx context.Context) Finding { return checkEndpoint(ctx, address, opts.Now) })
	}
	if opts.Traces != nil {
		run(func(ctx context.Context) Finding { return checkTraces(ctx, opts.Traces) })
	}
	return fine
}

func checkTraces(ctx context.Context, probe func(context.Context) error) Finding {
	f := Finding{Name: "traces", OK: true, Saw: "the collector takes them"}
	if err := probe(ctx); err != nil {
		f.OK, f.Saw = false, err.Error()
		f.Means = "traces are dropped; payments are not touched by it"
		f.Do = "check OTEL_EXPORTER_OTLP_ENDPOINT (http/protobuf, usually port 4318) and OTEL_EXPORTER_OTLP_HEADERS"
	}
	return f
}
