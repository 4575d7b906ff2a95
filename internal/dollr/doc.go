// Package dollr is the client of the Dollr Open API: token, realtime keys, payment status, and the budget over
// all its calls.
//
// Start at [Client.Status]: every call queues in the [Client]'s budget by its [Urgency], takes the shared token and
// makes one HTTP exchange. An answer is believed only if it is about exactly the payment that was asked for; every
// failure is an [*Error] that says what to do next. A Client owns no goroutine.
package dollr
