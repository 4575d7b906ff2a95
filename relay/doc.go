// Package relay is the heart of dollr-relay: what a payment is, how it is judged, and who is told.
//
// Start at [Decide], the only judge: a pure function from a payment and an [Observation] to the
// payment that follows and the [Effect]s that go with it. A [Hint] (realtime) may be early, late,
// forged or missing; it is shown to pages as unverified and makes the relay ask. Only [Truth], an
// answer of Dollr's status API to the relay's own request, moves a payment to an outcome, and only
// an outcome makes a report for the merchant's backend.
//
// Then read [Relay.Run]: it watches the open payments, lets the feed and the schedule bring
// observations, commits what Decide says, and only after the commit lets anybody hear of it.
//
// This package does no network, SQL or HTTP of its own; it declares the small interfaces that it
// needs ([Store], [Feed], [Asker], [Schedule]) and package internal/app fills them.
package relay
