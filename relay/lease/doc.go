// Package lease shares the payments of one database out among the replicas that run on it, so that
// each is watched by exactly one.
//
// Start at [Decide], which is pure: who is there, who watches what and how much that is goes in, what
// this replica should claim and give away comes out. [Keeper] is the loop around it.
//
// Payments are shared out by slots. A slot is the first two characters of the hash in a payment's id,
// so there are 1,024 of them however many payments there are, an id tells whose it is, and a payment
// that is registered at any replica has an owner from its first moment.
package lease
