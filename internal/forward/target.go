package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// ErrNotLoopback reports a URL that is not on this machine. A backend elsewhere gets its callbacks
// from the relay itself: name it in RELAY_CALLBACK_URLS.
var ErrNotLoopback = errors.New("not on this machine (localhost, 127.0.0.0/8 or [::1])")

// postTimeout is what the relay grants a receiver, too.
const postTimeout = 15 * time.Second

// Target is a backend on this machine.
type Target struct {
	url    string
	secret callback.Secret
	http   *http.Client
}

// Answer is what a backend said to one event.
type Answer struct {
	Code int
	Body string // its beginning
	Took time.Duration
}

// Acknowledged reports whether the relay would count the event as delivered.
func (a Answer) Acknowledged() bool { return a.Code >= 200 && a.Code <= 299 }

// NewTarget checks that the URL is on this machine, and sees to it that nothing is dialled elsewhere.
func NewTarget(rawURL string, secret callback.Secret) (*Target, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no http or https URL", rawURL)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is %w", u.Hostname(), ErrNotLoopback)
	}
	dialer := &net.Dialer{Timeout: postTimeout, Control: onlyLoopback}
	return &Target{url: rawURL, secret: secret, http: &http.Client{
		Timeout:       postTimeout,
		Transport:     &http.Transport{DialContext: dialer.DialContext}, // no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// onlyLoopback looks at the address that a name has led to.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !addr.Addr().IsLoopback() {
		return fmt.Errorf("%s is %w", address, ErrNotLoopback)
	}
	return nil
}

// Post sends a body as the relay would send a callback. An error means that no answer came.
func (t *Target) Post(ctx context.Context, id string, body []byte) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("post to the backend: %w", err)
	}
	began := time.Now()
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(callback.HeaderID, id)
	request.Header.Set(callback.HeaderTimestamp, strconv.FormatInt(began.Unix(), 10))
	request.Header.Set(callback.HeaderSignature, callback.Sign(id, began, body, []callback.Secret{t.secret}))
	answer, err := t.http.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("post to the backend: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // only to be shown
	return Answer{Code: answer.StatusCode, Body: string(text), Took: time.Since(began)}, nil
}
