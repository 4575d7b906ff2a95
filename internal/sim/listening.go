package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// Transports of a page.
const (
	webSocket   = "websocket"
	eventStream = "sse"
	longPoll    = "poll"
)

// pollEvery and pollWait are as in the page script.
const (
	pollEvery = time.Second
	pollWait  = 25 * time.Second
)

// get asks for one of a page's addresses.
func (c *customer) get(ctx context.Context, token, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+relayHost+"/v1/page/"+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if c.seen != "" {
		r.Header.Set("Last-Event-ID", c.seen)
	}
	return c.world.client().Do(r)
}

// listen listens to server-sent events. After a final status it connects once more: there must be nothing left to say.
func (c *customer) listen(ctx context.Context, token string, v *pageView) (done bool) {
	answer, err := c.get(ctx, token, "events")
	if err != nil {
		return false
	}
	defer func() { _ = answer.Body.Close() }()
	c.world.referee.reconnected(v, c.seen, answer.StatusCode)
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode == http.StatusNoContent
	}
	c.opened(v)
	draw := c.world.dice.roll("reading", c.order.number, c.number)
	id := ""
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = text
		}
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			c.world.referee.pageMessage(v, []byte(text))
			c.doze(ctx, draw)
		}
	}
	if c.seen = ""; v.final {
		c.seen = id
	}
	return false
}

// poll polls as the page script does, until it has a final status or a poll fails.
func (c *customer) poll(ctx context.Context, token string, v *pageView) (done bool) {
	since, wait := "", time.Duration(0)
	for {
		asked := c.world.now()
		answer, err := c.get(ctx, token, "status?since="+since+"&wait="+wait.String())
		if err != nil {
			return false
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode >= http.StatusMultipleChoices {
			return false
		}
		if since == "" {
			c.opened(v)
		}
		position := answer.Header.Get("Relay-Position")
		c.world.referee.polled(v, since, position, len(body) > 0, wait-(c.world.now()-asked))
		if len(body) > 0 {
			c.world.referee.pageMessage(v, body)
		}
		_, before, _ := strings.Cut(since, ".")
		if _, link, _ := strings.Cut(position, "."); link != before || since == "" {
			message := map[string]any{"type": "link", "link": nil}
			if link != "" {
				message["link"] = link
			}
			text, _ := json.Marshal(message) //nolint:errchkjson // strings
			c.world.referee.pageMessage(v, text)
		}
		if v.final {
			return true
		}
		since, wait = position, pollWait
		if !sleep(ctx, pollEvery) {
			return false
		}
	}
}
