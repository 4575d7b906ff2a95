// Package callback signs and delivers callbacks to merchants' backends, per the Standard Webhooks
// specification 1.0.0 (https://www.standardwebhooks.com).
//
// A callback is stored by the transaction that settled its payment, and only then sent: at least once, always
// with the same id and the same bytes, until the receiver acknowledges it or it is dead. [Sender.Run] owns the
// sending; start reading there. Each URL has an endpoint (endpoint.go): one loop that claims what is due from
// the [Outbox], a breaker, and workers of its own, so that a hanging backend slows nobody else. [After] is the
// decision what one attempt means, as a function of data. [Verifier] is the other side, for receivers.
package callback
