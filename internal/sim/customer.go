package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"
)

// customer looks at the checkout page of one order, and comes back when the connection ends.
type customer struct {
	world    *world
	order    *order
	merchant *merchant
	number   int
	visit    visit
	lowest   int64  // version that must not be undercut any more
	looks    int    // connections so far
	seen     string // id of the last event, when that was a final status
}

func (c *customer) name() string { return fmt.Sprintf("page%d.%d", c.order.number, c.number) }

func (c *customer) run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-c.merchant.registered:
	}
	if !c.world.sleepUntil(ctx, c.visit.at) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.visit.stays)
	defer cancel()
	draw := c.world.dice.roll("customer", c.order.number, c.number)
	for ctx.Err() == nil {
		token := c.merchant.token(ctx)
		if token != "" && c.look(ctx, token) {
			return
		}
		sleep(ctx, between(draw, 300*time.Millisecond, 3*time.Second))
	}
}

// look opens the page by any transport and listens until the connection ends. It reports whether the page has nothing more
// to come.
func (c *customer) look(ctx context.Context, token string) (done bool) {
	c.looks++
	draw := c.world.dice.roll("transport", c.order.number, c.number, c.looks)
	v := &pageView{customer: c, floor: max(c.lowest, c.world.referee.floor(c.merchant.id)), opened: c.world.now()}
	v.transport = pick(draw, webSocket, webSocket, eventStream, longPoll)
	defer c.world.referee.pageGone(v)
	switch v.transport {
	case eventStream:
		return c.listen(ctx, token, v)
	case longPoll:
		return c.poll(ctx, token, v)
	}
	return c.talk(ctx, token, v)
}

// opened notes that a connection stands.
func (c *customer) opened(v *pageView) {
	c.world.history.note(c.name(), "opens by %s", v.transport)
	v.heardAt = c.world.now()
	time.AfterFunc(time.Second, func() { c.world.referee.expectState(v) })
}

// doze is what a phone does at times instead of reading.
func (c *customer) doze(ctx context.Context, draw *rand.Rand) {
	if c.visit.sleepy && chance(draw, 0.2) {
		sleep(ctx, between(draw, time.Second, 20*time.Second))
	}
}

// talk listens on a WebSocket.
func (c *customer) talk(ctx context.Context, token string, v *pageView) (done bool) {
	conn, _, err := websocket.Dial(ctx, "ws://"+relayHost+"/v1/page/stream", &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPClient: c.world.client(), Subprotocols: []string{"dollr-relay.v1", "bearer." + token},
	})
	if err != nil {
		return false
	}
	defer func() { _ = conn.CloseNow() }()
	c.opened(v)
	draw := c.world.dice.roll("reading", c.order.number, c.number)
	for {
		_, body, err := conn.Read(ctx)
		if err != nil {
			code := websocket.CloseStatus(err)
			if ctx.Err() == nil {
				c.world.history.note(c.name(), "closed with %d", code)
				c.world.referee.pageClosed(v, code)
			}
			return code == websocket.StatusNormalClosure
		}
		c.world.referee.pageMessage(v, body)
		c.doze(ctx, draw)
	}
}
