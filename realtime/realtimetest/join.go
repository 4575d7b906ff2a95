package realtimetest

import (
	"encoding/json"
	"hash/fnv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const topicPrefix = "realtime:"

// channel is one joined topic of a socket.
type channel struct {
	topic      string
	joinRef    *string
	token      string
	claims     claims
	bindings   []binding
	subscribed bool // the change feed knows it: only now do changes arrive
	orphaned   bool
	ended      bool
	timers     []*time.Timer
}

func (ch *channel) sub() string { return strings.TrimPrefix(ch.topic, topicPrefix) }

func (ch *channel) stop() {
	ch.ended = true
	for _, t := range ch.timers {
		t.Stop()
	}
}

// joinPayload is what a join may say; everything is optional and an odd value counts as absent.
type joinPayload struct {
	Config struct {
		Changes json.RawMessage `json:"postgres_changes"`
	} `json:"config"`
	AccessToken string `json:"access_token"`
	UserToken   string `json:"user_token"`
}

// join answers phx_join. A topic that is joined already is superseded: the new reply first, then phx_close with the old ref.
func (c *conn) join(m message) {
	if !strings.HasPrefix(m.topic, topicPrefix) {
		m.joinRef = nil
		c.send(m.reply("error", object{"reason": "unmatched topic"}))
		return
	}
	var p joinPayload
	_ = json.Unmarshal(m.payload, &p) // an invalid payload does not fail a join
	token := p.AccessToken
	if p.UserToken != "" {
		token = p.UserToken
	}
	if token == "" || strings.HasPrefix(token, "sb_") {
		token = c.token
	}
	c.srv.logJoin(Join{Conn: c.id, Topic: m.topic, Token: token, At: c.srv.opts.Now()})
	if c.srv.Faults().MuteJoins {
		return
	}
	old := c.channels.byTopic[m.topic]
	c.channels.remove(old)
	defer func() {
		if old != nil {
			old.stop()
			c.send(message{joinRef: old.joinRef, ref: old.joinRef, topic: old.topic, event: eventClose, payload: mustJSON(object{})})
		}
	}()

	cl, reason := c.mayJoin(m.topic, token)
	if reason != "" {
		sleep(c.ended, c.srv.opts.JoinErrorDelay)
		c.send(m.reply("error", object{"reason": reason}))
		if strings.HasPrefix(reason, "ClientJoinRateLimitReached") || strings.HasPrefix(reason, "TenantNotFound") {
			c.close(websocket.StatusGoingAway)
		}
		return
	}
	ch := &channel{topic: m.topic, joinRef: m.joinRef, token: token, claims: cl}
	if ch.joinRef == nil {
		ch.joinRef = m.ref
	}
	var echo []json.RawMessage
	ch.bindings, echo = parseBindings(p.Config.Changes)
	c.channels.add(ch)
	c.send(m.reply("ok", object{"postgres_changes": c.srv.Faults().echo(echo)}))
	if len(ch.bindings) > 0 {
		c.confirmAfter(ch, c.srv.opts.SystemDelay)
	}
	c.watchExpiry(ch)
}

// mayJoin says why a join is refused, in the service's words.
func (c *conn) mayJoin(topic, token string) (claims, string) {
	if f := c.srv.Faults(); f.JoinError != "" {
		return claims{}, f.JoinError
	}
	if topic == topicPrefix {
		return claims{}, "TopicNameRequired: You must provide a topic name"
	}
	if !c.srv.joinAllowed() {
		return claims{}, "ClientJoinRateLimitReached: Too many joins per second"
	}
	if len(c.channels.byTopic) >= c.srv.opts.MaxChannels {
		return claims{}, "ChannelRateLimitReached: Too many channels"
	}
	cl, err := c.srv.verify(token)
	if err != nil {
		return claims{}, err.reason()
	}
	return cl, ""
}

// after runs f on the connection's loop, unless the channel has ended by then.
func (c *conn) after(ch *channel, d time.Duration, f func()) {
	run := func() {
		if !ch.ended {
			f()
		}
	}
	ch.timers = append(ch.timers, time.AfterFunc(d, func() { c.post(run) }))
	if len(ch.timers) > 8 { // the oldest have fired long ago
		ch.timers = ch.timers[len(ch.timers)-8:]
	}
}

// confirmAfter subscribes the channel at the change feed and says so, or says why not.
func (c *conn) confirmAfter(ch *channel, d time.Duration) {
	c.after(ch, d, func() {
		f := c.srv.Faults()
		switch {
		case f.SystemError != "":
			ch.subscribed = false
			c.system(ch, eventChanges, "error", f.SystemError)
		case f.MuteSystem:
			c.confirmAfter(ch, 2*time.Second) // the real one retries every 1 to 3 s, silently
		default:
			if problem := c.srv.subscribable(ch.bindings); problem != "" {
				c.system(ch, eventChanges, "error", problem)
				return
			}
			ch.subscribed = true
			c.system(ch, eventChanges, "ok", "Subscribed to PostgreSQL")
		}
	})
}

func (c *conn) system(ch *channel, extension, status, text string) {
	c.send(message{joinRef: ch.joinRef, topic: ch.topic, event: eventSystem, payload: mustJSON(object{
		"channel": ch.sub(), "extension": extension, "message": text, "status": status,
	})})
}

// closeChannel ends a channel with phx_close, whose ref is the join's.
func (c *conn) closeChannel(ch *channel) {
	ch.stop()
	c.channels.remove(ch)
	c.send(message{joinRef: ch.joinRef, ref: ch.joinRef, topic: ch.topic, event: eventClose, payload: mustJSON(object{})})
}

// expel is the pair that ends a channel for a reason: system error, then phx_close. The socket stays open.
func (c *conn) expel(ch *channel, text string) {
	c.system(ch, "system", "error", text)
	c.closeChannel(ch)
}

// watchExpiry re-checks the token at exp, and every 5 min before it.
func (c *conn) watchExpiry(ch *channel) {
	left := ch.claims.exp.Sub(c.srv.opts.Now())
	token := ch.token
	c.after(ch, min(left, 5*time.Minute), func() {
		if ch.token != token {
			return // replaced: its successor has a check of its own
		}
		if err := ch.claims.expired(c.srv.opts.Now()); err != nil {
			c.expel(ch, err.text)
			return
		}
		c.watchExpiry(ch)
	})
}

// accessToken takes a pushed token. There is no reply: a fresh confirmation follows, or the end of the channel.
func (c *conn) accessToken(ch *channel, payload json.RawMessage) {
	var p struct {
		Token *string `json:"access_token"`
	}
	if json.Unmarshal(payload, &p) != nil || p.Token == nil || *p.Token == ch.token || strings.HasPrefix(*p.Token, "sb_") {
		return
	}
	if c.srv.Faults().IgnoreTokens {
		return
	}
	cl, err := c.srv.verify(*p.Token)
	if err != nil {
		c.expel(ch, err.text)
		return
	}
	ch.token, ch.claims = *p.Token, cl
	c.watchExpiry(ch)
	if len(ch.bindings) > 0 {
		ch.orphaned = false
		c.confirmAfter(ch, c.srv.opts.TokenDelay)
	}
}

// bindingID is a hash of the requested object alone, below 2^27, so equal requests have equal ids anywhere.
func bindingID(requested []byte) int64 {
	h := fnv.New32a()
	_, _ = h.Write(requested)
	return int64(h.Sum32() & (1<<27 - 1))
}

// joinRate averages joins over ticks of 5 s.
type joinRate struct {
	tick  time.Time
	count int
}

func (s *Server) joinAllowed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.joinLog.tick) >= 5*time.Second {
		s.joinLog = joinRate{tick: now}
	}
	s.joinLog.count++
	return s.joinLog.count <= 5*s.opts.MaxJoinsPerSecond
}

func (s *Server) logJoin(j Join) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.joins) >= 10_000 {
		s.joins = append(s.joins[:0], s.joins[5_000:]...)
	}
	s.joins = append(s.joins, j)
}
