// Package doctor finds out why a relay would not work: one check a dependency, each with what was
// seen, what it means and what to do. It changes nothing, and posts no outcome anywhere.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// checkTimeout bounds one check. Supabase holds refusals back for 2 s, Dollr may take 15 s.
const checkTimeout = 20 * time.Second

// Finding is what one check found.
type Finding struct {
	Name string
	OK   bool
	Saw  string
	Do   string // what it means and what to do about it, if it is not OK
}

// Options say what is checked. Without SupabaseURL realtime is not used, without CallbackURLs no
// callbacks are sent; both are said and neither is a failure.
type Options struct {
	Dollr           dollr.Options
	SupabaseURL     string
	SupabaseAnonKey secret.Value
	DatabaseURL     secret.Value
	CallbackURLs    []string
}

// Examine runs all checks, in the order in which a payment would meet them, and hands each finding
// to tell as soon as it is there. It reports whether all were fine.
func Examine(ctx context.Context, opts Options, tell func(Finding)) bool {
	checks := []func(context.Context) Finding{
		func(ctx context.Context) Finding { return checkDatabase(ctx, opts.DatabaseURL) },
		func(ctx context.Context) Finding { return checkDollr(ctx, opts.Dollr) },
	}
	if opts.SupabaseURL == "" {
		checks = append(checks, func(context.Context) Finding {
			return Finding{Name: "realtime", OK: true, Saw: "not configured: polling only"}
		})
	} else {
		checks = append(checks,
			func(ctx context.Context) Finding { return checkKeys(ctx, opts.Dollr) },
			func(ctx context.Context) Finding {
				return checkSupabase(ctx, opts.SupabaseURL, opts.SupabaseAnonKey)
			})
	}
	if len(opts.CallbackURLs) == 0 {
		checks = append(checks, func(context.Context) Finding {
			return Finding{Name: "callbacks", OK: true, Saw: "not configured: backends read GET /v1/events"}
		})
	}
	for _, address := range opts.CallbackURLs {
		checks = append(checks, func(ctx context.Context) Finding { return checkEndpoint(ctx, address) })
	}
	fine := true
	for _, check := range checks {
		one, cancel := context.WithTimeout(ctx, checkTimeout)
		found := check(one)
		cancel()
		fine = fine && found.OK
		tell(found)
	}
	return fine
}

func checkDatabase(ctx context.Context, address secret.Value) Finding {
	f := Finding{Name: "database"}
	if path, ok := strings.CutPrefix(address.Reveal(), "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			f.OK, f.Saw = true, "does not exist yet; serve will make it"
			return f
		}
	}
	s, err := store.Open(ctx, address.Reveal(), store.Options{AsItIs: true})
	switch {
	case errors.Is(err, store.ErrInUse):
		f.OK, f.Saw = true, "in use by a running relay"
		return f
	case err != nil:
		f.Saw = err.Error()
		f.Do = "nothing can be stored; check RELAY_DATABASE_URL, the folder's permissions, and that the server is up"
		return f
	}
	f.OK, f.Saw = true, "opens and takes transactions"
	if err := errors.Join(s.Ping(ctx), s.Close()); err != nil {
		f.OK, f.Saw, f.Do = false, err.Error(), "it opens but does not take a transaction; look for a full disk or a read-only file"
	}
	return f
}

func checkDollr(ctx context.Context, opts dollr.Options) Finding {
	f := Finding{Name: "dollr"}
	client, err := dollr.New(opts)
	if err == nil {
		err = client.CheckCredentials(ctx)
	}
	var known *dollr.Error
	switch {
	case err == nil:
		f.OK, f.Saw = true, "accepts the credentials"
	case errors.As(err, &known) && known.Reason() == dollr.ReasonRefused:
		f.Saw = err.Error()
		f.Do = "every payment would stay pending; check DOLLR_CLIENT_ID and DOLLR_CLIENT_SECRET, and that the merchant is verified"
	default:
		f.Saw = err.Error()
		f.Do = "nothing could be verified; check DOLLR_BASE_URL, DNS, the firewall, and Dollr's own status"
	}
	return f
}

// checkKeys asks for a realtime key of an invented payment. That Dollr refuses the payment shows
// that it would have looked at a real one.
func checkKeys(ctx context.Context, opts dollr.Options) Finding {
	f := Finding{Name: "realtime keys"}
	client, err := dollr.New(opts)
	if err == nil {
		_, err = client.RealtimeKey(ctx, dollr.KeyRequest{SessionID: 1, SourceType: "INVOICE", ReferenceID: uuid.NewString()}, dollr.UrgentOld)
	}
	var known *dollr.Error
	errors.As(err, &known)
	switch {
	case err == nil:
		f.OK, f.Saw = true, "are minted"
	case known != nil && (known.Code == http.StatusNotFound || known.Code == http.StatusUnprocessableEntity):
		f.OK, f.Saw = true, fmt.Sprintf("endpoint answers; it refused an invented payment (%d), as it should", known.Code)
	default:
		f.Saw = err.Error()
		f.Do = "payments would be polled instead of heard; if this is 403, realtime keys are not enabled for this merchant"
	}
	return f
}

func checkSupabase(ctx context.Context, project string, anonKey secret.Value) Finding {
	f := Finding{Name: "supabase"}
	err := realtime.Probe(ctx, project, anonKey, nil)
	var refused *realtime.UpgradeError
	switch {
	case err == nil:
		f.OK, f.Saw = true, "opens a socket and answers its heartbeat"
	case errors.As(err, &refused) && refused.Misconfigured():
		f.Saw, f.Do = err.Error(), "payments would be polled instead of heard; check that SUPABASE_URL and SUPABASE_ANON_KEY are of the same project, as the merchant portal shows them"
	default:
		f.Saw, f.Do = err.Error(), "payments would be polled instead of heard; check SUPABASE_URL, DNS, and that the firewall lets WebSockets out"
	}
	return f
}

// checkEndpoint asks only for the headers of the merchant's endpoint: any answer shows that it can be reached.
func checkEndpoint(ctx context.Context, address string) Finding {
	f := Finding{Name: "callback"}
	if u, err := url.Parse(address); err == nil {
		f.Name += " " + u.Host
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		f.Saw, f.Do = "not a URL", "correct RELAY_CALLBACK_URLS"
		return f
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the URL, which may hold a token
		}
		f.Saw, f.Do = err.Error(), "callbacks would be retried for three days; check the address in RELAY_CALLBACK_URLS, DNS, its certificate and the firewall"
		return f
	}
	_ = answer.Body.Close()
	switch {
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		f.Saw, f.Do = "redirects ("+answer.Status+")", "redirects are not followed; put the final address into RELAY_CALLBACK_URLS"
	case answer.StatusCode == http.StatusNotFound:
		f.Saw, f.Do = "answers 404 to HEAD", "if the path in RELAY_CALLBACK_URLS is right, its handler takes POST only and this is fine; try: dollr-relay callbacks trigger"
		f.OK = true
	default:
		f.OK, f.Saw = true, "can be reached ("+answer.Status+" to HEAD; nothing was posted)"
	}
	return f
}
