package main

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/pgtest"
)

const (
	chaosRelays   = 3
	chaosPayments = 300
	chaosKept     = 40 // stay open until the end
	chaosPages    = 30
	chaosLasts    = 20 * time.Second // unless SOAK says otherwise
)

// TestReplicas_chaos runs three relays on one PostgreSQL while they are killed, paused, stopped and started again, and
// looks from outside: every payment settles, each outcome is reported once under one id, no callback is lost, no page
// sees a version fall, the feed brings everything once, and in the end every open payment has one upstream channel.
func TestReplicas_chaos(t *testing.T) {
	t.Parallel()
	lasts := chaosLasts
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK: %v", err)
		}
	}
	c := &chaos{group: startGroup(t, buildRelay(t), pgtest.ForTest(t), chaosRelays)}
	chance := rand.New(rand.NewPCG(c.chance.Uint64(), 1))
	c.register(chaosPayments)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var watching sync.WaitGroup
	for _, p := range c.payments[:chaosPages] {
		watching.Go(func() { c.watch(ctx, p) })
	}
	watching.Go(func() { c.follow(ctx) })
	settling := make(chan struct{})
	go func() {
		defer close(settling)
		c.settleAll(lasts)
	}()
	c.trouble(chance, time.Now().Add(lasts))
	<-settling
	kept := c.payments[chaosPayments-chaosKept:]
	c.awaitLive(kept)
	for _, p := range kept {
		c.settle(p, "COMPLETED", "payment.succeeded")
	}
	if !awaitFor(groupPatience, func() bool { return c.receiver.count() >= chaosPayments && c.fed() >= chaosPayments }) {
		t.Errorf("%d of %d outcomes were acknowledged, %d are in the feed", c.receiver.count(), chaosPayments, c.fed())
	}
	for _, p := range c.payments {
		c.checkSettled(p)
	}
	stop()
	watching.Wait()
	c.receiver.check(c.settled)
	t.Logf("%s of trouble: %d kills, %d pauses (%d beyond the lease), %d rolling restarts; %d requests to the backend for %d outcomes, %d pages seen final",
		lasts, c.kills, c.pauses, c.long, c.restarts, c.receiver.requests, chaosPayments, c.seenFinal.Load())
}

// chaos is a group of relays with which everything goes wrong.
type chaos struct {
	*group

	kills, pauses, long, restarts int
}

// settleAll settles all payments but the kept ones, spread over a time.
func (c *chaos) settleAll(over time.Duration) {
	count := chaosPayments - chaosKept
	for i, p := range c.payments[:count] {
		status, want := "COMPLETED", "payment.succeeded"
		if i%6 == 0 {
			status, want = "FAILED", "payment.failed"
		}
		c.settle(p, status, want)
		time.Sleep(over / time.Duration(count))
	}
}

// trouble hits one relay or another until the end, and then has all of them running.
func (c *chaos) trouble(chance *rand.Rand, end time.Time) {
	c.t.Helper()
	paused := make([]time.Time, chaosRelays) // until when
	var waking sync.WaitGroup
	for time.Now().Before(end) {
		time.Sleep(time.Duration(chance.Int64N(int64(time.Second))))
		i := chance.IntN(chaosRelays)
		p := c.processes[i]
		if time.Now().Before(paused[i]) {
			continue
		}
		switch chance.IntN(4) {
		case 0:
			c.pauses++
			pause := time.Duration(chance.Int64N(int64(3 * time.Second)))
			if chance.IntN(2) == 0 {
				c.long++
				pause += 9 * time.Second // longer than its lease
			}
			paused[i] = time.Now().Add(pause + time.Second)
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			waking.Go(func() {
				time.Sleep(pause)
				_ = p.cmd.Process.Signal(syscall.SIGCONT)
			})
		case 1, 2:
			c.kills++
			p.kill()
			time.Sleep(time.Duration(chance.Int64N(int64(2 * time.Second))))
			c.start(i)
		case 3:
			c.restarts++
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			c.start(i) // a rolling deploy: the next one is there before the last has gone
			<-p.done
		}
	}
	waking.Wait()
}
