package realtimetest

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// Options shape a [Server]. For every duration zero means what the real service does and a negative value means none.
type Options struct {
	// JWTSecret signs and verifies keys (HS256). Required for anything to get in.
	JWTSecret secret.Value
	// ConnectErrorDelay holds refused upgrades back. Default 2 s.
	ConnectErrorDelay time.Duration
	// JoinErrorDelay holds error replies back, and with them everything else of that socket. Default 5 s.
	JoinErrorDelay time.Duration
	// SystemDelay lies between a join's reply and "Subscribed to PostgreSQL". Default 20 ms, a warm change feed.
	SystemDelay time.Duration
	// TokenDelay lies between an accepted access_token and its confirmation. Default 2 s (the real one takes 1 to 3).
	TokenDelay time.Duration
	// PollInterval is how long row changes are collected before they are sent. Default 100 ms.
	PollInterval time.Duration
	// IdleTimeout closes a socket (1000) whose client sends nothing. Default 60 s.
	IdleTimeout time.Duration
	// MaxChannels of one socket, default 100; MaxSockets of the server, default 200; MaxJoinsPerSecond, averaged over 5 s, default 100.
	MaxChannels, MaxSockets, MaxJoinsPerSecond int
	// Tables that are in the publication. Default: Dollr's public status table.
	Tables []Table
	// Visible stands for row level security on INSERT and UPDATE: whether a token's claims may see the row. Default: all may.
	Visible func(claims map[string]any, row Row) bool
	// OnFrame observes every text frame, in wire order per connection. It must not block.
	OnFrame func(Frame)
	// Now is the wall clock that tokens are checked against. Default [time.Now].
	Now func() time.Time
}

// Frame is one text frame as an observer sees it.
type Frame struct {
	Conn       int  // number of the connection, from 1
	FromClient bool // or from the server
	Data       []byte
}

// Table is one table of the publication.
type Table struct {
	Schema, Name string
	Columns      []Column
	// Key names the replica identity's columns: all that an old record and a DELETE carry.
	Key []string
}

// Column is a column's name and PostgreSQL type name, as they appear in a change.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// StatusTable is Dollr's public status table, with a plausible set of columns: the vendor documents `reference_id` only.
func StatusTable() Table {
	return Table{
		Schema: "public", Name: "checkout_payment_intent_public_status", Key: []string{"id"},
		Columns: []Column{{"id", "int8"}, {"reference_id", "uuid"}, {"session_id", "int8"}, {"status", "text"}, {"updated_at", "timestamptz"}},
	}
}

// Server is the stand-in. Create it with [New], mount it, and [Server.Close] it in the end.
type Server struct {
	opts Options

	mu       sync.Mutex
	faults   Faults
	conns    map[int]*conn
	opening  int // admitted, not among conns yet
	lastConn int
	closed   bool
	handlers sync.WaitGroup // connections being served

	pending []Change // changes of the running poll
	poll    *time.Timer
	rows    map[string]int // rows that Change has seen, by reference_id
	joins   []Join
	joinLog joinRate
}

// Join is one accepted or refused phx_join, for tests.
type Join struct {
	Conn  int
	Topic string
	Token string
	At    time.Time
}

// New prepares a server; it starts nothing.
func New(o Options) *Server {
	o.ConnectErrorDelay = delay(o.ConnectErrorDelay, 2*time.Second)
	o.JoinErrorDelay = delay(o.JoinErrorDelay, 5*time.Second)
	o.SystemDelay = delay(o.SystemDelay, 20*time.Millisecond)
	o.TokenDelay = delay(o.TokenDelay, 2*time.Second)
	o.PollInterval = delay(o.PollInterval, 100*time.Millisecond)
	o.IdleTimeout = delay(o.IdleTimeout, time.Minute)
	o.MaxChannels = cmp.Or(o.MaxChannels, 100)
	o.MaxSockets = cmp.Or(o.MaxSockets, 200)
	o.MaxJoinsPerSecond = cmp.Or(o.MaxJoinsPerSecond, 100)
	if o.Tables == nil {
		o.Tables = []Table{StatusTable()}
	}
	if o.Visible == nil {
		o.Visible = func(map[string]any, Row) bool { return true }
	}
	if o.OnFrame == nil {
		o.OnFrame = func(Frame) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{opts: o, conns: map[int]*conn{}, rows: map[string]int{}}
}

func delay(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return max(d, 0)
}

// ServeHTTP upgrades a client and serves it until either side ends the connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/realtime/v1/websocket") && !strings.HasSuffix(r.URL.Path, "/socket/websocket") {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		http.Error(w, "'connection' header must contain 'upgrade', got: "+r.Header.Get("Connection"), http.StatusBadRequest)
		return
	}
	vsn, ok := map[string]int{"": vsn1, "1.0.0": vsn1, "2.0.0": vsn2}[r.URL.Query().Get("vsn")]
	if !ok {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	token, code, text := s.admit(r)
	if code != 0 {
		s.refuse(w, r, code, text)
		return
	}
	opened := false
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !opened {
			s.opening--
		}
	}()
	if s.Faults().Down {
		panic(http.ErrAbortHandler) // the connection just ends, as behind a dead gateway
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(5_000_000)
	opened = true
	s.serve(context.WithoutCancel(r.Context()), ws, vsn, token)
}

// admit decides about an upgrade: the connect-time token, for which a socket is reserved, or a refusal.
func (s *Server) admit(r *http.Request) (token string, code int, text string) {
	token = cmp.Or(r.Header.Get("X-Api-Key"), r.URL.Query().Get("apikey"))
	if f := s.Faults(); f.ConnectStatus != 0 {
		return "", f.ConnectStatus, f.ConnectError
	}
	if token == "" {
		return "", http.StatusUnauthorized, "API key is missing"
	}
	if _, err := s.verify(token); err != nil {
		return "", err.upgradeStatus(), err.upgradeText()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns)+s.opening >= s.opts.MaxSockets {
		return "", http.StatusTooManyRequests, "Too many connected users"
	}
	s.opening++
	return token, 0, ""
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code int, text string) {
	sleep(r.Context().Done(), s.opts.ConnectErrorDelay)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

func (s *Server) serve(ctx context.Context, ws *websocket.Conn, vsn int, token string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.opening--
	if s.closed {
		s.mu.Unlock()
		_ = ws.CloseNow()
		return
	}
	s.lastConn++
	c := newConn(ctx, s, s.lastConn, ws, vsn, token, cancel)
	s.conns[c.id] = c
	s.handlers.Add(1)
	s.mu.Unlock()
	defer s.handlers.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c.id)
		s.mu.Unlock()
	}()
	c.run(ctx)
}

// Connections is the number of open sockets.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Channels counts the channels that are joined now, by topic.
func (s *Server) Channels() map[string]int {
	counts := map[string]int{}
	s.each(func(c *conn) {
		topics := make(chan []string, 1)
		c.post(func() { topics <- slices.Collect(maps.Keys(c.channels.byTopic)) })
		select {
		case <-c.ended:
		case joined := <-topics:
			for _, topic := range joined {
				counts[topic]++
			}
		}
	})
	return counts
}

// Joins lists the last joins, oldest first: at most 10,000 are kept.
func (s *Server) Joins() []Join {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.joins)
}

// DropAll cuts every connection without a close frame, as when the network is gone.
func (s *Server) DropAll() {
	s.each(func(c *conn) { c.drop() })
}

// Close cuts every connection, refuses new ones, and returns when all are gone.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	if s.poll != nil {
		s.poll.Stop()
	}
	s.mu.Unlock()
	s.DropAll()
	s.handlers.Wait()
}

// each calls f with every connection, in the order in which they were opened.
func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	slices.SortFunc(conns, func(a, b *conn) int { return a.id - b.id })
	for _, c := range conns {
		f(c)
	}
}

func sleep(done <-chan struct{}, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	}
}
