package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/callback/callbacktest"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const hook = "https://shop.example/hooks"

// conformance is what every engine must pass; open makes an empty store with one callback URL.
func conformance(t *testing.T, open func(testing.TB) *store.Store) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*testing.T, *store.Store)
	}{
		{"a payment comes back as it was written", roundTrip},
		{"each change of a payment is written", eachChange},
		{"registering again finds the same payment", registersOnce},
		{"a refused decision changes nothing", refusalChangesNothing},
		{"an unknown payment is not found", unknownPayment},
		{"an outcome brings payment, timeline, report and callback together", outcomeTogether},
		{"the same outcome is reported once", reportedOnce},
		{"concurrent truths cannot both win", concurrentTruths},
		{"the feed is in commit order and refuses foreign cursors", feedOrder},
		{"lists are newest first and paged", lists},
		{"watched payments are the open ones and those to be asked again", watched},
		{"settled payments are reconciled after 1 h and 24 h until there is an answer", reconciled},
		{"pruning leaves what is needed and nothing else", prunes},
		{"pruning leaves what died lately and may be redelivered", prunesNoFreshlyDead},
		{"a callback follows the default URL, and stays with the one that its payment chose", readdresses},
		{"search finds ids, references and values of metadata", searches},
		{"a payment's callbacks are listed, and what is not delivered counted", callbacksOf},
		{"siblings are other succeeded payments of the source", siblings},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, open(t))
		})
	}
	t.Run("outbox", func(t *testing.T) {
		t.Parallel()
		callbacktest.TestOutbox(t, func(tb testing.TB) callbacktest.Box { return store.Box{Store: open(tb)} })
	})
}

func collection() relay.Registration {
	return relay.Registration{
		Operation: relay.Collection, ReferenceID: uuid.NewString(), SessionID: 55, SourceType: "INVOICE", SourceID: 101,
		Expected: &relay.Expected{Amount: "250.00", Currency: "USD", Side: "payee"}, Metadata: map[string]string{"order": "1042"},
	}
}

func register(tb testing.TB, s *store.Store, g relay.Registration) relay.Payment {
	tb.Helper()
	p, _, _, err := s.Register(tb.Context(), g.ID(), func(known *relay.Payment) (relay.Payment, []relay.Effect, error) {
		if known == nil {
			p, effects := g.Open(72*time.Hour, noon)
			return p, effects, nil
		}
		return g.Merge(*known, 72*time.Hour, noon)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func observe(ctx context.Context, s *store.Store, id string, seen relay.Observation, now time.Time) (relay.Payment, []relay.Effect, error) {
	return s.Apply(ctx, id, func(p relay.Payment) (relay.Payment, []relay.Effect) { return relay.Decide(p, seen, now) })
}

func must(t *testing.T, s *store.Store, id string, seen relay.Observation, now time.Time) relay.Payment {
	t.Helper()
	p, _, err := observe(t.Context(), s, id, seen, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func completed() relay.Truth {
	return relay.Truth{Via: relay.ViaVerify, Status: "COMPLETED", Amounts: relay.Amounts{
		PayerAmount: "255.00", PayerCurrency: "USD", PayeeAmount: "250.00", PayeeCurrency: "USD",
	}}
}

func find(t *testing.T, s *store.Store, id string) relay.Payment {
	t.Helper()
	p, err := s.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func roundTrip(t *testing.T, s *store.Store) {
	g := collection()
	g.CallbackURL = hook
	p := register(t, s, g)
	if got := find(t, s, p.ID); !reflect.DeepEqual(got, p) {
		t.Errorf("Find() = %+v, want what was registered: %+v", got, p)
	}
	p = must(t, s, p.ID, relay.Hint{Status: "PROCESSING", At: noon.Add(time.Second)}, noon.Add(time.Second))
	p = must(t, s, p.ID, relay.Silence{Via: relay.ViaPoll, Reason: "unreachable"}, noon.Add(80*time.Hour))
	if got := find(t, s, p.ID); !reflect.DeepEqual(got, p) {
		t.Errorf("Find() = %+v, want what was observed: %+v", got, p)
	}
	p = must(t, s, p.ID, relay.Truth{Via: relay.ViaPoll, Status: "FAILED"}, noon.Add(81*time.Hour))
	p = must(t, s, p.ID, relay.Truth{Via: relay.ViaPoll, Status: "PENDING"}, noon.Add(82*time.Hour))
	p = must(t, s, p.ID, completed(), noon.Add(83*time.Hour))
	p = must(t, s, p.ID, relay.Truth{Via: relay.ViaPoll, Status: "FAILED"}, noon.Add(84*time.Hour))
	if got := find(t, s, p.ID); !reflect.DeepEqual(got, p) {
		t.Errorf("Find() = %+v, want the late, contradicted success: %+v", got, p)
	}
}

// eachChange changes one field of a payment after the other, alone, and then all of them back.
func eachChange(t *testing.T, s *store.Store) {
	first := register(t, s, collection())
	p := first
	write := func(what string) {
		t.Helper()
		_, _, err := s.Apply(t.Context(), p.ID, func(known relay.Payment) (relay.Payment, []relay.Effect) {
			p.Revision = known.Revision
			return p, nil
		})
		p.Revision++
		if got := find(t, s, p.ID); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: Apply() = %v, Find() = %+v, want %+v", what, err, got, p)
		}
	}
	fields := reflect.ValueOf(&p).Elem()
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		switch name {
		case "ID", "Siblings", "Live", "Revision": // are not written
			continue
		}
		switch field := fields.Field(i).Addr().Interface().(type) {
		case *time.Time:
			*field = noon.Add(time.Duration(i+1) * time.Hour)
		case **relay.Expected:
			*field = &relay.Expected{Amount: "7.10", Currency: "XOF"}
		case **relay.Amounts:
			*field = &relay.Amounts{TotalAmount: "7.10", Currency: "XOF"}
		case *map[string]string:
			*field = map[string]string{"order": "1043"}
		case *bool:
			*field = !*field
		case *int64:
			*field += 7
		default:
			fields.Field(i).SetString(fields.Field(i).String() + "x")
		}
		write(name)
	}
	p = first
	write("all of them back")
}

func registersOnce(t *testing.T, s *store.Store) {
	g := collection()
	first := register(t, s, g)
	again := register(t, s, g)
	if again.ID != first.ID || again.Version != first.Version {
		t.Errorf("registered again: %s version %d, want %s version %d", again.ID, again.Version, first.ID, first.Version)
	}
	events, err := s.Events(t.Context(), first.ID)
	if err != nil || len(events) != 1 || events[0].Via != relay.ViaRegister {
		t.Errorf("timeline = %+v, %v; want one entry via register", events, err)
	}
}

func refusalChangesNothing(t *testing.T, s *store.Store) {
	g := collection()
	p := register(t, s, g)
	refused := errors.New("refused")
	_, _, _, err := s.Register(t.Context(), p.ID, func(known *relay.Payment) (relay.Payment, []relay.Effect, error) {
		changed := *known
		changed.Status = "CHANGED"
		return changed, []relay.Effect{relay.Record{}}, refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("Register() = %v, want the decision's error", err)
	}
	if got := find(t, s, p.ID); !reflect.DeepEqual(got, p) {
		t.Errorf("after a refusal: %+v, want %+v", got, p)
	}
}

func unknownPayment(t *testing.T, s *store.Store) {
	if _, err := s.Find(t.Context(), "pay_unknown"); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("Find() = %v, want ErrNotFound", err)
	}
	if _, _, err := observe(t.Context(), s, "pay_unknown", completed(), noon); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("Apply() = %v, want ErrNotFound", err)
	}
	if _, err := s.Events(t.Context(), "pay_unknown"); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("Events() = %v, want ErrNotFound", err)
	}
	if _, err := s.Redeliver(t.Context(), "evt_unknown", noon); !errors.Is(err, store.ErrNoCallback) {
		t.Errorf("Redeliver() = %v, want ErrNoCallback", err)
	}
}

func outcomeTogether(t *testing.T, s *store.Store) {
	p := register(t, s, collection())
	must(t, s, p.ID, completed(), noon)
	events, err := s.Events(t.Context(), p.ID)
	if err != nil || len(events) != 2 || events[1].Outcome != relay.Succeeded {
		t.Errorf("timeline = %+v, %v; want registered and succeeded", events, err)
	}
	feed, err := s.Feed(t.Context(), "", 10)
	if err != nil || len(feed) != 1 || feed[0].Type != "payment.succeeded" || feed[0].ID != relay.ReportID(p.ID, "payment.succeeded") {
		t.Fatalf("feed = %+v, %v; want payment.succeeded under its derived id", feed, err)
	}
	claimed, err := s.Claim(t.Context(), hook, 10, noon, 10*time.Second)
	if err != nil || len(claimed) != 1 || claimed[0].ID != feed[0].ID {
		t.Fatalf("Claim() = %+v, %v; want the report's callback", claimed, err)
	}
	var body struct {
		Type string
		Data json.RawMessage
	}
	if err := json.Unmarshal(claimed[0].Body, &body); err != nil || body.Type != "payment.succeeded" || string(body.Data) != string(feed[0].Data) {
		t.Errorf("callback = %s, want the type and data of the feed", claimed[0].Body)
	}
	found, _, err := s.Callbacks(t.Context(), callback.Pending, 0, 10)
	if err != nil || len(found) != 1 || found[0].PaymentID != p.ID || found[0].URL != hook {
		t.Errorf("Callbacks() = %+v, %v; want the one", found, err)
	}
}

func reportedOnce(t *testing.T, s *store.Store) {
	g := collection()
	p := register(t, s, g)
	pending := relay.Truth{Via: relay.ViaPoll, Status: "PENDING"}
	must(t, s, p.ID, pending, p.WatchUntil)
	p = register(t, s, g)
	if p.Outcome != relay.Pending {
		t.Fatalf("an expired payment registered again is %s, want pending", p.Outcome)
	}
	p = must(t, s, p.ID, pending, p.WatchUntil.Add(time.Hour))
	if p.Outcome != relay.Expired {
		t.Fatalf("outcome = %s, want expired again", p.Outcome)
	}
	if feed, err := s.Feed(t.Context(), "", 10); err != nil || len(feed) != 1 {
		t.Errorf("feed = %+v, %v; want expired once", feed, err)
	}
}

func concurrentTruths(t *testing.T, s *store.Store) {
	p := register(t, s, collection())
	words := []string{"COMPLETED", "FAILED"}
	var racing sync.WaitGroup
	for i := range 40 {
		racing.Go(func() {
			truth := completed()
			truth.Status = words[i%2]
			if _, _, err := observe(t.Context(), s, p.ID, truth, noon); err != nil {
				t.Errorf("Apply() = %v", err)
			}
		})
	}
	racing.Wait()
	feed, err := s.Feed(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range feed {
		seen[e.Type]++
	}
	for kind, n := range seen {
		if n != 1 {
			t.Errorf("%s was reported %d times", kind, n)
		}
	}
	if got := find(t, s, p.ID); got.Outcome != relay.Succeeded || !got.Contradicted || seen["payment.succeeded"] != 1 || seen["payment.contradicted"] != 1 {
		t.Errorf("outcome %s contradicted=%t, reports %v; want one success, contradicted once", got.Outcome, got.Contradicted, seen)
	}
}

func feedOrder(t *testing.T, s *store.Store) {
	var want []string
	for range 5 {
		p := register(t, s, collection())
		must(t, s, p.ID, completed(), noon)
		want = append(want, relay.ReportID(p.ID, "payment.succeeded"))
	}
	var got []string
	cursor := ""
	for {
		entries, err := s.Feed(t.Context(), cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			got = append(got, e.ID)
			cursor = e.Cursor
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("feed = %v, want %v", got, want)
	}
	for _, foreign := range []string{"1-0000000000000000", "99-0123456789abcdef", "99", "-", "x-y", "-1-aa"} {
		if _, err := s.Feed(t.Context(), foreign, 10); !errors.Is(err, store.ErrUnknownCursor) {
			t.Errorf("Feed(%q) = %v, want ErrUnknownCursor", foreign, err)
		}
	}
}

func lists(t *testing.T, s *store.Store) {
	var ids []string
	for i := range 5 {
		g := collection()
		if i == 2 {
			g = relay.Registration{Operation: relay.Source, SourceType: "ORDER", SourceID: 7}
		}
		ids = append([]string{register(t, s, g).ID}, ids...)
	}
	var got []string
	cursor := int64(0)
	for {
		page, next, err := s.List(t.Context(), store.Filter{Before: cursor, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page {
			got = append(got, p.ID)
		}
		if cursor = next; next == 0 {
			break
		}
	}
	if !reflect.DeepEqual(got, ids) {
		t.Errorf("list = %v, want newest first: %v", got, ids)
	}
	page, _, err := s.List(t.Context(), store.Filter{Operation: relay.Source, Outcome: relay.Pending, Limit: 10})
	if err != nil || len(page) != 1 || page[0].ID != ids[2] {
		t.Errorf("filtered list = %+v, %v; want the source", page, err)
	}
	must(t, s, ids[0], completed(), noon)
	must(t, s, ids[1], completed(), noon)
	must(t, s, ids[1], relay.Truth{Via: relay.ViaPoll, Status: "FAILED"}, noon)
	page, _, err = s.List(t.Context(), store.Filter{Contradicted: true, Limit: 10})
	if err != nil || len(page) != 1 || page[0].ID != ids[1] {
		t.Errorf("list of contradicted ones = %+v, %v; want one", page, err)
	}
}

func watched(t *testing.T, s *store.Store) {
	open := register(t, s, collection())
	recent := register(t, s, collection())
	must(t, s, recent.ID, completed(), noon)
	old := register(t, s, collection())
	must(t, s, old.ID, completed(), noon)
	must(t, s, old.ID, completed(), noon.Add(25*time.Hour))
	want := map[string]bool{open.ID: true, recent.ID: true}
	got := map[string]bool{}
	after := ""
	for {
		batch, err := s.Watched(t.Context(), after, noon.Add(25*time.Hour), 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			break
		}
		got[batch[0].ID] = true
		after = batch[0].ID
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("watched = %v, want the open one and the one whose later questions are not answered: %v", got, want)
	}
}

func reconciled(t *testing.T, s *store.Store) {
	const forever = 1000 * time.Hour
	failed := relay.Truth{Via: relay.ViaPoll, Status: "FAILED"}
	silence := func(reason string) relay.Silence { return relay.Silence{Via: relay.ViaReconcile, Reason: reason} }
	tests := []struct {
		name    string
		asked   time.Duration // after it settled; 0: not
		brought relay.Observation
		now     time.Duration
		due     bool
	}{
		{"just settled", 0, nil, 59 * time.Minute, false},
		{"after 1 h", 0, nil, time.Hour, true},
		{"answered after 1 h", time.Hour, failed, 2 * time.Hour, false},
		{"answered before 1 h", 59 * time.Minute, failed, time.Hour, true},
		{"answered after 1 h, after 24 h", time.Hour, failed, 24 * time.Hour, true},
		{"answered after 24 h", 24 * time.Hour, failed, forever, false},
		{"unreachable after 24 h", 24 * time.Hour, silence("unreachable"), 25 * time.Hour, true},
		{"unreachable for long", forever, silence("unreachable"), forever, true},
		{"not found after 24 h", 24 * time.Hour, silence("not_found"), forever, false},
		{"refused after 24 h", 24 * time.Hour, silence("refused"), 25 * time.Hour, true},
		{"settled by a clock that was ahead", 0, nil, -61 * time.Minute, true},
		{"refused for another day", 48 * time.Hour, silence("refused"), forever, false},
	}
	want, got := map[string]bool{}, map[string]bool{}
	for _, tt := range tests {
		p := register(t, s, collection())
		must(t, s, p.ID, failed, noon)
		if tt.brought != nil {
			must(t, s, p.ID, tt.brought, noon.Add(tt.asked))
		}
		want[tt.name] = tt.due
		ids, err := s.ToReconcile(t.Context(), "", noon.Add(tt.now), 100)
		if err != nil {
			t.Fatal(err)
		}
		got[tt.name] = slices.Contains(ids, p.ID)
		if watched, err := s.Watched(t.Context(), "", noon.Add(tt.now), 100); err != nil || tt.due && !slices.ContainsFunc(watched, func(w relay.Payment) bool { return w.ID == p.ID }) {
			t.Errorf("%s: not watched after a restart (%v)", tt.name, err)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("to reconcile: %v\nwant: %v", got, want)
	}
}

func siblings(t *testing.T, s *store.Store) {
	first, second := register(t, s, collection()), register(t, s, collection())
	must(t, s, first.ID, completed(), noon)
	must(t, s, second.ID, completed(), noon)
	for p, other := range map[string]string{first.ID: second.ID, second.ID: first.ID} {
		if got := find(t, s, p).Siblings; !reflect.DeepEqual(got, []string{other}) {
			t.Errorf("siblings of %s = %v, want %s", p, got, other)
		}
	}
	feed, err := s.Feed(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	var data struct{ Siblings []string }
	if err := json.Unmarshal(feed[1].Data, &data); err != nil || fmt.Sprint(data.Siblings) != fmt.Sprint([]string{first.ID}) {
		t.Errorf("the second success names siblings %v (%v), want the first", data.Siblings, err)
	}
}

func prunes(t *testing.T, s *store.Store) {
	open := register(t, s, collection())
	waiting := register(t, s, collection())
	must(t, s, waiting.ID, completed(), noon)
	g := collection()
	done := register(t, s, g)
	must(t, s, done.ID, completed(), noon)
	claimed, err := s.Claim(t.Context(), hook, 10, noon, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range claimed {
		if d.PaymentID == done.ID {
			if err := s.Finish(t.Context(), d, callback.Result{At: noon, Code: 204, State: callback.Delivered, Attempted: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	feed, err := s.Feed(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Prune(t.Context(), noon); n != 0 || err != nil {
		t.Errorf("Prune() of what settled before = %d, %v; want none", n, err)
	}
	if n, err := s.Prune(t.Context(), noon.Add(time.Second)); n != 1 || err != nil {
		t.Fatalf("Prune() = %d, %v; want the one without a waiting callback", n, err)
	}
	if _, err := s.Find(t.Context(), done.ID); !errors.Is(err, relay.ErrNotFound) {
		t.Errorf("the pruned payment: %v, want ErrNotFound", err)
	}
	find(t, s, open.ID)
	find(t, s, waiting.ID)
	if n, err := store.Labels(t.Context(), s); n != 2 || err != nil {
		t.Errorf("payments are searchable by %d values, %v; want the one of each that is left", n, err)
	}
	last := feed[len(feed)-1].Cursor
	if rest, err := s.Feed(t.Context(), last, 10); err != nil || len(rest) != 0 {
		t.Errorf("Feed(last cursor) = %v, %v; want the cursor known and nothing new", rest, err)
	}
	if left, err := s.Feed(t.Context(), "", 10); err != nil || len(left) != 1 {
		t.Errorf("Feed() = %v, %v; want the waiting one's report only", left, err)
	}
	register(t, s, g)
	must(t, s, done.ID, completed(), noon.Add(time.Hour))
	if again, err := s.Feed(t.Context(), last, 10); err != nil || len(again) != 0 {
		t.Errorf("registered and paid again: %v, %v; want no second report of the same outcome", again, err)
	}
}

func prunesNoFreshlyDead(t *testing.T, s *store.Store) {
	const week = 7 * 24 * time.Hour
	refused, tooOld := register(t, s, collection()), register(t, s, collection())
	must(t, s, refused.ID, completed(), noon)
	claimed, err := s.Claim(t.Context(), hook, 1, noon, time.Minute)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("Claim() = %v, %v; want one", claimed, err)
	}
	if err := s.Finish(t.Context(), claimed[0], callback.Result{At: noon.Add(week), Code: 410, State: callback.Dead, Attempted: true}); err != nil {
		t.Fatal(err)
	}
	must(t, s, tooOld.ID, completed(), noon)
	if n, err := s.Bury(t.Context(), noon.Add(time.Hour), noon.Add(week)); n != 1 || err != nil {
		t.Fatalf("Bury() = %d, %v; want one", n, err)
	}
	if events, err := s.Events(t.Context(), tooOld.ID); err != nil || events[len(events)-1].Detail != "Callback payment.succeeded dead" {
		t.Errorf("Events() = %+v, %v; want the last one to tell of the callback's death", events, err)
	}
	if n, err := s.Prune(t.Context(), noon.Add(week)); n != 0 || err != nil {
		t.Errorf("Prune() = %d, %v; want none: somebody may still redeliver what died after that", n, err)
	}
	if n, err := s.Prune(t.Context(), noon.Add(week+time.Millisecond)); n != 2 || err != nil {
		t.Errorf("Prune() a moment later = %d, %v; want both", n, err)
	}
}

func readdresses(t *testing.T, s *store.Store) {
	const other = "https://other.example/hooks"
	plain, choosy := register(t, s, collection()), collection()
	choosy.CallbackURL = hook
	chose := register(t, s, choosy)
	must(t, s, plain.ID, completed(), noon)
	must(t, s, chose.ID, completed(), noon)
	later := noon.Add(callback.Unserved + time.Second)
	for range 2 { // the second time finds nothing to do
		if _, stranded, err := s.Readdress(t.Context(), []string{other}, later); stranded != 1 || err != nil {
			t.Errorf("Readdress() leaves %d, %v; want the one whose payment chose its URL", stranded, err)
		}
	}
	for url, want := range map[string]string{other: plain.ID, hook: chose.ID} {
		if ds, err := s.Claim(t.Context(), url, 10, later, time.Minute); err != nil || len(ds) != 1 || ds[0].PaymentID != want {
			t.Errorf("Claim(%s) = %+v, %v; want that of %s", url, ds, err, want)
		}
	}
}
