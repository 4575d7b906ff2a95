package dollr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// DefaultBaseURL is Dollr's API, without the version.
const DefaultBaseURL = "https://api.heydollr.app"

// DefaultRate is how many requests per second leave without a configured rate. Dollr publishes no limit.
const DefaultRate = 10

// Options configure a [Client].
type Options struct {
	// BaseURL without /v1. Defaults to [DefaultBaseURL]. Plain http only on loopback, because every request
	// carries the merchant's credentials.
	BaseURL string
	// ClientID and ClientSecret are the merchant's credentials. Required.
	ClientID     string
	ClientSecret secret.Value
	// Rate is requests per second over everything: status, keys and tokens. Bursts are twice that. Defaults to [DefaultRate].
	Rate float64
	// HTTPClient carries the requests; its time-out and redirect rule are not used. Defaults to one with the
	// connect time-out of this package and connections kept for reuse.
	HTTPClient *http.Client
	// Logger hears of held budgets, refused credentials and answers about other payments. Defaults to [slog.Default].
	Logger *slog.Logger
	// Now is the wall clock, used only to read dates. Defaults to [time.Now].
	Now func() time.Time
	// Observe, if set, is told about every request after it ended. It must not block.
	Observe func(Observation)
	// Limited, if set, hears for how long a 429 holds every call. It must not block.
	Limited func(hold time.Duration)
	// Header, if set, adds headers to each request, such as traceparent of the context's span.
	Header func(ctx context.Context, header http.Header)
}

// Observation is one finished request to Dollr, for metrics.
type Observation struct {
	Endpoint string        // token, realtime_key, collection, payout, transfer, refund or source
	Result   string        // ok, a reason of [Error.Reason], or canceled
	Wait     time.Duration // in the queue for the budget
	Took     time.Duration // on the network
}

// Client talks to the Dollr Open API. It may be used by many goroutines at once.
type Client struct {
	opts   Options
	base   *url.URL
	http   *http.Client
	budget *budget
	tokens *tokens
}

// New checks the options and returns a client. It sends nothing. Its error names every bad field.
func New(opts Options) (*Client, error) {
	opts.BaseURL = cmp.Or(opts.BaseURL, DefaultBaseURL)
	opts.Rate = cmp.Or(opts.Rate, DefaultRate)
	base, err := parseBase(opts.BaseURL)
	errs := []error{err}
	if opts.ClientID == "" {
		errs = append(errs, errors.New("ClientID is required"))
	}
	if opts.ClientSecret.IsZero() {
		errs = append(errs, errors.New("ClientSecret is required"))
	}
	if !(opts.Rate > 0) || math.IsInf(opts.Rate, 0) {
		errs = append(errs, errors.New("the rate (Rate) must be a number above zero"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("dollr: %w", err)
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Observe == nil {
		opts.Observe = func(Observation) {}
	}
	c := &Client{opts: opts, base: base, http: withoutRedirects(opts.HTTPClient), budget: newBudget(opts.Rate)}
	c.tokens = &tokens{fetch: c.fetchToken}
	return c, nil
}

// parseBase accepts https anywhere and http on loopback.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" {
		return nil, errors.New("BaseURL must be an absolute URL")
	}
	switch {
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("BaseURL must not have credentials, a query or a fragment")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("BaseURL must be https, http is only for loopback")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("BaseURL must be https")
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// withoutRedirects returns given, or a client of our own, so that no answer is fetched from somewhere else than asked.
func withoutRedirects(given *http.Client) *http.Client {
	c := http.Client{}
	if given != nil {
		c = *given
	} else {
		c.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: connectWithin, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: connectWithin,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 128, // the poller's workers all go to the one host
			IdleConnTimeout:     90 * time.Second,
			// All requests share one HTTP/2 connection. Without pings one that died silently takes them all down with it
			// for as long as TCP keeps trying, a quarter of an hour.
			HTTP2: &http.HTTP2Config{SendPingTimeout: headersWithin, PingTimeout: connectWithin},
		}
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Timeout = 0
	return &c
}

// CheckCredentials asks Dollr for a fresh token with the configured credentials, and nothing else.
func (c *Client) CheckCredentials(ctx context.Context) error {
	token, life, err := c.fetchToken(ctx)
	if err == nil {
		c.tokens.keep(token, life)
	}
	return err
}

// Held is how long a 429 still holds every call back; 0 when nothing is held.
func (c *Client) Held() time.Duration { return c.budget.held() }

// SetShare makes this client use a part of the configured rate, 1 at the start: other processes use the rest. Of a share
// that is nearly nothing a fiftieth is left.
func (c *Client) SetShare(share float64) { c.budget.resize(c.opts.Rate * max(share, leastShare)) }

// Hold holds every call for so long: another process has got a 429.
func (c *Client) Hold(d time.Duration) { c.budget.hold(d) }

// authorized sends r with the shared token in its turn and returns the body of a success. Without a ticket it goes last.
func (c *Client) authorized(ctx context.Context, r request, t *Ticket) ([]byte, error) {
	if t == nil {
		t = NewTicket(UrgentOld)
	}
	refused := c.tokens.refused(r.endpoint, true)
	if refused != nil {
		return nil, refused
	}
	retried := false
	for {
		queued := time.Now()
		granted, err := c.budget.wait(ctx, t)
		if err != nil {
			return nil, stopped(ctx, r.endpoint)
		}
		if err := t.Begin(); err != nil {
			return nil, err
		}
		token, ok := c.tokens.current()
		if !ok {
			if err := c.tokens.refresh(ctx); err != nil { // and no token is alive
				if failure, ok := errors.AsType[*Error](err); ok && failure.reason == ReasonRefused {
					c.refuse(ctx, failure)
				}
				return nil, err
			}
			// Everybody who waited for the token would leave at the same moment: queue again.
			continue
		}
		r.bearer, r.granted, r.wait = token, granted, granted.Sub(queued)
		body, failure := c.exchange(ctx, r)
		switch {
		case failure == nil, failure.Code != 0 && failure.Code < 500 && failure.Code != http.StatusUnauthorized:
			if c.tokens.accept() {
				c.opts.Logger.InfoContext(ctx, "dollr accepts the credentials again")
			}
		case failure.Code == http.StatusUnauthorized:
			c.tokens.reject(token)
			if !retried {
				retried = true
				continue
			}
			c.refuse(ctx, failure)
		}
		if failure != nil {
			return nil, failure
		}
		return body, nil
	}
}

// refuse stops all calls but a probe every 10 s, because the credentials do not work.
func (c *Client) refuse(ctx context.Context, why *Error) {
	if c.tokens.refuse(why) {
		c.opts.Logger.ErrorContext(ctx, "dollr refuses the credentials, trying again every 10 s",
			slog.String("endpoint", why.Endpoint), slog.Int("code", why.Code), slog.String("detail", why.Detail))
	}
}
