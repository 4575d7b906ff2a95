// Package sim breaks the relay on purpose: the real code, on a fake clock and connections in memory, against customers, a Dollr,
// backends and operators whose every timing and every fault comes from a seed.
//
// Start at [Run]: one seed, one world. What will happen is a [plan], drawn before anything runs; the actors (customer.go,
// merchant.go, bank.go, shop.go) carry it out, and the [referee] watches what the relay shows to anybody and whether it keeps
// its promises. docs/simulator.md says how to run a seed, read a history, and add a fault or an invariant.
//
// Run belongs into a testing/synctest bubble: outside of one it would take the minutes that it simulates.
package sim
