package relay_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

var (
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	fits = relay.Amounts{PayerAmount: "255.00", PayerCurrency: "USD", PayeeAmount: "250.00", PayeeCurrency: "USD"}
	less = relay.Amounts{PayerAmount: "255.00", PayerCurrency: "USD", PayeeAmount: "25.00", PayeeCurrency: "USD"}
)

// opened is a freshly registered collection that expects 250 USD for the payee.
func opened(t *testing.T) relay.Payment {
	t.Helper()
	g := relay.Registration{
		Operation: relay.Collection, ReferenceID: "550e8400-e29b-41d4-a716-446655440000", SessionID: 55, SourceType: "INVOICE",
		Expected: &relay.Expected{Amount: "250", Currency: "USD", Side: "payee"},
	}
	p, _ := g.Open(72*time.Hour, noon)
	return p
}

// after lets Decide see one thing after the other, a minute apart.
func after(t *testing.T, p relay.Payment, seen ...relay.Observation) (relay.Payment, []relay.Effect) {
	t.Helper()
	var effects []relay.Effect
	now := noon
	for _, one := range seen {
		now = now.Add(time.Minute)
		p, effects = relay.Decide(p, one, now)
	}
	return p, effects
}

func says(status string, amounts relay.Amounts) relay.Truth {
	return relay.Truth{Via: relay.ViaPoll, Status: status, Amounts: amounts}
}

// reports are the types that the effects report.
func reports(effects []relay.Effect) []string {
	var types []string
	for _, e := range effects {
		if r, ok := e.(relay.Report); ok {
			types = append(types, r.Type)
		}
	}
	return types
}

func records(effects []relay.Effect) int {
	n := 0
	for _, e := range effects {
		if _, ok := e.(relay.Record); ok {
			n++
		}
	}
	return n
}

// TestDecide_table is the table of the design, cell by cell.
func TestDecide_table(t *testing.T) {
	t.Parallel()
	var (
		completed  = says("COMPLETED", fits)
		other      = says("COMPLETED", less)
		amountless = says("COMPLETED", relay.Amounts{})
		failed     = says("FAILED", relay.Amounts{})
		pending    = says("PENDING", relay.Amounts{})
		process    = says("PROCESSING", relay.Amounts{})
		odd        = says("REVIEWING", relay.Amounts{})
	)
	expire := func(p relay.Payment) relay.Payment {
		p, _ = relay.Decide(p, says("PENDING", relay.Amounts{}), p.WatchUntil)
		return p
	}
	tests := []struct {
		name     string
		before   []relay.Observation
		expired  bool // before what is seen
		seen     relay.Truth
		outcome  relay.Outcome
		status   string
		late     bool
		previous relay.Outcome
		contra   bool
		grows    bool // the version
		reports  []string
		records  int
	}{
		{"pending: success", nil, false, completed, relay.Succeeded, "COMPLETED", false, "", false, true, []string{"payment.succeeded"}, 1},
		{"pending: other amount", nil, false, other, relay.Mismatch, "COMPLETED", false, "", false, true, []string{"payment.mismatch"}, 1},
		{"pending: no amount", nil, false, amountless, relay.Mismatch, "COMPLETED", false, "", false, true, []string{"payment.mismatch"}, 1},
		{"pending: failure", nil, false, failed, relay.Failed, "FAILED", false, "", false, true, []string{"payment.failed"}, 1},
		{"pending: first word", nil, false, pending, relay.Pending, "PENDING", false, "", false, true, nil, 1},
		{"pending: same word", []relay.Observation{pending}, false, pending, relay.Pending, "PENDING", false, "", false, false, nil, 0},
		{"pending: next word", []relay.Observation{pending}, false, process, relay.Pending, "PROCESSING", false, "", false, true, nil, 1},
		{"pending: unknown word", []relay.Observation{pending}, false, odd, relay.Pending, "REVIEWING", false, "", false, true, nil, 1},
		{"pending: the other model's word", nil, false, says("PAID", fits), relay.Pending, "PAID", false, "", false, true, nil, 1},
		{"failed: success", []relay.Observation{failed}, false, completed, relay.Succeeded, "COMPLETED", true, relay.Failed, false, true, []string{"payment.succeeded"}, 1},
		{"failed: other amount", []relay.Observation{failed}, false, other, relay.Mismatch, "COMPLETED", true, relay.Failed, false, true, []string{"payment.mismatch"}, 1},
		{"failed: again", []relay.Observation{failed}, false, failed, relay.Failed, "FAILED", false, "", false, false, nil, 0},
		{"failed: pending", []relay.Observation{failed}, false, pending, relay.Failed, "FAILED", false, "", false, false, nil, 1},
		{"expired: success", nil, true, completed, relay.Succeeded, "COMPLETED", true, relay.Expired, false, true, []string{"payment.succeeded"}, 1},
		{"expired: other amount", nil, true, other, relay.Mismatch, "COMPLETED", true, relay.Expired, false, true, []string{"payment.mismatch"}, 1},
		{"expired: failure", nil, true, failed, relay.Failed, "FAILED", false, "", false, true, []string{"payment.failed"}, 1},
		{"expired: processing", nil, true, process, relay.Expired, "PENDING", false, "", false, false, nil, 1},
		{"mismatch: success", []relay.Observation{other}, false, completed, relay.Succeeded, "COMPLETED", true, relay.Mismatch, false, true, []string{"payment.succeeded"}, 1},
		{"mismatch: same amount", []relay.Observation{other}, false, other, relay.Mismatch, "COMPLETED", false, "", false, false, nil, 0},
		{"mismatch: new amount", []relay.Observation{other}, false, amountless, relay.Mismatch, "COMPLETED", false, "", false, false, nil, 1},
		{"mismatch: failure", []relay.Observation{other}, false, failed, relay.Failed, "FAILED", false, "", false, true, []string{"payment.failed"}, 1},
		{"mismatch: pending", []relay.Observation{other}, false, pending, relay.Mismatch, "COMPLETED", false, "", false, false, nil, 1},
		{"succeeded: again", []relay.Observation{completed}, false, completed, relay.Succeeded, "COMPLETED", false, "", false, false, nil, 0},
		{"succeeded: other amount", []relay.Observation{completed}, false, other, relay.Succeeded, "COMPLETED", false, "", true, true, []string{"payment.contradicted"}, 1},
		{"succeeded: no amount", []relay.Observation{completed}, false, amountless, relay.Succeeded, "COMPLETED", false, "", true, true, []string{"payment.contradicted"}, 1},
		{"succeeded: failure", []relay.Observation{completed}, false, failed, relay.Succeeded, "COMPLETED", false, "", true, true, []string{"payment.contradicted"}, 1},
		{"succeeded: failure again", []relay.Observation{completed, failed}, false, failed, relay.Succeeded, "COMPLETED", false, "", true, false, nil, 0},
		{"succeeded: pending", []relay.Observation{completed}, false, pending, relay.Succeeded, "COMPLETED", false, "", false, false, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, _ := after(t, opened(t), tt.before...)
			now := noon.Add(time.Hour)
			if tt.expired {
				p = expire(p)
				now = p.FinalAt.Add(time.Hour)
			}
			before := p.Version
			p, effects := relay.Decide(p, tt.seen, now)
			if p.Outcome != tt.outcome || p.Status != tt.status || p.Late != tt.late || p.PreviousOutcome != tt.previous || p.Contradicted != tt.contra {
				t.Errorf("got %s %q late=%t previous=%q contradicted=%t, want %s %q %t %q %t",
					p.Outcome, p.Status, p.Late, p.PreviousOutcome, p.Contradicted, tt.outcome, tt.status, tt.late, tt.previous, tt.contra)
			}
			if grown := p.Version - before; grown != 0 != tt.grows || grown > 1 {
				t.Errorf("the version grew by %d, want growth %t, by one", grown, tt.grows)
			}
			if got := reports(effects); !slices.Equal(got, tt.reports) {
				t.Errorf("reports = %v, want %v", got, tt.reports)
			}
			if got := records(effects); got != tt.records {
				t.Errorf("timeline entries = %d, want %d: %+v", got, tt.records, effects)
			}
		})
	}
}

func TestDecide_nothingFailsBySilence(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"not_found", "refused", "rate_limited", "unreachable", "unreadable"} {
		before, _ := after(t, opened(t), says("PENDING", relay.Amounts{}))
		p, effects := relay.Decide(before, relay.Silence{Via: relay.ViaPoll, Reason: reason}, noon.Add(time.Hour))
		if len(effects) != 0 || p.LastError != reason || !p.LastCheckedAt.Equal(noon.Add(time.Hour)) {
			t.Errorf("%s: effects %v, last_error %q, checked %v; want none, the reason, and now", reason, effects, p.LastError, p.LastCheckedAt)
		}
		p.LastError, p.LastCheckedAt = before.LastError, before.LastCheckedAt
		if !reflect.DeepEqual(p, before) {
			t.Errorf("%s: silence changed more than last_error and the time of the check: %+v", reason, p)
		}
	}
}

func TestDecide_expiryWaitsForAnAnswer(t *testing.T) {
	t.Parallel()
	silence := relay.Silence{Via: relay.ViaPoll, Reason: "unreachable"}
	p := opened(t)
	end := p.WatchUntil

	p, _ = relay.Decide(p, silence, end.Add(time.Minute))
	if p.Final() {
		t.Fatal("the watch ended while Dollr could not be reached")
	}
	p, _ = relay.Decide(p, silence, end.Add(23*time.Hour))
	if p.Final() {
		t.Fatal("the watch ended within the day that it is put off")
	}
	paid, effects := relay.Decide(p, says("COMPLETED", fits), end.Add(23*time.Hour))
	if paid.Outcome != relay.Succeeded || paid.Late {
		t.Errorf("paid during the outage: got %s late=%t, want succeeded in time; %v", paid.Outcome, paid.Late, effects)
	}
	p, effects = relay.Decide(p, silence, end.Add(24*time.Hour+2*time.Minute))
	if p.Outcome != relay.Expired || p.Verified() || !slices.Equal(reports(effects), []string{"payment.expired"}) {
		t.Errorf("after a day without an answer: %s verified=%t reports %v, want expired, unverified, reported", p.Outcome, p.Verified(), reports(effects))
	}

	jumped, _ := relay.Decide(opened(t), silence, end.Add(1000*time.Hour))
	if jumped.Final() {
		t.Error("one unanswered question after a jump of the clock expired the payment")
	}
	unknown, _ := relay.Decide(opened(t), relay.Silence{Via: relay.ViaPoll, Reason: "not_found"}, end)
	if unknown.Outcome != relay.Expired {
		t.Errorf("Dollr's answer that it does not know the payment: %s, want expired", unknown.Outcome)
	}
}

func TestDecide_anAnswerFromBeforeTheEndExpiresNothing(t *testing.T) {
	t.Parallel()
	end := opened(t).WatchUntil
	for _, answer := range []func(asked time.Time) relay.Observation{
		func(asked time.Time) relay.Observation {
			return relay.Truth{Via: relay.ViaPoll, Status: "PENDING", AskedAt: asked}
		},
		func(asked time.Time) relay.Observation {
			return relay.Silence{Via: relay.ViaPoll, Reason: "not_found", AskedAt: asked}
		},
	} {
		early, effects := relay.Decide(opened(t), answer(end.Add(-time.Millisecond)), end.Add(100*time.Hour))
		if early.Final() || len(reports(effects)) != 0 {
			t.Errorf("%+v: %s, reports %v; want it pending: it may have been paid since", answer(end), early.Outcome, reports(effects))
		}
		if last, _ := relay.Decide(early, answer(end), end.Add(100*time.Hour)); last.Outcome != relay.Expired {
			t.Errorf("%+v: %s, want expired", answer(end), last.Outcome)
		}
	}
}

func TestC17C18_hintsChangeNothingCommitted(t *testing.T) {
	t.Parallel()
	hint := func(status string) relay.Hint { return relay.Hint{Status: status, At: noon.Add(2 * time.Minute)} }
	tests := []struct {
		name   string
		before []relay.Observation
		hint   relay.Hint
		shown  string // to pages; empty: nothing
	}{
		{"terminal", nil, hint("COMPLETED"), "COMPLETED"},
		{"any case", nil, hint(" completed"), "COMPLETED"},
		{"unknown word", nil, hint("paid out"), ""},
		{"no word", nil, hint(""), ""},
		{"what truth says already", []relay.Observation{says("PENDING", relay.Amounts{})}, hint("PENDING"), ""},
		{"behind truth", []relay.Observation{says("PROCESSING", relay.Amounts{})}, hint("PENDING"), ""},
		{"behind a terminal hint", []relay.Observation{hint("COMPLETED")}, hint("PROCESSING"), ""},
		{"committed after a later one", []relay.Observation{relay.Hint{Status: "COMPLETED", At: noon.Add(2*time.Minute + time.Second)}}, hint("FAILED"), ""},
		{"another terminal one", []relay.Observation{relay.Hint{Status: "COMPLETED", At: noon.Add(time.Minute)}}, hint("FAILED"), "FAILED"},
		{"after failure", []relay.Observation{says("FAILED", relay.Amounts{})}, hint("COMPLETED"), ""},
		{"after success", []relay.Observation{says("COMPLETED", fits)}, hint("FAILED"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before, _ := after(t, opened(t), tt.before...)
			p, effects := relay.Decide(before, tt.hint, tt.hint.At)
			asks, shown := false, ""
			for _, e := range effects {
				switch e := e.(type) {
				case relay.AskNow:
					asks = true
				case relay.Publish:
					shown = e.Status.Status
					if e.Status.Verified || e.Status.Final || e.Status.Version != before.Version || e.Status.Via != relay.ViaRealtime {
						t.Errorf("shown as %+v, want unverified, not final, with the committed version", e.Status)
					}
				}
			}
			if !asks || shown != tt.shown {
				t.Errorf("asks=%t shown=%q, want true and %q", asks, shown, tt.shown)
			}
			if p.Version != before.Version || p.Status != before.Status || p.Outcome != before.Outcome {
				t.Errorf("a hint changed committed state: %+v", p)
			}
		})
	}
}

func TestPayment_hintStandsUntilTruthCatchesUp(t *testing.T) {
	t.Parallel()
	p := opened(t)
	p, _ = relay.Decide(p, relay.Hint{Status: "COMPLETED", At: noon}, noon)
	if got := p.Hint(noon.Add(59 * time.Second)); got != "COMPLETED" {
		t.Errorf("Hint() after 59s = %q, want COMPLETED", got)
	}
	if got := p.Hint(noon.Add(60 * time.Second)); got != "" {
		t.Errorf("Hint() after 60s = %q, want it withdrawn", got)
	}
	if got := p.Hint(noon.Add(-time.Hour)); got != "" {
		t.Errorf("Hint() after the clock was set back by an hour = %q, want it withdrawn, not standing for an hour", got)
	}
	early, _ := relay.Decide(opened(t), relay.Hint{Status: "PENDING", At: noon}, noon)
	overtaken, effects := relay.Decide(early, says("PROCESSING", relay.Amounts{}), noon.Add(time.Second))
	if got := overtaken.Hint(noon.Add(time.Second)); got != "" {
		t.Errorf("Hint() = %q although truth says PROCESSING, want none", got)
	}
	for _, e := range effects {
		if shown, ok := e.(relay.Publish); ok && shown.Status.Status != "PROCESSING" {
			t.Errorf("pages are shown %s, want PROCESSING", shown.Status.Status)
		}
	}
	done, _ := relay.Decide(p, says("COMPLETED", fits), noon.Add(time.Second))
	if got := done.Hint(noon.Add(time.Second)); got != "" {
		t.Errorf("Hint() after truth = %q, want none", got)
	}
}

func TestDecide_operationsHaveTheirOwnWords(t *testing.T) {
	t.Parallel()
	source := relay.Registration{Operation: relay.Source, SourceType: "INVOICE", SourceID: 101}
	tests := []struct {
		operation relay.Operation
		word      string
		want      relay.Outcome
		report    []string
	}{
		{relay.Source, "PAID", relay.Succeeded, []string{"payment.succeeded"}},
		{relay.Source, "CANCELED", relay.Canceled, []string{"payment.canceled"}},
		{relay.Source, "COMPLETED", relay.Pending, nil},
		{relay.Source, "FAILED", relay.Pending, nil},
		{relay.Collection, "PAID", relay.Pending, nil},
		{relay.Collection, "CANCELED", relay.Pending, nil},
		{relay.Collection, "completed", relay.Pending, nil},
		{relay.Refund, "COMPLETED", relay.Succeeded, []string{"refund.succeeded"}},
		{relay.Payout, "FAILED", relay.Failed, []string{"payout.failed"}},
		{relay.Transfer, "COMPLETED", relay.Succeeded, []string{"transfer.succeeded"}},
	}
	for _, tt := range tests {
		g := source
		if tt.operation != relay.Source {
			g = relay.Registration{Operation: tt.operation, ReferenceID: "550e8400-e29b-41d4-a716-446655440000"}
		}
		p, _ := g.Open(time.Hour, noon)
		p, effects := relay.Decide(p, says(tt.word, relay.Amounts{}), noon)
		if p.Outcome != tt.want || !slices.Equal(reports(effects), tt.report) {
			t.Errorf("%s says %s: %s, reports %v; want %s, %v", tt.operation, tt.word, p.Outcome, reports(effects), tt.want, tt.report)
		}
	}
}

func TestDecide_expectedAmounts(t *testing.T) {
	t.Parallel()
	usd := func(payer, payee string) relay.Amounts {
		return relay.Amounts{PayerAmount: payer, PayerCurrency: "USD", PayeeAmount: payee, PayeeCurrency: "USD"}
	}
	fx := relay.Amounts{PayerAmount: "48000", PayerCurrency: "LRD", PayeeAmount: "250.00", PayeeCurrency: "USD"}
	tests := []struct {
		name string
		want relay.Expected
		got  relay.Amounts
		fits bool
	}{
		{"payee bears nothing", relay.Expected{Amount: "250.00", Currency: "USD", Side: "payee"}, usd("255", "250"), true},
		{"payer's side", relay.Expected{Amount: "250", Currency: "USD", Side: "payer"}, usd("250.00", "245.00"), true},
		{"the wrong side", relay.Expected{Amount: "250", Currency: "USD", Side: "payer"}, usd("255.00", "250.00"), false},
		{"either side", relay.Expected{Amount: "250", Currency: "USD"}, usd("255.00", "250.0"), true},
		{"neither side", relay.Expected{Amount: "251", Currency: "USD"}, usd("255.00", "250.00"), false},
		{"a cent less", relay.Expected{Amount: "250.00", Currency: "USD", Side: "payee"}, usd("255", "249.99"), false},
		{"beyond float64", relay.Expected{Amount: "9007199254740993", Currency: "USD", Side: "payee"}, usd("1", "9007199254740992"), false},
		{"other currency", relay.Expected{Amount: "250", Currency: "LRD", Side: "payee"}, usd("255", "250"), false},
		{"foreign currency at the payer", relay.Expected{Amount: "250", Currency: "USD", Side: "payee"}, fx, true},
		{"currency without decimals", relay.Expected{Amount: "48000", Currency: "LRD", Side: "payer"}, fx, true},
		{"amount without currency", relay.Expected{Amount: "250", Currency: "USD", Side: "payee"}, relay.Amounts{PayeeAmount: "250"}, false},
		{"unreadable amount", relay.Expected{Amount: "250", Currency: "USD", Side: "payee"}, usd("", "two hundred"), false},
	}
	for _, tt := range tests {
		p := opened(t)
		p.Expected = &tt.want
		p, _ = relay.Decide(p, says("COMPLETED", tt.got), noon)
		if (p.Outcome == relay.Succeeded) != tt.fits || p.Outcome == relay.Pending {
			t.Errorf("%s: %s, want success %t", tt.name, p.Outcome, tt.fits)
		}
	}
}

func TestDecide_finalPaymentsAreReopenedForADay(t *testing.T) {
	t.Parallel()
	p, _ := after(t, opened(t), says("FAILED", relay.Amounts{}))
	now := noon.Add(time.Hour)
	p, _ = relay.Decide(p, says("PROCESSING", relay.Amounts{}), now)
	if want := now.Add(24 * time.Hour); !p.ReopenedUntil.Equal(want) {
		t.Fatalf("ReopenedUntil = %v, want a day from then", p.ReopenedUntil)
	}
	p, effects := relay.Decide(p, says("PROCESSING", relay.Amounts{}), now.Add(5*time.Minute))
	if want := now.Add(24 * time.Hour); !p.ReopenedUntil.Equal(want) || len(effects) != 0 {
		t.Errorf("asked again: ReopenedUntil = %v, effects %v; want it unchanged and none", p.ReopenedUntil, effects)
	}
}

// TestDecide_D4_anOlderAnswerContradictsNothing: two relays asked; the answer that is committed last may be the older one.
func TestDecide_D4_anOlderAnswerContradictsNothing(t *testing.T) {
	t.Parallel()
	open := opened(t)
	late := func(status string) relay.Truth {
		return relay.Truth{Via: relay.ViaPoll, Status: status, Amounts: fits, KnownAt: open.KnownAt()}
	}
	settled, _ := after(t, open, says("COMPLETED", fits))
	failed, _ := after(t, open, says("FAILED", relay.Amounts{}))
	for name, tt := range map[string]struct {
		p    relay.Payment
		word string
	}{"failed after a success": {settled, "FAILED"}, "pending after a success": {settled, "PENDING"}, "pending after a failure": {failed, "PENDING"}} {
		got, effects := relay.Decide(tt.p, late(tt.word), noon.Add(time.Minute))
		if !reflect.DeepEqual(got, tt.p) || len(effects) != 1 || effects[0] != (relay.AskNow{}) {
			t.Errorf("%s: %+v, effects %v; want nothing but another question", name, got, effects)
		}
	}
	behind := settled
	behind.TruthAt = open.KnownAt().Add(-time.Minute)
	if got, _ := relay.Decide(behind, late("FAILED"), noon.Add(time.Minute)); got.Contradicted {
		t.Error("an answer is overtaken whatever the clock of the relay that settled the payment says")
	}
	if got, _ := relay.Decide(failed, late("COMPLETED"), noon.Add(time.Minute)); got.Outcome != relay.Succeeded || !got.Late {
		t.Errorf("a success after a failure = %s, want it to count at once", got.Outcome)
	}
	asked := late("FAILED")
	asked.KnownAt = settled.KnownAt() // asked again, by somebody who knows of the success
	if got, _ := relay.Decide(settled, asked, noon.Add(time.Minute)); !got.Contradicted {
		t.Error("an answer to a question put after the success does not contradict it")
	}
}
