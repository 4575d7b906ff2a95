// Package callbacktest shows that an outbox keeps the promises of [callback.Outbox]. Every store runs it.
package callbacktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// Box is an outbox with what the tests need around it: putting callbacks in, and looking at them.
type Box interface {
	callback.Outbox
	// Queue stores a pending callback, queued and due at that time, behind those of its payment that are there
	// already, and makes the payment's waiting ones due.
	Queue(ctx context.Context, id, paymentID, url string, body []byte, at time.Time) error
	// Redeliver makes a callback pending and due at that time, from any state, with its schedule from the start.
	Redeliver(ctx context.Context, id string, at time.Time) error
	// Look returns a callback as it is stored.
	Look(ctx context.Context, id string) (Row, error)
}

// Row is a stored callback.
type Row struct {
	State    callback.State
	Due      time.Time // when State is pending and no lease holds it
	Attempts []Attempt // recorded ones, oldest first
}

// Attempt is a recorded attempt.
type Attempt struct {
	At       time.Time
	Duration time.Duration
	Code     int
	Err      string
	Response string
}

// The URLs and the start of time of the suite. Times are whole milliseconds.
const (
	here  = "https://shop.example/hooks"
	there = "https://other.example/hooks"
	lease = 10 * time.Second
)

// bench is one test's outbox with shorthands that fail the test.
type bench struct {
	tb  testing.TB
	box Box
	t0  time.Time
}

// TestOutbox runs the suite; open makes an empty outbox for each test.
func TestOutbox(t *testing.T, open func(testing.TB) Box) {
	t.Helper()
	tests := []struct {
		name string
		run  func(bench)
	}{
		{"claims what is due, oldest first, with its bytes", claimsDue},
		{"claims nothing of another URL or before its time", claimsOnlyOwn},
		{"claims only the oldest unfinished callback of a payment", serialPerPayment},
		{"a leased callback is claimed by nobody until the lease ends", leaseHolds},
		{"renewing keeps a lease and does not revive a lost one", renews},
		{"a claim that is finished holds nothing more", finishedHoldsNothing},
		{"a fenced finish changes nothing", fences},
		{"a finish stores state, due time and attempt", finishes},
		{"giving back unsent uses up no attempt", givesBack},
		{"postponing moves what is due and uses up no attempt", postpones},
		{"hastening makes waiting ones due, once for each recovery", hastens},
		{"hastening keeps to its limit, oldest first", hastensBatch},
		{"a new callback of a payment makes the waiting one due", newOneHastens},
		{"a new callback of a payment makes the one in flight due again at once", newOneHastensNext},
		{"readdressing moves what waits for a URL that is not configured", readdresses},
		{"burying ends what is too old, on every URL", buries},
		{"redelivering starts the schedule again", redelivers},
		{"two claimers share without overlap", sharesClaims},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(bench{t, open(t), time.UnixMilli(1_795_000_000_000)})
		})
	}
}

func claimsDue(b bench) {
	b.queue("b", "pay_b", here, time.Second)
	b.queue("a", "pay_a", here, 0)
	b.queue("c", "pay_c", here, 2*time.Second)
	if got := b.nextDue(here); !got.Equal(b.t0) {
		b.tb.Errorf("NextDue = %s, want %s", got, b.t0)
	}
	ds := b.claim(here, 2, 5*time.Second)
	b.wantIDs(ds, "a", "b")
	for _, d := range ds {
		if string(d.Body) != "body of "+d.ID || d.URL != here || d.PaymentID != "pay_"+d.ID || d.Attempt != 1 {
			b.tb.Errorf("claimed %+v (body %q), want its own body, URL and payment, and attempt 1", d, d.Body)
		}
	}
	if got := pick(b, ds, "a").QueuedAt; !got.Equal(b.t0) {
		b.tb.Errorf("QueuedAt = %s, want %s", got, b.t0)
	}
	b.wantIDs(b.claim(here, 10, 5*time.Second), "c")
}

func claimsOnlyOwn(b bench) {
	b.queue("a", "pay_a", here, time.Minute)
	b.queue("b", "pay_b", there, 0)
	b.wantIDs(b.claim(here, 10, time.Minute-time.Millisecond))
	if got := b.nextDue("https://unknown.example/"); !got.IsZero() {
		b.tb.Errorf("NextDue of a URL without callbacks = %s, want zero", got)
	}
	b.wantIDs(b.claim(here, 10, time.Minute), "a")
}

func serialPerPayment(b bench) {
	b.queue("first", "pay_1", here, 0)
	b.queue("second", "pay_1", here, 0)
	b.queue("other", "pay_2", here, 0)
	ds := b.claim(here, 10, 0)
	b.wantIDs(ds, "first", "other")
	b.wantIDs(b.claim(here, 10, time.Second))
	b.finish(pick(b, ds, "other"), b.ended(time.Second, callback.Delivered))
	// While the first waits for a retry the second does not overtake it.
	b.finish(pick(b, ds, "first"), b.failed(time.Second, time.Minute))
	b.wantIDs(b.claim(here, 10, 2*time.Second))
	ds = b.claim(here, 10, time.Minute)
	b.wantIDs(ds, "first")
	b.finish(ds[0], b.ended(time.Minute, callback.Dead))
	b.wantIDs(b.claim(here, 10, time.Minute), "second")
}

func leaseHolds(b bench) {
	b.queue("a", "pay_a", here, 0)
	first := b.claim(here, 1, 0)
	b.wantIDs(b.claim(here, 1, lease-time.Millisecond))
	if got := b.nextDue(here); !got.Equal(b.t0.Add(lease)) {
		b.tb.Errorf("NextDue of a leased callback = %s, want its lease's end %s", got, b.t0.Add(lease))
	}
	second := b.claim(here, 1, lease)
	b.wantIDs(second, "a")
	if second[0].Claim <= first[0].Claim {
		b.tb.Errorf("second claim is number %d after %d, want it to grow", second[0].Claim, first[0].Claim)
	}
	if second[0].Attempt != 1 {
		b.tb.Errorf("Attempt after a lost lease = %d, want 1: nothing was recorded", second[0].Attempt)
	}
}

func renews(b bench) {
	b.queue("a", "pay_a", here, 0)
	old := b.claim(here, 1, 0)
	b.must(b.box.Renew(b.tb.Context(), old, b.t0.Add(20*time.Second)))
	b.wantIDs(b.claim(here, 1, 15*time.Second))
	fresh := b.claim(here, 1, 20*time.Second)
	b.wantIDs(fresh, "a")
	b.must(b.box.Renew(b.tb.Context(), old, b.t0.Add(time.Hour)))
	b.wantIDs(b.claim(here, 1, 31*time.Second), "a") // the old claim could not prolong the fresh one
}

// A renewal may cross the finish of the same claim, and a finish whose answer was lost comes twice.
func finishedHoldsNothing(b bench) {
	b.queue("a", "pay_a", here, 0)
	d := b.claim(here, 1, 0)[0]
	b.finish(d, b.failed(0, 5*time.Second))
	b.must(b.box.Renew(b.tb.Context(), []callback.Delivery{d}, b.t0.Add(time.Hour)))
	if err := b.box.Finish(b.tb.Context(), d, b.failed(0, time.Hour)); !errors.Is(err, callback.ErrFenced) {
		b.tb.Errorf("second Finish of a claim = %v, want ErrFenced", err)
	}
	ds := b.claim(here, 1, 5*time.Second)
	b.wantIDs(ds, "a")
	if ds[0].Attempt != 2 {
		b.tb.Errorf("Attempt = %d, want 2: the second Finish counts for nothing", ds[0].Attempt)
	}
}

func fences(b bench) {
	b.queue("a", "pay_a", here, 0)
	old := b.claim(here, 1, 0)[0]
	fresh := b.claim(here, 1, lease)[0]
	if err := b.box.Finish(b.tb.Context(), old, b.ended(lease, callback.Dead)); !errors.Is(err, callback.ErrFenced) {
		b.tb.Errorf("Finish by the older claim = %v, want ErrFenced", err)
	}
	if row := b.look("a"); row.State != callback.Pending || len(row.Attempts) != 0 {
		b.tb.Errorf("after a fenced finish the callback is %+v, want it pending without attempts", row)
	}
	b.finish(fresh, b.ended(lease, callback.Delivered))
	if err := b.box.Finish(b.tb.Context(), fresh, b.ended(lease, callback.Dead)); !errors.Is(err, callback.ErrFenced) {
		b.tb.Errorf("second Finish = %v, want ErrFenced", err)
	}
	if got := b.look("a").State; got != callback.Delivered {
		b.tb.Errorf("state after a second finish = %s, want delivered", got)
	}
}

func finishes(b bench) {
	b.queue("a", "pay_a", here, 0)
	d := b.claim(here, 1, 0)[0]
	b.finish(d, callback.Result{
		At: b.t0, Duration: 120 * time.Millisecond, Code: 500, Reason: callback.Refused,
		Err: "answered 500", Response: "oops", State: callback.Pending, NextAt: b.t0.Add(5 * time.Second), Attempted: true,
	})
	row := b.look("a")
	want := Attempt{At: b.t0, Duration: 120 * time.Millisecond, Code: 500, Err: "answered 500", Response: "oops"}
	if len(row.Attempts) != 1 || !row.Attempts[0].At.Equal(want.At) || row.Attempts[0].Duration != want.Duration ||
		row.Attempts[0].Code != want.Code || row.Attempts[0].Err != want.Err || row.Attempts[0].Response != want.Response {
		b.tb.Errorf("attempts = %+v, want %+v", row.Attempts, want)
	}
	if !row.Due.Equal(b.t0.Add(5 * time.Second)) {
		b.tb.Errorf("due = %s, want 5s later", row.Due)
	}
	b.wantIDs(b.claim(here, 1, 4*time.Second))
	ds := b.claim(here, 1, 5*time.Second)
	b.wantIDs(ds, "a")
	if ds[0].Attempt != 2 {
		b.tb.Errorf("Attempt = %d, want 2", ds[0].Attempt)
	}
	b.finish(ds[0], b.ended(5*time.Second, callback.Delivered))
	if due := b.nextDue(here); !due.IsZero() {
		b.tb.Errorf("NextDue = %s when all is delivered, want zero", due)
	}
}

func givesBack(b bench) {
	b.queue("a", "pay_a", here, 0)
	d := b.claim(here, 1, 0)[0]
	b.finish(d, callback.Result{At: b.t0, Reason: callback.Stopped, State: callback.Pending, NextAt: b.t0.Add(time.Second)})
	ds := b.claim(here, 1, time.Second)
	b.wantIDs(ds, "a")
	if ds[0].Attempt != 1 || len(b.look("a").Attempts) != 0 {
		b.tb.Errorf("attempt %d with %d recorded, want attempt 1 with none", ds[0].Attempt, len(b.look("a").Attempts))
	}
}

func postpones(b bench) {
	b.queue("due", "pay_1", here, 0)
	b.queue("later", "pay_2", here, time.Hour)
	b.queue("elsewhere", "pay_3", there, 0)
	b.queue("leased", "pay_4", here, -time.Second)
	leased := b.claim(here, 1, 0)
	b.wantIDs(leased, "leased")
	b.must(b.box.Postpone(b.tb.Context(), here, b.t0, b.t0.Add(time.Minute)))
	b.finish(leased[0], b.ended(0, callback.Delivered))
	b.wantIDs(b.claim(here, 10, time.Minute-time.Millisecond))
	b.wantIDs(b.claim(there, 10, 0), "elsewhere")
	ds := b.claim(here, 10, time.Minute)
	b.wantIDs(ds, "due")
	if ds[0].Attempt != 1 {
		b.tb.Errorf("Attempt after postponing = %d, want 1", ds[0].Attempt)
	}
	b.wantIDs(b.claim(here, 10, time.Hour), "due", "later") // due's lease has run out by then
}

func hastens(b bench) {
	b.queue("tried", "pay_1", here, 0)
	b.queue("untried", "pay_2", here, time.Hour)
	b.queue("elsewhere", "pay_3", there, time.Hour)
	b.finish(b.claim(here, 1, 0)[0], b.failed(0, time.Hour))
	recovered := b.t0.Add(time.Minute)
	if n := b.hasten(recovered, time.Minute, 10); n != 2 {
		b.tb.Errorf("Hasten = %d, want 2", n)
	}
	ds := b.claim(here, 10, time.Minute)
	b.wantIDs(ds, "tried", "untried")
	b.finish(pick(b, ds, "tried"), b.failed(time.Minute, time.Hour))
	// It failed again after the recovery: it waits its time, and so does what is leased.
	if n := b.hasten(recovered, time.Minute+time.Second, 10); n != 0 {
		b.tb.Errorf("Hasten again = %d, want 0", n)
	}
	b.wantIDs(b.claim(there, 10, time.Minute))
}

func hastensBatch(b bench) {
	for i := range 5 {
		b.queue(fmt.Sprint(i), fmt.Sprint("pay_", i), here, time.Hour+time.Duration(i)*time.Second)
	}
	if n := b.hasten(b.t0, 0, 3); n != 3 {
		b.tb.Errorf("Hasten = %d, want 3", n)
	}
	b.wantIDs(b.claim(here, 10, 0), "0", "1", "2")
}

func newOneHastens(b bench) {
	b.queue("old", "pay_1", here, 0)
	b.finish(b.claim(here, 1, 0)[0], b.failed(0, time.Hour))
	b.queue("new", "pay_1", here, time.Minute)
	ds := b.claim(here, 10, time.Minute)
	b.wantIDs(ds, "old")
	b.finish(ds[0], b.ended(time.Minute, callback.Delivered))
	b.wantIDs(b.claim(here, 10, time.Minute), "new")
}

// The attempt under way fails after a late success was queued behind it: the success must not wait for the schedule.
func newOneHastensNext(b bench) {
	b.queue("old", "pay_1", here, 0)
	sent := b.claim(here, 1, 0)[0]
	b.queue("new", "pay_1", here, time.Second)
	b.wantIDs(b.claim(here, 10, time.Second))
	b.finish(sent, b.failed(2*time.Second, time.Hour))
	ds := b.claim(here, 10, 2*time.Second)
	b.wantIDs(ds, "old")
	b.finish(ds[0], b.failed(3*time.Second, time.Hour)) // nothing new came meanwhile: this one waits its time
	b.wantIDs(b.claim(here, 10, time.Hour-time.Second))
	// A sender that crashed finishes nothing; whoever takes over finds it due, and the next failure waits its time, too.
	crashed := b.claim(here, 1, 2*time.Hour)
	b.wantIDs(crashed, "old")
	b.queue("newest", "pay_1", here, 2*time.Hour)
	ds = b.claim(here, 1, 2*time.Hour+lease)
	b.wantIDs(ds, "old")
	b.finish(ds[0], b.failed(2*time.Hour+lease, 4*time.Hour))
	b.wantIDs(b.claim(here, 10, 3*time.Hour))
}

func readdresses(b bench) {
	const gone, left = "https://gone.example/", "https://left.example/"
	b.queue("served", "pay_1", there, 0)
	b.queue("moved", "pay_2", gone, 0)
	b.queue("behind it", "pay_2", here, 0)
	b.queue("tried lately", "pay_3", left, 0)
	b.finish(b.claim(left, 1, callback.Unserved)[0], b.failed(callback.Unserved, 2*callback.Unserved))
	readdress := func(at time.Duration, want int, configured ...string) {
		b.tb.Helper()
		moved, stranded, err := b.box.Readdress(b.tb.Context(), configured, b.t0.Add(at))
		b.must(err)
		if moved != want || stranded != 0 {
			b.tb.Errorf("readdressed %d, left %d; want %d and none", moved, stranded, want)
		}
	}
	later := callback.Unserved + time.Second
	readdress(later, 0) // whoever has no URL sends nothing
	readdress(callback.Unserved, 0, here, there)
	b.wantIDs(b.claim(here, 10, later))
	readdress(later, 1, here, there)
	b.wantIDs(b.claim(here, 10, later), "moved")
	b.wantIDs(b.claim(there, 10, later), "served")
	readdress(later+callback.Unserved, 1, here, there)
	b.wantIDs(b.claim(here, 10, later+callback.Unserved), "moved", "tried lately")
}

func buries(b bench) {
	b.queue("old", "pay_1", here, 0)
	b.queue("old elsewhere", "pay_2", "https://gone.example/", 0)
	b.queue("young", "pay_3", here, time.Hour)
	b.queue("leased", "pay_4", there, 0)
	b.claim(there, 1, 0)
	n, err := b.box.Bury(b.tb.Context(), b.t0.Add(time.Minute), b.t0.Add(lease/2))
	b.must(err)
	if n != 2 {
		b.tb.Errorf("Bury = %d, want 2", n)
	}
	for id, want := range map[string]callback.State{
		"old": callback.Dead, "old elsewhere": callback.Dead, "young": callback.Pending, "leased": callback.Pending,
	} {
		if got := b.look(id).State; got != want {
			b.tb.Errorf("%s is %s, want %s", id, got, want)
		}
	}
}

func redelivers(b bench) {
	b.queue("a", "pay_a", here, 0)
	b.finish(b.claim(here, 1, 0)[0], b.ended(0, callback.Dead))
	b.must(b.box.Redeliver(b.tb.Context(), "a", b.t0.Add(time.Hour)))
	ds := b.claim(here, 1, time.Hour)
	b.wantIDs(ds, "a")
	if ds[0].Attempt != 1 || !ds[0].QueuedAt.Equal(b.t0.Add(time.Hour)) || string(ds[0].Body) != "body of a" {
		b.tb.Errorf("redelivered %+v, want attempt 1, queued now, the same body", ds[0])
	}
	// Redelivering one that is in flight takes it over from its present claim.
	b.must(b.box.Redeliver(b.tb.Context(), "a", b.t0.Add(time.Hour)))
	if err := b.box.Finish(b.tb.Context(), ds[0], b.ended(time.Hour, callback.Delivered)); !errors.Is(err, callback.ErrFenced) {
		b.tb.Errorf("Finish of a claim from before redelivering = %v, want ErrFenced", err)
	}
	b.wantIDs(b.claim(here, 1, time.Hour), "a")
}

func sharesClaims(b bench) {
	const callbacks, claimers = 40, 4
	for i := range callbacks {
		b.queue(fmt.Sprint(i), fmt.Sprint("pay_", i), here, 0)
	}
	type claimed struct {
		ds  []callback.Delivery
		err error
	}
	results := make(chan claimed)
	for range claimers {
		go func() {
			var all claimed
			for {
				ds, err := b.box.Claim(b.tb.Context(), here, 3, b.t0, lease)
				all.ds, all.err = append(all.ds, ds...), err
				if err != nil || len(ds) == 0 {
					results <- all
					return
				}
			}
		}()
	}
	var ids []string
	for range claimers {
		all := <-results
		b.must(all.err)
		for _, d := range all.ds {
			ids = append(ids, d.ID)
		}
	}
	slices.Sort(ids)
	if unique := len(slices.Compact(slices.Clone(ids))); len(ids) != unique || unique > callbacks {
		b.tb.Errorf("%d claims of %d callbacks, want none claimed twice", len(ids), unique)
	}
	// A claimer may go home empty while another holds the rows locked; nothing may be left over though.
	if left := b.claim(here, callbacks, 0); len(ids)+len(left) != callbacks {
		b.tb.Errorf("claimed %d and then %d, want %d together", len(ids), len(left), callbacks)
	}
}
