// Package apiclient speaks the relay's HTTP API for the commands: JSON in, readable errors out, and
// patience with a relay that is just starting again.
//
// Start at [Client.Get]; [List] walks through the pages of a list.
package apiclient

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

const (
	// requestTimeout is above the longest wait that the relay grants (60 s).
	requestTimeout = 75 * time.Second
	maxAnswerBytes = 64 << 20

	firstPause = 250 * time.Millisecond
	maxPause   = 5 * time.Second
)

// Options tune a Client. The zero value is ready.
type Options struct {
	// Patience is how long a relay that cannot be reached is asked again. Defaults to 10 s, a
	// restart; negative: until the context ends.
	Patience time.Duration
	// OnWait hears why the relay is asked again, each time before the pause.
	OnWait func(err error)
	// Transport carries the requests. Defaults to http.DefaultTransport.
	Transport http.RoundTripper
}

// Client calls one relay with one API key. It is safe for concurrent use.
type Client struct {
	base string
	key  secret.Value
	opts Options
	http *http.Client
}

// New checks the relay's base URL and starts nothing.
func New(baseURL string, key secret.Value, opts Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no http or https URL", baseURL)
	}
	opts.Patience = cmp.Or(opts.Patience, 10*time.Second)
	if opts.OnWait == nil {
		opts.OnWait = func(error) {}
	}
	return &Client{
		base: strings.TrimSuffix(u.String(), "/"), key: key, opts: opts,
		http: &http.Client{
			Transport: opts.Transport, Timeout: requestTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the key goes nowhere else
		},
	}, nil
}

// Get decodes the answer to GET path?query into a value. It asks again while the relay cannot be
// reached or is stopping. Errors are a [*ProblemError], an [*UnreachableError] or the context's.
func (c *Client) Get(ctx context.Context, path string, query url.Values, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, into)
}

// Post does the same with POST and no body. It asks again only if nothing was sent.
func (c *Client) Post(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodPost, path, into)
}

func (c *Client) do(ctx context.Context, method, path string, into any) error {
	began := time.Now()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := c.once(ctx, method, path, into)
		if err == nil || ctx.Err() != nil || !again(method, err) {
			return err
		}
		if c.opts.Patience > 0 && time.Since(began)+pause > c.opts.Patience {
			return err
		}
		c.opts.OnWait(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// again reports whether the same request is worth another try: always when it never left, and for a
// question also when its answer was lost or the relay was stopping.
func again(method string, err error) bool {
	var (
		unreachable *UnreachableError
		problem     *ProblemError
	)
	switch {
	case errors.As(err, &unreachable):
		return method == http.MethodGet || unreachable.unsent
	case errors.As(err, &problem):
		return method == http.MethodGet && problem.Temporary()
	default:
		return false
	}
}

func (c *Client) once(ctx context.Context, method, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("ask the relay: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	answer, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var op *net.OpError
		return &UnreachableError{URL: c.base, Err: err, unsent: errors.As(err, &op) && op.Op == "dial"}
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswerBytes))
	if err != nil {
		return &UnreachableError{URL: c.base, Err: fmt.Errorf("read its answer: %w", err)}
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return readProblem(answer, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the relay's answer is not what its API promises; is %s a relay? %w", c.base, err)
	}
	return nil
}
