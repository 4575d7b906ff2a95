package sim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/relay"
)

// pageView is one connection of a page.
type pageView struct {
	customer  *customer
	transport string
	floor     int64
	opened    time.Duration
	messages  int
	final     bool
	last      state
	at        time.Duration // of last
	hint      bool          // last is one
	link      string
	linkAt    time.Duration // when it heard of link
	closed    bool
	heardAt   time.Duration // when it heard anything last
}

// pageMessage checks a message that a page got.
func (r *referee) pageMessage(v *pageView, body []byte) {
	c := v.customer
	r.secrets("a page message", string(body))
	var m struct {
		state

		Type string `json:"type"`
		Via  string `json:"via"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		r.fail("page messages are JSON", "%s gets %q", c.name(), body)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkSilenceLocked(v)
	if m.Type == "ping" || m.Type == "token" {
		return
	}
	r.views[v] = struct{}{}
	v.messages++
	if want := []string{"status", "link"}; v.messages <= 2 && m.Type != want[v.messages-1] {
		if v.messages == 1 || !v.final { // a final status may come before the link
			r.world.history.note(c.name(), "message %d is %s", v.messages, m.Type)
		}
	}
	if m.Type == "link" {
		r.checkLinkLocked(v, m.Link)
		return
	}
	r.world.history.note(c.name(), "%s %s version %d verified %t final %t via %s", m.word(), m.Outcome, m.Version, m.Verified, m.Final, m.Via)
	r.checkPageStatusLocked(v, m.state, m.Via)
	v.last, v.at = m.state, r.world.now()
	if f := r.files[m.ID]; f != nil {
		r.expectNewsLocked(f, m.Version)
	}
	v.hint = !m.Verified && m.Via == "realtime"
	if v.hint {
		message := v.messages
		time.AfterFunc(relay.HintLife+time.Second+v.delay(), func() { r.expectWithdrawal(v, message) })
	}
	if m.Final && v.transport != longPoll { // who polls ends it
		time.AfterFunc(time.Second, func() { r.expectEnd(v) })
	}
	v.final = v.final || m.Final
	v.floor = max(v.floor, m.Version)
	if f := r.files[m.ID]; f != nil && m.Version > f.paged && len(r.world.plan.crashes) == 0 && !r.world.misled() {
		f.paged = m.Version
		time.AfterFunc(pollEvery+time.Second, func() { r.expectEverywhere(f, m.Version) })
	}
	c.lowest = max(c.lowest, m.Version)
}

// checkLinkLocked checks how a page is told that the relay hears of its payment.
func (r *referee) checkLinkLocked(v *pageView, now *string) {
	p, link := r.world.plan, ""
	if now != nil {
		link = *now
	}
	r.world.history.note(v.customer.name(), "link %s", link)
	if link == "live" {
		r.files[v.customer.merchant.id].liveAt = r.world.now()
	}
	orderly := p.replicas == 1 && len(p.crashes) == 0 && len(p.jumps) == 0 && p.calm("dollr", diskFull, realtimePoint)
	told := !slices.ContainsFunc(v.customer.order.steps, func(s step) bool { // what an audit finds first makes the channel join again
		since := r.world.now() - s.at
		return s.silent && since > 0 && since < 3*auditEvery/2
	})
	if orderly && told && v.link == "live" && link != "live" && link != "" {
		r.failLocked("live while nothing is wrong", "%s hears of link %s after live", v.customer.name(), link)
	}
	if orderly && link == "degraded" {
		r.failLocked("degraded only with a cause", "%s hears of it", v.customer.name())
	}
	if v.link == "live" && link == "polling" && v.transport != longPoll && p.replicas == 1 && p.calm("dollr", diskFull) && len(p.crashes) == 0 && len(p.jumps) == 0 {
		f, at := r.files[v.customer.merchant.id], r.world.now()
		time.AfterFunc(5*time.Second, func() { r.expectPoll(f, at) })
	}
	v.link, v.linkAt = link, r.world.now()
}

// expectPoll checks that polling starts within 5 s of the loss of realtime. A question that was on its way then will do.
func (r *referee) expectPoll(f *file, at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if max(f.askedAt, f.answeredAt) < at-grain && f.liveAt < at && f.finalAt == 0 && r.world.current() != nil {
		r.failLocked("polling starts within 5 s", "order %d was not asked about since realtime was lost", f.order.number)
	}
}

func (r *referee) checkPageStatusLocked(v *pageView, s state, via string) {
	c := v.customer
	if v.final && s.Version <= v.last.Version {
		r.failLocked("nothing follows a final status", "%s gets %s after a final status", c.name(), s.word())
	}
	if hint := !s.Verified && via == "realtime"; !hint {
		r.checkLocked("a page", s, v.floor, false)
		if s.Final != (s.Outcome != relay.Pending) || s.Verified && s.Status == nil {
			r.failLocked("final is an outcome", "%s gets final %t, verified %t with outcome %s", c.name(), s.Final, s.Verified, s.Outcome)
		}
		return
	}
	if s.Final {
		r.failLocked("a hint is never final", "%s gets %s", c.name(), s.word())
	}
	if s.Version < v.floor {
		r.failLocked("versions never fall", "%s gets a hint with version %d after %d", c.name(), s.Version, v.floor)
	}
	if f := r.files[s.ID]; f != nil && s.Outcome != relay.Pending && !c.visit.sleepy && v.transport != longPoll && s.At.After(f.hinted) {
		f.hinted = s.At // shown again with another version it is no news
		if v.messages <= 1 {
			return // nor is what the page found when it came
		}
		at, within := r.world.now(), 2*time.Second // the most urgent may stand back for one turn of the budget
		if r.world.plan.rate >= 5 {
			within = 500 * time.Millisecond
		}
		time.AfterFunc(within, func() { r.expectQuestion(f, at) })
	}
}

// expectQuestion checks that a terminal hint makes the relay ask, where nothing hinders it.
func (r *referee) expectQuestion(f *file, at time.Duration) {
	if !r.world.plan.calm("dollr", diskFull) || len(r.world.plan.crashes) > 0 || r.world.plan.replicas > 1 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.askedAt < at-grain && r.world.current() != nil {
		r.failLocked("a terminal hint makes the relay ask", "order %d was shown as ended and Dollr was not asked at once", f.order.number)
	}
}

// expectWithdrawal checks that a hint does not stand for longer than a minute.
func (r *referee) expectWithdrawal(v *pageView, message int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.world.still(relay.HintLife) {
		return
	}
	if _, open := r.views[v]; open && v.hint && v.messages == message && !v.customer.visit.sleepy && len(r.world.plan.jumps) == 0 {
		r.failLocked("an unconfirmed hint is withdrawn", "%s shows %s for more than a minute", v.customer.name(), v.last.word())
	}
}

// expectState checks that a page hears how its payment stands as soon as it is open.
func (r *referee) expectState(v *pageView) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.messages < 2 && !r.world.still(2*time.Second) && !v.closed && !v.customer.visit.sleepy {
		r.failLocked("first the present status, then the present link", "%s got %d messages in its first second", v.customer.name(), v.messages)
	}
}

// delay is how much later than others a page may hear of something.
func (v *pageView) delay() time.Duration {
	if v.transport == longPoll {
		return pollEvery
	}
	return 0
}

// checkSilenceLocked checks that a page hears something at least every 25 s, so that it knows a dead connection.
func (r *referee) checkSilenceLocked(v *pageView) {
	now := r.world.now()
	if silent := now - v.heardAt; silent > 27*time.Second && !r.world.still(30*time.Second) && v.transport != longPoll && !v.customer.visit.sleepy {
		r.failLocked("a ping every 25 s", "%s heard nothing for %.1fs on %s", v.customer.name(), silent.Seconds(), v.transport)
	}
	v.heardAt = now
}

// expectEnd checks that a connection ends after a final status.
func (r *referee) expectEnd(v *pageView) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !v.closed && !r.world.still(2*time.Second) && !v.customer.visit.sleepy {
		r.failLocked("a final status ends the connection", "%s is still open on %s", v.customer.name(), v.transport)
	}
}

// pageClosed checks why a WebSocket was closed.
func (r *referee) pageClosed(v *pageView, code websocket.StatusCode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkSilenceLocked(v)
	switch {
	case code == websocket.StatusNormalClosure && !v.final:
		r.failLocked("1000 only after a final status", "%s was closed with 1000 after %s", v.customer.name(), v.last.Outcome)
	case code == 4408 && !r.world.still(time.Minute) && !v.customer.visit.sleepy:
		r.failLocked("4408 only without pongs", "%s, which answers pings, was closed with it", v.customer.name())
	}
}

// pageGone notes that a page does not look any more.
func (r *referee) pageGone(v *pageView) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.views, v)
	v.closed = true
}

// reconnected checks that an event stream whose page has seen the final status is told to stay away. An answer of Dollr since then may
// have brought a later one, a late success for one.
func (r *referee) reconnected(v *pageView, seen string, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.files[v.customer.merchant.id]
	if version, _ := strconv.ParseInt(seen, 10, 64); version > 0 && version >= f.shown && f.answeredAt <= f.finalAt && code == http.StatusOK {
		r.failLocked("204 after a final status", "%s has seen version %d and is given the stream again", v.customer.name(), version)
	}
}

// polled checks an answer to a long poll: news are told once, and nothing is answered before there is any.
func (r *referee) polled(v *pageView, since, now string, told bool, left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, _, _ := strings.Cut(now, ".")
	before, _, _ := strings.Cut(since, ".")
	switch {
	case told && state == before:
		r.failLocked("a poll is told of nothing twice", "%s is told again what is at %s", v.customer.name(), now)
	case !told && state != before:
		r.failLocked("a poll is told of everything", "%s is told nothing between %s and %s", v.customer.name(), since, now)
	case now == since && left > grain && len(r.world.plan.crashes) == 0 && len(r.world.plan.mishaps) == 0:
		r.failLocked("a poll is held", "%s is told nothing new, and %s too early", v.customer.name(), left)
	}
}

// expectEverywhere checks that what one page was shown all open pages of the payment were shown.
func (r *referee) expectEverywhere(f *file, version int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.world.misled() {
		return
	}
	for v := range r.views {
		if r.files[v.customer.merchant.id] == f && v.last.Version < version && !v.customer.visit.sleepy {
			r.failLocked("all pages hear at once", "%s does not show version %d on %s", v.customer.name(), version, v.transport)
		}
	}
}

// outdated names a page that does not show the newest state of its payment.
func (r *referee) outdated() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for v := range r.views {
		switch f := r.files[v.customer.merchant.id]; {
		case v.customer.visit.sleepy:
		case v.last.Version < f.shown:
			return v.customer.name() + " does not show the newest state"
		case v.hint:
			return v.customer.name() + " shows a hint that is not confirmed, nor withdrawn after 60 s"
		}
	}
	return ""
}
