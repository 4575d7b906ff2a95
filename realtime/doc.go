// Package realtime hears about row changes of payments from Supabase Realtime.
//
// A [Feed] follows payments: for each it gets a key, joins the payment's channel on one of a few shared sockets, and reports
// through [Options].Notify when the channel is proven live, when it is lost, and when the row has changed. A change is a
// hint: the stream is at most once, unsequenced and never replayed, so whoever listens asks the status API after
// every [Live], [Lost] and [Change].
//
// Start reading at [Feed.Run]: one loop owns all state. What one payment's subscription does next is decided by
// a step function (step.go): state and event in, state and effects out, the time an argument. Sockets have one reader and one writer
// goroutine each; channels have neither goroutine nor timer.
//
// The protocol is that of the project's notes on Supabase Realtime (`vsn` 2.0.0); comments cite its sections as §N and its client
// checklist as C1 to C30.
package realtime
