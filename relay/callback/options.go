package callback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// Options tune a Sender. URLs and Secrets are needed to send anything; the rest has defaults for production.
type Options struct {
	// URLs of the merchant's backend. Only these are ever called; callbacks stored for another one wait.
	URLs []string
	// Secrets that sign every callback, all of them.
	Secrets []Secret
	// Schedule of the delays before each attempt. Defaults to [DefaultSchedule].
	Schedule []time.Duration
	// PerEndpoint bounds the requests in flight to one URL. Defaults to 32: enough for 2,000 a second at a
	// backend that answers in 15 ms, and no flood for a small one.
	PerEndpoint int
	// Drain is how long requests in flight may take to end once Run's context has. Defaults to the time-out of an
	// attempt (15 s). What is cut off then is sent again later. Results get a quarter of it more to be stored.
	Drain time.Duration
	// Version of the relay, for the User-Agent. Defaults to "dev".
	Version string
	// Transport carries the requests. Defaults to one of its own for each URL.
	Transport http.RoundTripper
	// Logger gets first failures, breakers and dead callbacks. Defaults to slog.Default.
	Logger *slog.Logger
	// Now is the wall clock. Defaults to time.Now.
	Now func() time.Time
	// Rand is the jitter, uniform in 0..1. Defaults to math/rand/v2. Called from many goroutines.
	Rand func() float64
	// OnResult, if set, hears of each attempt's result once it is stored, for metrics. Called from many goroutines.
	OnResult func(Delivery, Result)
	// OnAttempt, if set, hears of each attempt before it leaves, may add headers to it, and returns a function that hears
	// what came of it, for traces. Called from many goroutines.
	OnAttempt func(ctx context.Context, d Delivery, header http.Header) func(Answer)
	// OnBreaker, if set, hears of every change of an endpoint's breaker: "closed", "half-open", "open", for metrics.
	OnBreaker func(url, state string)
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if len(o.Schedule) == 0 {
		o.Schedule = DefaultSchedule()
	}
	o.PerEndpoint = cmp.Or(o.PerEndpoint, 32)
	o.Drain = cmp.Or(o.Drain, attemptTimeout)
	o.Version = cmp.Or(o.Version, "dev")
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.OnResult == nil {
		o.OnResult = func(Delivery, Result) {}
	}
	if o.OnAttempt == nil {
		o.OnAttempt = func(context.Context, Delivery, http.Header) func(Answer) { return func(Answer) {} }
	}
	if o.OnBreaker == nil {
		o.OnBreaker = func(string, string) {}
	}
	return o
}

// validate names everything that is wrong at once.
func (o Options) validate() error {
	var errs []error
	seen := map[string]bool{}
	for _, u := range o.URLs {
		parsed, err := url.Parse(u)
		switch {
		case err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "":
			errs = append(errs, errors.New("option URLs: each must be http or https with a host"))
		case seen[u]:
			errs = append(errs, fmt.Errorf("option URLs: %s is named twice", parsed.Redacted()))
		}
		seen[u] = true
	}
	if len(o.URLs) > 0 && len(o.Secrets) == 0 {
		errs = append(errs, errors.New("option Secrets: at least one is needed to sign"))
	}
	for _, s := range o.Secrets {
		if s.IsZero() {
			errs = append(errs, errors.New("option Secrets: one is empty"))
		}
	}
	for _, d := range o.Schedule {
		if d < 0 || d > MaxAge {
			errs = append(errs, fmt.Errorf("option Schedule: %s is not between 0 and %s", d, MaxAge))
		}
	}
	if o.PerEndpoint < 0 {
		errs = append(errs, errors.New("option PerEndpoint: negative"))
	}
	if o.Drain < 0 {
		errs = append(errs, errors.New("option Drain: negative"))
	}
	return errors.Join(errs...)
}
