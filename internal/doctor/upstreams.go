package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime"
)

func checkDollr(ctx context.Context, opts dollr.Options) Finding {
	f := Finding{Name: "dollr"}
	client, err := dollr.New(opts)
	if err == nil {
		err = client.CheckCredentials(ctx)
	}
	if err == nil {
		f.OK, f.Saw = true, "accepts the credentials"
		return f
	}
	f.Saw, f.Means = err.Error(), everythingWaits
	var known *dollr.Error
	errors.As(err, &known)
	switch {
	case known != nil && known.Reason() == dollr.ReasonRefused:
		f.Do = "compare DOLLR_CLIENT_ID and DOLLR_CLIENT_SECRET with the merchant portal, and see there that the merchant is verified"
	case known != nil && known.Reason() == dollr.ReasonRateLimited:
		f.Do = "wait; if it stays, lower DOLLR_RATE and see what else uses these credentials"
	case known != nil && (known.Reason() == dollr.ReasonUnreadable || known.Code == http.StatusNotFound):
		f.Do = "something answers that is not Dollr's API: check DOLLR_BASE_URL (without /v1) and any proxy on the way"
	default:
		f.Do = "check DOLLR_BASE_URL, DNS, proxy and firewall, and Dollr's own state"
	}
	return f
}

// checkKeys asks for a realtime key of an invented payment. That Dollr refuses the payment shows
// that it would have looked at a real one.
func checkKeys(ctx context.Context, opts dollr.Options, loggedIn bool) Finding {
	f := Finding{Name: "realtime keys", Means: pollingOnly}
	if !loggedIn {
		f.Saw, f.Do = "not tried, because Dollr was not reached or refused the credentials", "first mend what is said of dollr above"
		return f
	}
	client, err := dollr.New(opts)
	if err == nil {
		_, err = client.RealtimeKey(ctx, dollr.KeyRequest{SessionID: 1, SourceType: "INVOICE", ReferenceID: uuid.NewString()}, dollr.NewTicket(dollr.UrgentOld))
	}
	var known *dollr.Error
	errors.As(err, &known)
	switch {
	case err == nil:
		f.OK, f.Saw, f.Means = true, "are minted", ""
	case known != nil && (known.Code == http.StatusNotFound || known.Code == http.StatusUnprocessableEntity):
		f.OK, f.Saw, f.Means = true, fmt.Sprintf("endpoint answers; it refused an invented payment (%d), as it should", known.Code), ""
	case known != nil && known.Code == http.StatusForbidden:
		f.Saw, f.Do = err.Error(), "ask Dollr to enable realtime keys for this merchant; or unset SUPABASE_URL and SUPABASE_ANON_KEY to poll on purpose"
	default:
		f.Saw, f.Do = err.Error(), "try again in a minute; if it stays, tell Dollr what was seen"
	}
	return f
}

func checkSupabase(ctx context.Context, project string, anonKey secret.Value) Finding {
	f := Finding{Name: "supabase"}
	err := realtime.Probe(ctx, project, anonKey, nil)
	if err == nil {
		f.OK, f.Saw = true, "opens a socket and answers its heartbeat"
		return f
	}
	f.Saw, f.Means = err.Error(), pollingOnly
	f.Do = "check SUPABASE_URL, DNS, and that proxy and firewall let WebSockets out"
	if refused, ok := errors.AsType[*realtime.UpgradeError](err); ok && refused.Misconfigured() {
		f.Do = "check that SUPABASE_URL and SUPABASE_ANON_KEY are of the same project, as the merchant portal shows them"
	}
	return f
}
