package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/pgtest"
)

// away is how long a database or a replica is gone in these tests: for longer than leases, time-outs and hints last.
const away = time.Minute

// TestReplicas_aMinuteAway is what real processes do while something is gone for a minute. These tests mostly wait, so
// they run at the same time, whatever -parallel says.
func TestReplicas_aMinuteAway(t *testing.T) {
	t.Parallel()
	binary := buildRelay(t)
	var together sync.WaitGroup
	for name, test := range map[string]func(*testing.T, string){ //nolint:paralleltest // they run at the same time by themselves
		"database": databaseAway,
		"replica":  replicaAway,
		"dollr":    dollrHoldsAll,
	} {
		together.Go(func() { t.Run(name, func(t *testing.T) { test(t, binary) }) })
	}
	together.Wait()
}

// databaseAway ends PostgreSQL as a failing machine would, in the middle of registrations and settlements, and starts it
// again a minute later. Nothing is acknowledged that is not committed, pages stay connected, keep what they know and hear
// of the trouble, the relays are not ready, and go on by themselves.
func databaseAway(t *testing.T, binary string) {
	const payments, pages = 24, 8
	cluster := pgtest.ForTest(t)
	g := startGroup(t, binary, cluster, 2)
	g.receiver.reliable = true
	var gone atomic.Bool
	degraded := sync.Map{}
	g.heard = func(p groupPayment, m pageMessage) {
		if gone.Load() && m.Verified && m.Final {
			t.Errorf("a page of %s hears of %s, which is not committed", p.id, m.Outcome)
		}
		if m.Link == "degraded" {
			degraded.Store(p.id, true)
		}
	}
	g.lost = func(p groupPayment) { t.Errorf("a page of %s loses its connection", p.id) }
	g.register(payments)
	g.awaitLive(g.payments)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var closed atomic.Bool
	defer func() { // also if the test fails
		stop()
		closed.Store(true)
		running.Wait()
	}()
	looked, others := g.payments[:pages], g.payments[pages:]
	for _, p := range looked {
		running.Go(func() { g.watch(ctx, p) })
	}
	var acknowledged [2][]string
	for i, relay := range g.processes {
		running.Go(func() { acknowledged[i] = g.registerOn(relay, &gone, &closed) })
	}
	for _, p := range others { // the last of them while the server goes
		running.Go(func() { g.settle(p, "COMPLETED", "payment.succeeded") })
	}
	eventually(t, "a callback", func() bool { return g.receiver.count() > 0 })

	cluster.Halt()
	gone.Store(true)
	began := time.Now()
	for _, p := range looked {
		g.settle(p, "COMPLETED", "payment.succeeded")
	}
	var unready [2]time.Duration
	for time.Since(began) < away {
		for i, relay := range g.processes {
			switch code := relay.ready(); {
			case code == http.StatusServiceUnavailable && unready[i] == 0:
				unready[i] = time.Since(began)
			case code != http.StatusServiceUnavailable && (unready[i] > 0 || time.Since(began) > patience):
				t.Errorf("relay %d: /readyz = %d without a database, want 503", i, code)
			}
			if code, _, err := soon("POST", relay.url+"/v1/payments/"+looked[0].id+"/verify", ""); err == nil && code < 500 {
				t.Errorf("relay %d: verify = %d without a database, want an error of the server", i, code)
			}
		}
		time.Sleep(500 * time.Millisecond)
	}
	for _, p := range looked {
		if _, ok := degraded.Load(p.id); !ok {
			t.Errorf("a page of %s has not heard of the trouble", p.id)
		}
		if g.receiver.reported(p.id) {
			t.Errorf("a callback of %s came without a database", p.id)
		}
	}

	gone.Store(false)
	if err := cluster.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	if !awaitFor(groupPatience, func() bool { return g.seenFinal.Load() == pages && g.receiver.count() >= payments }) {
		t.Errorf("%d of %d pages are final, %d of %d outcomes were acknowledged", g.seenFinal.Load(), pages, g.receiver.count(), payments)
	}
	t.Logf("not ready after %v; all settled %s after it was back", unready, time.Since(back).Round(time.Millisecond))
	for i, relay := range g.processes {
		eventually(t, fmt.Sprintf("relay %d is ready", i), func() bool { return relay.ready() == http.StatusOK })
		eventually(t, fmt.Sprintf("relay %d registers", i), func() bool {
			_, registration := g.site.payment()
			code, _, err := soon("POST", relay.url+"/v1/payments", registration)
			return err == nil && code == http.StatusCreated
		})
	}
	stop()
	closed.Store(true)
	running.Wait()
	for _, p := range g.payments {
		g.checkSettled(p)
	}
	registered := 0
	for _, ids := range acknowledged {
		for _, id := range ids {
			g.ask("GET", "/v1/payments/"+id, "", found)
			registered++
		}
	}
	g.receiver.check(g.settled)
	t.Logf("%d acknowledged registrations are there", registered)
}

// registerOn registers payments at a relay until the shop closes and returns those that were acknowledged, none of them while
// the database is gone.
func (g *group) registerOn(relay *process, gone, closed *atomic.Bool) (acknowledged []string) {
	for !closed.Load() {
		_, registration := g.site.payment()
		before := gone.Load()
		code, fields, err := soon("POST", relay.url+"/v1/payments", registration)
		switch id, _ := fields["id"].(string); {
		case err != nil || code >= 500:
		case !found(code):
			g.t.Errorf("registration = %d, %v", code, fields)
		case before && gone.Load():
			g.t.Errorf("%s is acknowledged without a database", id)
		default:
			acknowledged = append(acknowledged, id)
		}
		pause := 20 * time.Millisecond
		if gone.Load() {
			pause = time.Second
		}
		time.Sleep(pause)
	}
	return acknowledged
}

// replicaAway stops one of three relays for a minute (SIGSTOP) in the middle of questions and settlements. The others
// take its payments over and settle them. When it goes on it has answers of Dollr that are a minute old, and it changes
// nothing by them, nor takes Dollr for unreachable.
func replicaAway(t *testing.T, binary string) {
	const payments, stale, settled, kept = 60, 6, 30, 18
	g := startGroup(t, binary, pgtest.ForTest(t), 3, "RELAY_AUDIT_EVERY=10m")
	g.receiver.reliable = true
	g.register(payments)
	g.awaitShared(payments, g.processes...)
	g.awaitLive(g.payments)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer func() { // also if the test fails
		stop()
		running.Wait()
	}()
	for _, p := range g.payments[:stale+settled/2] {
		running.Go(func() { g.watch(ctx, p) })
	}
	paused, others := g.processes[0], g.processes[1:]

	// Dollr says FAILED to the one that will not hear it for a minute. Then the customers pay by another card.
	var slow []string
	for _, p := range g.payments[:stale] {
		slow = append(slow, fmt.Sprintf(`{"kind":"slow","reference_id":%q,"delay":"5s"}`, p.reference))
	}
	g.site.must("PUT", g.site.sandbox+"/_sandbox/faults", `{"dollr":[`+strings.Join(slow, ",")+`]}`, 200)
	for _, p := range g.payments[:stale] {
		g.site.must("PUT", g.site.sandbox+"/_sandbox/payments/"+p.reference+"/status", `{"status":"FAILED","silent":true}`, 200)
		running.Go(func() {
			_, _, _ = soon("POST", paused.url+"/v1/payments/"+p.id+"/verify", "") // has no answer
		})
	}
	eventually(t, "the questions are on their way", func() bool { return g.asked(g.payments[:stale], 0) == stale })
	for _, p := range g.payments[stale : stale+settled/2] { // it may be in the middle of anything
		g.settle(p, "COMPLETED", "payment.succeeded")
	}
	pause := func(s syscall.Signal) {
		t.Helper()
		if err := paused.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	pause(syscall.SIGSTOP)
	began := time.Now()
	eventually(t, "Dollr has said FAILED", func() bool { return g.asked(g.payments[:stale], http.StatusOK) >= stale })
	g.site.must("PUT", g.site.sandbox+"/_sandbox/faults", `{}`, 200)
	for i, p := range g.payments[:payments-kept] {
		switch {
		case i < stale:
			g.settle(p, "COMPLETED", "payment.succeeded")
		case i >= stale+settled:
			g.settle(p, "FAILED", "payment.failed")
		case i >= stale+settled/2:
			g.settle(p, "COMPLETED", "payment.succeeded")
		}
	}
	shared := func() bool { return g.watched(others[0])+g.watched(others[1]) == kept }
	if !awaitFor(away*3/4, func() bool { return shared() && g.receiver.count() == payments-kept }) {
		t.Errorf("%s after a relay was paused the others watch %d and %d of %d payments, %d of %d outcomes were acknowledged",
			time.Since(began), g.watched(others[0]), g.watched(others[1]), kept, g.receiver.count(), payments-kept)
	}
	t.Logf("taken over and settled %s after the pause began", time.Since(began).Round(time.Millisecond))
	before := g.states(others[0])
	for time.Since(began) < away {
		time.Sleep(time.Second)
		if !shared() {
			t.Error("payments change hands while nothing happens")
			break
		}
	}

	pause(syscall.SIGCONT)
	g.awaitShared(kept, g.processes...)
	g.awaitLive(g.payments[payments-kept:])
	for i, relay := range g.processes {
		for id, now := range g.states(relay) {
			if now != before[id] {
				t.Errorf("relay %d after the pause: %s = %v, want %v as before", i, id, now, before[id])
			}
		}
	}
	for _, p := range g.payments[payments-kept:] {
		g.settle(p, "COMPLETED", "payment.succeeded")
	}
	if !awaitFor(groupPatience, func() bool { return g.receiver.count() >= payments }) {
		t.Errorf("%d of %d outcomes were acknowledged", g.receiver.count(), payments)
	}
	running.Wait() // every page has seen the end
	stop()
	for _, p := range g.payments {
		g.checkSettled(p)
	}
	g.receiver.check(g.settled)
}

// asked counts the payments about which Dollr was asked and has answered with a code; 0: not yet.
func (g *group) asked(payments []groupPayment, code float64) (count int) {
	requests := g.requests()
	for _, p := range payments {
		if slices.ContainsFunc(requests, func(r request) bool {
			return strings.Contains(r.path, p.reference) && strings.Contains(r.path, "/status/") && r.code == code
		}) {
			count++
		}
	}
	return count
}

// state is what must not change by itself.
type state struct {
	version                               float64
	outcome, verified, contradicted, late any
}

// states reads all payments at one relay.
func (g *group) states(relay *process) map[string]state {
	all := map[string]state{}
	for _, p := range g.payments {
		f := g.site.must("GET", relay.url+"/v1/payments/"+p.id, "", 200)
		version, _ := f["version"].(float64)
		all[p.id] = state{version, f["outcome"], f["verified"], f["contradicted"], f["late"]}
	}
	return all
}
