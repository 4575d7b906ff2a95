package callback

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	attemptTimeout = 15 * time.Second // contract, section 5: a 2xx within this is an acknowledgement
	connectTimeout = 5 * time.Second  // dialling, and again for TLS
	// bodyTimeout bounds reading the answer's body. The status line said all that matters; a body that drips must
	// not hold a worker and the payment's next callback.
	bodyTimeout = 2 * time.Second

	readBytes = 64 << 10 // of the answer, so that the connection can be used again
	keepBytes = 1 << 10  // of the answer, for whoever looks at the callback
	errBytes  = 256
)

// newClient makes the HTTP client of one endpoint. Endpoints share no connections: two URLs of one host must not
// wait for each other on one HTTP/2 connection.
func newClient(transport http.RoundTripper, connections int) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:    connectTimeout,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    connections,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: readBytes,
			DisableCompression:     true, // read as it comes: 64 KiB of gzip could be 64 MiB
			// A connection that a firewall forgot would otherwise time out attempt after attempt.
			HTTP2: &http.HTTP2Config{SendPingTimeout: connectTimeout, PingTimeout: connectTimeout},
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// attempt sends a callback once and reports what came back. It never fails: no answer is an [Answer] too.
func (e *endpoint) attempt(ctx context.Context, d Delivery) (a Answer) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	header := http.Header{}
	ended := e.opts.OnAttempt(ctx, d, header)
	defer func() { ended(a) }()
	a.At = e.opts.Now()
	start := time.Now()
	resp, err := e.post(ctx, d, a.At, header)
	if err != nil {
		a.Failure, a.Err = classify(ctx, err)
		a.Duration = time.Since(start)
		return a
	}
	defer resp.Body.Close()
	a.Code = resp.StatusCode
	if a.Code == http.StatusTooManyRequests || a.Code == http.StatusServiceUnavailable {
		a.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), a.At)
	}
	if a.Code == http.StatusSwitchingProtocols { // what follows is the connection itself, which ends with no time-out
		a.Duration = time.Since(start)
		return a
	}
	slow := time.AfterFunc(bodyTimeout, cancel)
	defer slow.Stop()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, readBytes)) // a cut-off body changes nothing: the status line counts
	a.Response = beginning(body, keepBytes)
	a.Duration = time.Since(start)
	return a
}

// post sends the request. It goes to the endpoint's URL from the configuration, never to one read from the store.
func (e *endpoint) post(ctx context.Context, d Delivery, at time.Time, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(d.Body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "dollr-relay/"+e.opts.Version)
	req.Header.Set(HeaderID, d.ID)
	req.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(HeaderSignature, Sign(d.ID, at, d.Body, e.opts.Secrets))
	return e.client.Do(req)
}

// classify tells our own stop from a time-out from everything else, in words without the URL.
func classify(ctx context.Context, err error) (Reason, string) {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	text := beginning([]byte(err.Error()), errBytes)
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return Stopped, "the relay stopped before the answer came"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Timeout, "no answer within " + attemptTimeout.String()
	case isNet && netErr.Timeout():
		return Timeout, text
	default:
		return Unreachable, text
	}
}

// retryAfter reads seconds or an HTTP date (RFC 9110, section 10.2.3); anything else is no wish.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// beginning is the first bytes of text as valid UTF-8 without NUL, which PostgreSQL's TEXT refuses.
func beginning(text []byte, limit int) string {
	s := strings.ToValidUTF8(string(text[:min(len(text), limit)]), "")
	return strings.ReplaceAll(s, "\x00", "")
}
