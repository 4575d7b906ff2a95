package realtime

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// TestStep_anyHistory drives the step function through random histories and checks what must hold after every step.
// It is inside the package because the function is the package's core and nobody else's business.
func TestStep_anyHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, seed)
			for range 400 {
				h.next()
			}
		})
	}
}

type history struct {
	t       *testing.T
	random  *rand.Rand
	now     time.Time
	channel channel
	sockets int
	refs    int
	minting bool
	last    Kind
	proofs  map[string]bool // refs whose `system` ok has been sent
	replies map[string]bool // refs whose reply has been sent
}

func newHistory(t *testing.T, seed uint64) *history {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	h := &history{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), now: start,
		proofs: map[string]bool{}, replies: map[string]bool{},
	}
	h.channel = follow(Target{ID: "pay_1", SessionID: 55, ReferenceID: "550e8400-e29b-41d4-a716-446655440000"}, start)
	h.step(evTick{})
	return h
}

// next lets time pass, up to the channel's deadline or not so far, and something happen.
func (h *history) next() {
	if due := h.channel.due(); !due.IsZero() && h.random.IntN(2) == 0 {
		h.now = due
		h.step(evTick{})
	} else {
		h.now = h.now.Add(time.Duration(h.random.Int64N(int64(8 * time.Second))))
		h.step(evTick{})
	}
	h.step(h.event())
}

func (h *history) event() any {
	l := h.channel.main
	if h.random.IntN(3) == 0 && h.channel.spare.phase != off {
		l = h.channel.spare
	}
	joinRef := l.ref
	switch h.random.IntN(5) {
	case 0:
		joinRef = ""
	case 1:
		joinRef = "stale"
	}
	if h.minting && h.random.IntN(2) == 0 {
		h.minting = false
		if h.random.IntN(3) == 0 {
			return evNoKey{unusable: h.random.IntN(2) == 0}
		}
		h.refs++
		life := time.Second + time.Duration(h.random.Int64N(int64(5*time.Minute)))
		return evKey{token: secret.New(fmt.Sprint("key ", h.refs)), life: life}
	}
	switch h.random.IntN(9) {
	case 0, 1:
		h.sockets++ // every place is on a new socket: the shell never puts two legs on one
		h.refs++
		return evPlace{
			spare: h.channel.spare.phase == queued && h.random.IntN(2) == 0, socket: h.sockets, apart: h.channel.joinFailed,
			ref: fmt.Sprint(h.refs), timeout: 15 * time.Second,
		}
	case 2, 3:
		r := h.reply()
		if r.ok && len(r.echoes) > 0 && joinRef != "stale" {
			h.replies[l.ref] = true
		}
		return evReply{l.socket, joinRef, l.ref, r}
	case 4, 5:
		s := system{Extension: extensionChanges, Status: "ok"}
		if h.random.IntN(3) == 0 {
			s.Status, s.Message = "error", h.anyReason()
			s.Extension = []string{extensionChanges, "system"}[h.random.IntN(2)]
		}
		if s.Status == "ok" && (joinRef == l.ref || joinRef == "") {
			h.proofs[l.ref] = true
		}
		return evSystem{l.socket, joinRef, s}
	case 6:
		return evChange{l.socket, joinRef, change{ids: []int64{7}, kind: "UPDATE", status: "COMPLETED"}}
	case 7:
		return evEnd{l.socket, joinRef, h.random.IntN(2) == 0}
	}
	if h.random.IntN(2) == 0 {
		return evMissed{"missed"}
	}
	return evSocketLost{l.socket}
}

func (h *history) reply() reply {
	id := int64(7)
	switch h.random.IntN(8) {
	case 0:
		return reply{reason: h.anyReason()}
	case 1:
		return reply{ok: true}
	}
	return reply{ok: true, echoes: []bindingReply{{h.channel.target.binding(), &id}}}
}

func (h *history) anyReason() string {
	reasons := []string{"unmatched topic", "what is this", "Error parsing `filter` params: x"}
	for _, c := range classes() {
		reasons = append(reasons, c.prefix+": x")
	}
	return reasons[h.random.IntN(len(reasons))]
}

func (h *history) step(event any) {
	after, effects := step(h.channel, event, h.now, h.random.Float64)
	h.channel = after
	for _, e := range effects {
		h.check(event, e)
	}
	if due := after.due(); !due.IsZero() && !due.After(h.now) {
		h.t.Fatalf("after %T the channel is due %s ago: the loop would spin\n%+v", event, h.now.Sub(due), after)
	}
	if after.due().IsZero() && !after.minting && after.main.phase != queued {
		h.t.Fatalf("after %T nothing will ever happen again\n%+v", event, after)
	}
	if (after.reported == Live) != (after.main.phase == live) {
		h.t.Fatalf("after %T reported %v while main is in phase %d", event, after.reported, after.main.phase)
	}
	if a, b := after.main, after.spare; a.phase >= joining && b.phase >= joining && a.socket == b.socket {
		h.t.Fatalf("both legs are on socket %d", a.socket)
	}
	if after.spare.phase != off && after.main.phase == off {
		h.t.Fatalf("a spare without a main leg")
	}
}

func (h *history) check(event, effect any) {
	switch e := effect.(type) {
	case doMint:
		if h.minting {
			h.t.Fatalf("a second mint while one is under way")
		}
		h.minting = true
	case doNotify:
		ref := h.channel.main.ref
		switch {
		case e.kind == Live && (!h.proofs[ref] || !h.replies[ref]):
			h.t.Fatalf("live after %T without reply (%t) and confirmation (%t) of join %s", event, h.replies[ref], h.proofs[ref], ref)
		case e.kind == Lost && h.last == Lost:
			h.t.Fatalf("lost was reported twice in a row")
		case e.kind == Lost && e.reason == "":
			h.t.Fatalf("lost without a reason")
		}
		if e.kind != Change {
			h.last = e.kind
		}
	}
}

func TestC26_keyThatArrivesWhileJoiningIsPushedAfterTheReply(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	half := func() float64 { return 0.5 }
	id := int64(7)
	c := follow(Target{ID: "pay_1", SessionID: 55, ReferenceID: "550e8400-e29b-41d4-a716-446655440000"}, now)
	var effects []any
	for _, event := range []any{
		evTick{},
		evKey{secret.New("old"), time.Minute},
		evPlace{socket: 1, ref: "6", timeout: 15 * time.Second},
		evKey{secret.New("new"), time.Minute},
		evReply{1, "6", "6", reply{ok: true, echoes: []bindingReply{{c.target.binding(), &id}}}},
	} {
		c, effects = step(c, event, now, half)
	}
	var pushed []doSend
	for _, e := range effects {
		if send, ok := e.(doSend); ok {
			pushed = append(pushed, send)
		}
	}
	if len(pushed) != 1 || pushed[0].event != eventToken || pushed[0].joinRef != "6" || fmt.Sprint(pushed[0].payload) != "map[access_token:new]" {
		t.Errorf("the reply is followed by %+v, want the push of the new key", pushed)
	}
}

func TestC14_changeNeedsOwnIDTypeAndRow(t *testing.T) {
	t.Parallel()
	const own, foreign = 83664710, 1
	for _, tt := range []struct {
		ids               []int64
		kind, referenceID string
		want              int
	}{
		{[]int64{own}, "UPDATE", "", 1},
		{[]int64{foreign, own}, "UPDATE", "", 1},
		{[]int64{own, own}, "INSERT", "550E8400-E29B-41D4-A716-446655440000", 1},
		{[]int64{own}, "DELETE", "", 1},
		{[]int64{own}, "UPDATE", "11111111-1111-4111-8111-111111111111", 0},
		{[]int64{foreign}, "UPDATE", "", 0},
		{nil, "UPDATE", "", 0},
		{[]int64{own}, "TRUNCATE", "", 0},
		{[]int64{own}, "update", "", 0},
		{[]int64{own}, "", "", 0},
	} {
		c, now := liveChannel()
		_, effects := step(c, evChange{1, "", change{tt.ids, tt.kind, tt.referenceID, "PAID"}}, now, func() float64 { return 0.5 })
		hints := 0
		for _, e := range effects {
			if n, ok := e.(doNotify); ok && n.kind == Change {
				hints++
			}
		}
		if hints != tt.want {
			t.Errorf("%d hints from %+v, want %d", hints, tt, tt.want)
		}
	}
}

func TestC9_confirmationBeforeTheReplyCountsOnceTheReplyIsHere(t *testing.T) {
	t.Parallel()
	c, now := liveChannel()
	half := func() float64 { return 0.5 }
	id := int64(83664710)
	c, _ = step(c, evEnd{1, "6", true}, now, half)
	now = c.retryAt
	var phases []phase
	for _, event := range []any{
		evTick{},
		evPlace{socket: 1, ref: "8", timeout: 15 * time.Second},
		evSystem{1, "8", system{Extension: extensionChanges, Status: "ok"}},
		evReply{1, "8", "8", reply{ok: true, echoes: []bindingReply{{c.target.binding(), &id}}}},
	} {
		c, _ = step(c, event, now, half)
		phases = append(phases, c.main.phase)
	}
	if got, want := fmt.Sprint(phases), fmt.Sprint([]phase{queued, joining, joining, live}); got != want {
		t.Errorf("phases %s, want %s", got, want)
	}
}
