package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/web/console/picture"
)

// verifyPatience is how long a person waits for Dollr.
const verifyPatience = 15 * time.Second

// verify asks Dollr about a payment now. Like all buttons it names the page to show, with a word about what came of it.
func (c *Console) verify(r *http.Request) (string, error) {
	id := r.PathValue("id")
	ctx, cancel := context.WithTimeout(r.Context(), verifyPatience)
	defer cancel()
	before, err := c.Records.Find(ctx, id)
	if err != nil {
		return "", err
	}
	after, err := c.Payments.Verify(ctx, id, relay.ViaOperator)
	var ask *relay.AskError
	switch {
	case errors.As(err, &ask):
		return "/payments/" + id + "?done=" + ask.Reason, nil
	case errors.Is(err, context.DeadlineExceeded):
		return "/payments/" + id + "?done=unreachable", nil
	case err != nil:
		return "", err
	case after.Version > before.Version:
		return "/payments/" + id + "?done=changed", nil
	}
	return "/payments/" + id + "?done=same", nil
}

// redeliver puts a callback back into the outbox, due now.
func (c *Console) redeliver(r *http.Request) (string, error) {
	cb, err := c.Records.Redeliver(r.Context(), r.PathValue("id"), c.Now())
	if err != nil {
		return "", err
	}
	c.Redelivered(cb.URL)
	return "/payments/" + url.PathEscape(cb.PaymentID) + "?done=redelivered", nil
}

// reconcile starts a sweep over all open payments.
func (c *Console) reconcile(*http.Request) (string, error) {
	c.System.Reconcile()
	return "/?done=sweeping", nil
}

// said is what came of the button that led here. Only words of ours are shown, never the address.
func said(query url.Values) Remark {
	switch done := query.Get("done"); done {
	case "changed":
		return Remark{picture.Good, "Dollr was asked and told something new.", ""}
	case "same":
		return Remark{picture.Good, "Dollr was asked. Nothing has changed.", ""}
	case "redelivered":
		return Remark{picture.Good, "The callback is due now and goes out at once, unless its endpoint's breaker is open.", ""}
	case "sweeping":
		return Remark{picture.Good, "A sweep over all open payments is under way; its report is below.", ""}
	default:
		if words := errorWords(done); words != "" {
			return Remark{picture.Bad, words + " The payment is unchanged.", ""}
		}
	}
	return Remark{}
}
