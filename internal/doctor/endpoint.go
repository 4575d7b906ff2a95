package doctor

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// maxSkew is how far apart the clocks may be: backends refuse signatures that are more than 5 min old.
const maxSkew = 4 * time.Minute

// checkEndpoint asks only for the headers of the merchant's endpoint: any answer of the backend shows that it can be
// reached, whatever it thinks of HEAD.
func checkEndpoint(ctx context.Context, address string, now func() time.Time) Finding {
	f := Finding{Name: "callback"}
	u, err := url.Parse(address)
	if err == nil {
		f.Name += " " + u.Host
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		f.Saw, f.Means, f.Do = "not a URL", callbacksWait, "correct RELAY_CALLBACK_URLS"
		return f
	}
	request.Header.Set("User-Agent", "dollr-relay doctor")
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the URL, which may hold a token
		}
		f.Saw, f.Means = err.Error(), callbacksWait
		f.Do = "see that the backend runs, and check the address in RELAY_CALLBACK_URLS, DNS, its certificate and the firewall"
		return f
	}
	_ = answer.Body.Close()
	return answered(f, answer, now())
}

func answered(f Finding, answer *http.Response, now time.Time) Finding {
	code := answer.StatusCode
	saw := "answers " + answer.Status + " to HEAD; nothing was posted"
	skew := time.Duration(0)
	if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		skew = now.Sub(at)
	}
	switch {
	case code >= 300 && code < 400:
		f.Saw, f.Means, f.Do = "redirects ("+answer.Status+")", callbacksWait, "redirects are not followed: put the final address into RELAY_CALLBACK_URLS"
	case code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout:
		f.Saw, f.Means, f.Do = saw, callbacksWait, "a proxy answers and the backend behind it does not: see that it runs"
	case skew.Abs() > maxSkew:
		f.Saw = "has another time than this machine, by " + skew.Abs().Round(time.Second).String()
		f.Means = "the backend refuses callbacks as too old or from the future; " + callbacksWait
		f.Do = "set both clocks by NTP"
	case code == http.StatusNotFound:
		f.OK, f.Saw = true, saw
		f.Do = "if the path in RELAY_CALLBACK_URLS is right, its handler takes POST only and this is fine; on a developer's machine dollr-relay callbacks trigger tries it"
	default:
		f.OK, f.Saw = true, saw
	}
	return f
}
