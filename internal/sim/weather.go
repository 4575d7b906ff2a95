package sim

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// travel is how long a request and its answer are on their way.
func (b *bank) travel(draw *rand.Rand) (there, back time.Duration) {
	there, back = between(draw, time.Millisecond, 120*time.Millisecond), between(draw, time.Millisecond, 60*time.Millisecond)
	if s, slow := b.on(dollrSlow); slow && chance(draw, s.share) {
		there += between(draw, 0, 6*time.Second)
		back += between(draw, 0, 6*time.Second)
	}
	return there, back
}

func (b *bank) on(what string) (spell, bool) {
	return b.world.plan.on(b.world.now(), func(s spell) bool { return s.what == what })
}

// fault draws what goes wrong with one request.
func (b *bank) fault(draw *rand.Rand, what, process string) (dollrtest.Fault, bool) {
	s, on := b.on(dollrDown)
	if on && chance(draw, s.share) || b.world.plan.mishap(b.world.now(), dollrAway, b.world.postOf(process)) {
		return pick(
			draw,
			dollrtest.Fault{Kind: dollrtest.FaultCode, Code: http.StatusServiceUnavailable},
			dollrtest.Fault{Kind: dollrtest.FaultDrop},
			dollrtest.Fault{Kind: dollrtest.FaultHang},
		), true
	}
	if s, on := b.on(dollrLimits); on && chance(draw, s.share) {
		return dollrtest.Fault{Kind: dollrtest.FaultCode, Code: http.StatusTooManyRequests, RetryAfter: pick(draw, "", "1", "3", "12")}, true
	}
	if s, on := b.on(dollrRefuses); on && chance(draw, s.share) {
		return dollrtest.Fault{Kind: dollrtest.FaultCode, Code: pick(draw, http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity)}, true
	}
	s, on = b.on(dollrErrors)
	if !on || !chance(draw, s.share) {
		return dollrtest.Fault{}, false
	}
	if what != "status" {
		return dollrtest.Fault{Kind: pick(draw, dollrtest.FaultHTML, dollrtest.FaultTruncated, dollrtest.FaultDrop, dollrtest.FaultEmpty)}, true
	}
	kind := pick(
		draw,
		dollrtest.FaultHTML, dollrtest.FaultEmpty, dollrtest.FaultTruncated, dollrtest.FaultOversize, dollrtest.FaultRedirect, dollrtest.FaultAnotherID,
		dollrtest.FaultNoID, dollrtest.FaultNoStatus, dollrtest.FaultSplit, dollrtest.FaultTwice, dollrtest.FaultWrap, dollrtest.FaultStrings, dollrtest.FaultCode,
		dollrtest.FaultBody,
	)
	f := dollrtest.Fault{Kind: kind, Location: "http://" + bankHost + "/v1/elsewhere"}
	switch kind {
	case dollrtest.FaultCode:
		f.Code = pick(draw, 500, 502, 404, 400)
	case dollrtest.FaultBody:
		f.Body = pick(draw, `{"status":"COMPLETED"}`, `[]`, `null`, `"COMPLETED"`, `{"status":{"status":"COMPLETED"}}`)
	}
	return f, true
}

// honest reports whether an answer with this fault is still the truth.
func honest(f dollrtest.Fault, faulty bool) bool {
	return !faulty || slices.Contains([]string{dollrtest.FaultWrap, dollrtest.FaultStrings, dollrtest.FaultSlow}, f.Kind)
}

// weather makes realtime sick and well again, and cuts off pages, as the plan says.
func (w *world) weather(ctx context.Context) {
	var moments []time.Duration
	for _, s := range w.plan.spells {
		moments = append(moments, s.from, s.to)
	}
	slices.Sort(moments)
	for _, at := range slices.Compact(moments) {
		if !w.sleepUntil(ctx, at) {
			return
		}
		w.bank.realtime.SetFaults(w.realtimeFaults(at))
		for _, s := range w.plan.spells {
			if s.from == at {
				w.history.note("weather", "%s, for %.1fs", s.what, (s.to - s.from).Seconds())
				w.bank.realtimeEvent(strings.TrimPrefix(s.what, realtimePoint)) //nolint:contextcheck // the stand-in has its own
				switch s.what {
				case pagesCut:
					w.people.drop()
				case dollrRevokes:
					w.bank.api.RevokeTokens()
				}
			}
		}
	}
}

func (w *world) realtimeFaults(at time.Duration) realtimetest.Faults {
	is := func(what string) bool {
		_, on := w.plan.on(at, func(s spell) bool { return s.what == realtimePoint+what })
		return on
	}
	f := realtimetest.Faults{
		Down: is("down"), MuteJoins: is("mute joins"), MuteSystem: is("mute system"), Deaf: is("deaf"), DropChanges: is("lost changes"),
		DuplicateChanges: is("repeated changes"), IgnoreTokens: is("tokens ignored"), MuteHeartbeats: is("mute heartbeats"),
		UnknownEvents: is("noise"), BinaryFrames: is("noise"), MalformedFrames: is("noise"),
	}
	if is(joinsRefused) {
		f.JoinError = "Unauthorized: You do not have permissions to read from this Channel topic: sim"
	}
	return f
}

// realtimeEvent is something that happens to realtime once.
func (b *bank) realtimeEvent(what string) {
	switch what {
	case "down", "sockets cut":
		b.realtime.DropAll()
	case "channels crash":
		b.realtime.Crash("")
	case "channels expelled":
		b.realtime.Expel("", "Token has expired 5 seconds ago")
	case "subscriptions lost":
		b.realtime.Orphan("")
	case "server drains":
		b.realtime.Drain()
	case "channels forgotten":
		b.realtime.Forget("")
	case "stale close":
		b.realtime.StaleClose("")
	case "garbage":
		b.realtime.SendText(`{"not":"a frame"}`)
		b.realtime.SendBinary([]byte{1, 2, 3})
	case "closed 1011":
		b.realtime.CloseAll(1011)
	}
}
