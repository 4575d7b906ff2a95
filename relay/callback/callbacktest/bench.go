package callbacktest

import (
	"slices"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

func (b bench) must(err error) {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatal(err)
	}
}

func (b bench) queue(id, payment, url string, at time.Duration) {
	b.tb.Helper()
	b.must(b.box.Queue(b.tb.Context(), id, payment, url, []byte("body of "+id), b.t0.Add(at)))
}

func (b bench) claim(url string, limit int, at time.Duration) []callback.Delivery {
	b.tb.Helper()
	ds, err := b.box.Claim(b.tb.Context(), url, limit, b.t0.Add(at), lease)
	b.must(err)
	return ds
}

func (b bench) finish(d callback.Delivery, r callback.Result) {
	b.tb.Helper()
	b.must(b.box.Finish(b.tb.Context(), d, r))
}

func (b bench) hasten(triedBefore time.Time, at time.Duration, limit int) int {
	b.tb.Helper()
	n, err := b.box.Hasten(b.tb.Context(), here, triedBefore, b.t0.Add(at), limit)
	b.must(err)
	return n
}

func (b bench) nextDue(url string) time.Time {
	b.tb.Helper()
	due, err := b.box.NextDue(b.tb.Context(), url)
	b.must(err)
	return due
}

func (b bench) look(id string) Row {
	b.tb.Helper()
	row, err := b.box.Look(b.tb.Context(), id)
	b.must(err)
	return row
}

// failed is the result of an attempt at that time that is tried again later.
func (b bench) failed(at, next time.Duration) callback.Result {
	return callback.Result{
		At: b.t0.Add(at), Code: 500, Reason: callback.Refused, Err: "answered 500",
		State: callback.Pending, NextAt: b.t0.Add(next), Attempted: true,
	}
}

// ended is the result of an attempt at that time that was the last.
func (b bench) ended(at time.Duration, s callback.State) callback.Result {
	return callback.Result{At: b.t0.Add(at), Code: 200, State: s, Attempted: true}
}

func (b bench) wantIDs(ds []callback.Delivery, want ...string) {
	b.tb.Helper()
	got := make([]string, len(ds))
	for i, d := range ds {
		got[i] = d.ID
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.tb.Fatalf("claimed %v, want %v", got, want)
	}
}

func pick(b bench, ds []callback.Delivery, id string) callback.Delivery {
	b.tb.Helper()
	i := slices.IndexFunc(ds, func(d callback.Delivery) bool { return d.ID == id })
	if i < 0 {
		b.tb.Fatalf("%s was not claimed", id)
	}
	return ds[i]
}
