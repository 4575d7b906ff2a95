package sim

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// report is an outcome that was reported: a callback, an entry of the feed, or both.
type report struct {
	kind        string
	payment     string
	version     int64
	body        string // of the callback
	data        string // of the feed
	flying      map[string]int
	tries       int
	acked, lost bool // by the shop; the acknowledgement may not have arrived
	gone        bool // answered with 410
	redelivered bool // an operator asked for it
}

// message is a callback's body.
type message struct {
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// title is what a callback is about, for people.
func title(body []byte) string {
	var m message
	_ = json.Unmarshal(body, &m)
	return m.Type
}

func (r *referee) reportLocked(id string) *report {
	p := r.reports[id]
	if p == nil {
		p = &report{flying: map[string]int{}}
		r.reports[id] = p
	}
	return p
}

// received checks a callback as it arrives. The returned function is to be called when its request is over.
func (r *referee) received(s *shop, request *http.Request, body []byte, verified error) func() {
	id, process := request.Header.Get(callback.HeaderID), request.Header.Get(processHeader)
	r.secrets("a callback", string(body))
	var m message
	var data state
	if json.Unmarshal(body, &m) != nil || json.Unmarshal(m.Data, &data) != nil {
		r.fail("callbacks are JSON", "%s", body)
		return func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if verified != nil && (len(r.world.plan.jumps) == 0 || !errors.Is(verified, callback.ErrTimestamp)) {
		r.failLocked("callbacks are signed", "%v", verified)
	}
	f := r.files[data.ID]
	if f == nil {
		r.failLocked("none invented", "a callback about %q, which nobody registered", data.ID)
		return func() {}
	}
	if f.order.shop != s.number {
		r.failLocked("only the payment's URL", "%s gets a callback of order %d", s.name(), f.order.number)
	}
	p := r.reportLocked(id)
	r.checkReportLocked(id, p, m.Type, data)
	if p.body != "" && p.body != string(body) {
		r.failLocked("the same bytes on every try", "%s of order %d has changed", m.Type, f.order.number)
	}
	r.checkTryLocked(p, m, f)
	p.body = string(body)
	p.tries++
	if p.flying[process]++; p.flying[process] > 1 {
		time.AfterFunc(1, func() { r.confirmTwoTries(p, process) })
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.flying[process]--
	}
}

// checkReportLocked checks what a report says, in a callback or the feed.
func (r *referee) checkReportLocked(id string, p *report, kind string, data state) {
	f := r.files[data.ID]
	prefix := "payment."
	switch o := f.order.operation; o {
	case relay.Payout, relay.Transfer, relay.Refund:
		prefix = string(o) + "."
	case relay.Collection, relay.Source:
	}
	what := string(data.Outcome)
	if data.Contradicted {
		what = "contradicted"
	}
	if kind != prefix+what {
		r.failLocked("a type names its outcome", "%s of order %d says outcome %s, contradicted %t", kind, f.order.number, data.Outcome, data.Contradicted)
	}
	if want := relay.ReportID(data.ID, kind); id != want {
		r.failLocked("derived ids", "%s of order %d has the id %s, want %s", kind, f.order.number, id, want)
	}
	if data.Metadata.Order != strconv.Itoa(f.order.number) {
		r.failLocked("metadata comes back", "%s of order %d has the metadata of order %q", kind, f.order.number, data.Metadata.Order)
	}
	p.kind, p.payment, p.version = kind, data.ID, data.Version
	r.checkLocked("a report", data, 0, true)
}

// checkTryLocked checks that a callback may be sent now.
func (r *referee) checkTryLocked(p *report, m message, f *file) {
	w := r.world
	orderly := len(w.plan.crashes) == 0 && len(w.plan.jumps) == 0 && w.plan.calm(diskFull) && !w.plan.befalls(databaseGone, replicaFrozen)
	if p.acked && !p.lost && !p.redelivered && orderly {
		r.failLocked("an acknowledged callback is not repeated", "%s of order %d comes again", m.Type, f.order.number)
	}
	for _, other := range r.reports {
		if other != p && p.tries == 0 && other.tries > 0 && !other.redelivered && !p.redelivered && other.payment == p.payment && other.version > p.version {
			r.failLocked("callbacks of a payment in order", "%s of order %d comes after %s", m.Type, f.order.number, other.kind)
		}
		if other != p && other.tries > 0 && other.payment == p.payment && other.version < p.version && !other.acked && !other.gone && !other.redelivered && len(schedule()) > other.tries && len(w.plan.jumps) == 0 {
			r.failLocked("callbacks of a payment in order", "%s of order %d comes while %s is neither acknowledged nor dead", m.Type, f.order.number, other.kind)
		}
	}
	if orderly && !p.redelivered && p.tries >= len(schedule()) {
		r.failLocked("as many tries as the schedule has", "%s of order %d comes once more", m.Type, f.order.number)
	}
	if late := time.Since(m.Timestamp); p.tries == 0 && orderly && w.plan.calm("the shop") && !p.redelivered && late > time.Second {
		r.failLocked("an outcome is reported at once", "%s of order %d comes %s after the outcome", m.Type, f.order.number, late)
	}
}

func (r *referee) confirmTwoTries(p *report, process string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.flying[process] > 1 && len(r.world.plan.jumps) == 0 && !p.redelivered {
		r.failLocked("a claimed callback is sent once", "relay#%s sends %s twice at a time", process, p.kind)
	}
}

// acknowledged notes that a shop has taken a callback. A sender that is killed a moment later may not have got to writing it down.
func (r *referee) acknowledged(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, now := r.reportLocked(id), r.world.now()
	p.acked = true
	p.lost = p.lost || slices.ContainsFunc(r.world.plan.mishaps, func(m mishap) bool {
		return m.what == replicaKilled && m.at >= now && m.at < now+time.Second
	})
}

func (r *referee) answerLost(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reportLocked(id).lost = true
}

func (r *referee) refusedForGood(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reportLocked(id).gone = true
}

func (r *referee) redelivered(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reportLocked(id).redelivered = true
}

// fed checks an entry of the event feed; before are the ids that its reader has already.
func (r *referee) fed(e entry, before []string) {
	var data state
	if err := json.Unmarshal(e.Data, &data); err != nil {
		r.fail("the feed is JSON", "%s", e.Data)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(before, e.ID) {
		r.failLocked("nothing twice in the feed", "%s comes again", e.Type)
	}
	if r.files[data.ID] == nil {
		r.failLocked("none invented", "the feed tells of %q, which nobody registered", data.ID)
		return
	}
	p := r.reportLocked(e.ID)
	r.checkReportLocked(e.ID, p, e.Type, data)
	for _, id := range before {
		if earlier := r.reports[id]; earlier.payment == data.ID && earlier.version > data.Version {
			r.failLocked("the feed is in order", "%s of order %d comes after %s", e.Type, r.files[data.ID].order.number, earlier.kind)
		}
	}
	p.data = string(e.Data)
	if p.body != "" && !strings.Contains(p.body, p.data) {
		r.failLocked("feed and callback agree", "%s of order %d differs", e.Type, r.files[data.ID].order.number)
	}
}
