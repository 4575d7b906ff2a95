package dollr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

const (
	connectWithin = 5 * time.Second
	headersWithin = 10 * time.Second
	// AnswerWithin bounds every request to Dollr.
	AnswerWithin = 15 * time.Second
	// lateBy is how much later than its time-out a request ends only if this process, or its machine, was stopped meanwhile.
	lateBy = 2 * time.Second
	// maxBody is far above any answer of Dollr's; what is longer is something else.
	maxBody = 1 << 20
)

// Causes of requests that this client gave up on.
var (
	errNoHeaders = errors.New("no answer within 10 s")
	errTooSlow   = errors.New("no complete answer within 15 s")
)

// request is one HTTP exchange to make.
type request struct {
	endpoint string // bounded word for metrics and errors
	method   string
	path     []string // below /v1
	query    url.Values
	body     any          // sent as JSON unless nil
	bearer   secret.Value // none for the token endpoint

	granted time.Time     // when the budget let it go
	wait    time.Duration // how long that took
}

// exchange sends r once and returns the body of a 2xx answer, observed, paced and with its secrets kept out of the error.
func (c *Client) exchange(ctx context.Context, r request) ([]byte, *Error) {
	start := time.Now()
	a, err := c.send(ctx, r)
	var failure *Error
	switch {
	case err != nil && ctx.Err() != nil:
		failure = stopped(ctx, r.endpoint)
	case err != nil:
		failure = &Error{
			Endpoint: r.endpoint, Detail: c.scrub(r, err.Error()), reason: ReasonUnreachable, cause: withoutURL(err),
			neutral: stoodStill(err, time.Since(start)),
		}
	case a.code != http.StatusOK && a.code != http.StatusCreated:
		failure = fromCode(r.endpoint, a.code)
		failure.retryAfter = retryAfter(a.header, c.opts.Now())
		if detail := errorDetail(a.body); detail != "" {
			failure.Detail = c.scrub(r, detail)
		}
	case len(a.body) > maxBody:
		failure = unreadable(r.endpoint, "answer over 1 MiB")
	}
	c.pace(ctx, r, failure)
	c.opts.Observe(Observation{Endpoint: r.endpoint, Result: result(failure), Wait: r.wait, Took: time.Since(start)})
	if failure != nil {
		return nil, failure
	}
	return a.body, nil
}

// stoodStill reports whether a request was not given up in time, because nothing moved here. That says nothing about
// Dollr's health.
func stoodStill(err error, took time.Duration) bool {
	limit := AnswerWithin
	if errors.Is(err, errNoHeaders) {
		limit = headersWithin
	}
	return took > limit+lateBy
}

// pace tells the budget what the answer means for all other calls.
func (c *Client) pace(ctx context.Context, r request, failure *Error) {
	switch {
	case failure == nil || failure.Code != 0 && failure.Code != http.StatusTooManyRequests:
		c.budget.answered(r.granted)
	case failure.Code == http.StatusTooManyRequests:
		hold := c.budget.limited(r.granted, failure.retryAfter)
		failure.retryAfter = hold
		if c.opts.Limited != nil {
			c.opts.Limited(hold)
		}
		c.opts.Logger.WarnContext(ctx, "dollr limits the rate, all calls are held",
			slog.String("endpoint", r.endpoint), slog.Duration("hold", hold))
	}
}

// answer is an HTTP answer that was read to its end, or to one byte more than maxBody. Of one that is no success the body may
// be cut off: the code and the header say what it means.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// send makes the HTTP request within the time-outs and reads the answer.
func (c *Client) send(ctx context.Context, r request) (answer, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	defer time.AfterFunc(AnswerWithin, func() { giveUp(errTooSlow) }).Stop()
	headers := time.AfterFunc(headersWithin, func() { giveUp(errNoHeaders) })
	defer headers.Stop()

	req, err := c.newRequest(ctx, r)
	if err != nil {
		return answer{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, causeOf(ctx, err)
	}
	headers.Stop()
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusSwitchingProtocols { // what follows is the connection itself, which no time-out ends
		return answer{code: resp.StatusCode, header: resp.Header}, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated) {
		return answer{}, causeOf(ctx, fmt.Errorf("read answer: %w", err))
	}
	return answer{code: resp.StatusCode, header: resp.Header, body: body}, nil
}

func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	u := c.base.JoinPath(append([]string{"v1"}, r.path...)...)
	u.RawQuery = r.query.Encode()
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "dollr-relay")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.opts.Header != nil {
		c.opts.Header(ctx, req.Header)
	}
	if !r.bearer.IsZero() {
		req.Header.Set("Authorization", "Bearer "+r.bearer.Reveal())
	}
	return req, nil
}

// causeOf prefers our own reason for giving up to the transport's "context canceled".
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errNoHeaders) || errors.Is(cause, errTooSlow) {
		return cause
	}
	return withoutURL(err)
}

// withoutURL drops the URL, which net/http puts into its errors with the whole query.
func withoutURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// scrub takes what must not be logged out of foreign text that repeats it.
func (c *Client) scrub(r request, text string) string {
	for _, s := range []secret.Value{c.opts.ClientSecret, r.bearer} {
		if !s.IsZero() {
			text = strings.ReplaceAll(text, s.Reveal(), "[secret]")
		}
	}
	return shorten(text)
}

// retryAfter reads the header in both of its forms (RFC 9110, section 10.2.3). A date is compared with the answer's own
// Date, so that a wrong clock on either side does no harm. Of several values (a proxy added its own) or of a fraction the whole
// seconds at the beginning count. 0 means none that makes sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if digits := text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]; digits != "" {
		seconds, _ := strconv.ParseInt(digits, 10, 64) // the largest there is, if it is larger
		return min(time.Duration(min(seconds, int64(maxHold/time.Second)))*time.Second, maxHold)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	return min(max(at.Sub(now), 0), maxHold)
}

// result is the metrics' word for how a request ended.
func result(failure *Error) string {
	switch {
	case failure == nil:
		return "ok"
	case failure.reason == "":
		return "canceled"
	}
	return failure.reason
}
