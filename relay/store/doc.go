// Package store keeps payments, timelines, reports and callbacks in SQL.
//
// Start at [Store.Apply]: read the row, let the judge decide, write payment, timeline, report and
// callback in one transaction, guarded by compare-and-swap on the row's revision. One SQL text
// serves every engine; what differs is in [engine]. SQLite is a single file with one writer
// connection whose concurrent transactions share an fsync (see batch.go).
package store
