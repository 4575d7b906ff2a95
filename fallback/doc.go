// Package fallback asks Dollr when the live feed cannot be trusted: when to ask, and through what guard.
//
// When: [Cadence.Next] is the schedule, a pure function of facts, and [Poller] keeps it for any number of payments in
// one goroutine. Through what: [Asker] sends one question per payment at a time through a [Breaker]. [Sweep] asks
// about everything once in a while, in case that the schedule or the realtime feed missed something.
//
// The package never judges an answer: it hands it to the function it was given, once, before anybody else sees it.
package fallback
