// Package forward brings callbacks to a developer's machine: it follows the event feed of a relay and
// posts each event to a loopback URL, signed as a callback is, with a secret of its own.
//
// Start at [Listener.Run]. What was forwarded is kept in a [Journal], so that the next run goes on
// where this one stopped. The secret of the relay's real callbacks is never used here, and [Target]
// reaches no other machine.
package forward
