package relay

import (
	"errors"
	"slices"
	"sync"
)

// MaxPagesPerPayment bounds the open pages of one payment, all transports together.
const MaxPagesPerPayment = 20

// ErrTooManyPages reports that a payment has [MaxPagesPerPayment] pages open already.
var ErrTooManyPages = errors.New("too many open pages for this payment")

// Hub tells open pages of a payment's state. It keeps only the newest state of a payment, encoded
// once for all its pages, and a page takes it when it can: a slow page costs one message, never a
// queue, and delays nobody.
type Hub struct {
	mu     sync.Mutex
	topics map[string]*topic
}

// topic is one payment that somebody here looks at.
type topic struct {
	pages  []*Page
	open   int // pages that count as open checkout pages
	status Frame
	link   Frame
	serial uint64 // grows with every change of status or link
}

// Frame is an encoded message for pages. Body is shared: never change it.
type Frame struct {
	Body     []byte
	Version  int64
	Final    bool
	Position string // names a state among those of its payment, and a link by its word

	serial uint64
}

// Page is one listener of a payment. Its owner is notified of news and then calls Take.
type Page struct {
	hub     *Hub
	id      string
	counted bool
	notify  func()
	seen    uint64
}

// Wakeups returns a channel that holds one wake-up, and the function that leaves it there: a
// notify for owners that wait in a goroutine of their own.
func Wakeups() (changed <-chan struct{}, notify func()) {
	wakeups := make(chan struct{}, 1)
	return wakeups, func() {
		select {
		case wakeups <- struct{}{}:
		default: // one is waiting already: it will take the newest state
		}
	}
}

// NewHub returns a hub without pages.
func NewHub() *Hub { return &Hub{topics: map[string]*topic{}} }

// join adds a listener; counted ones are open checkout pages and limited in number. The hub calls
// notify whenever there is something to take; it must neither block nor call the hub.
func (h *Hub) join(id string, counted bool, notify func()) (*Page, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[id]
	if t == nil {
		t = &topic{}
		h.topics[id] = t
	}
	page := &Page{hub: h, id: id, counted: counted, notify: notify}
	if counted {
		if t.open >= MaxPagesPerPayment {
			return nil, ErrTooManyPages
		}
		t.open++
	}
	t.pages = append(t.pages, page)
	return page, nil
}

// leave removes a listener.
func (h *Hub) leave(page *Page) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[page.id]
	if t == nil {
		return
	}
	place := slices.Index(t.pages, page)
	if place < 0 {
		return
	}
	t.pages = slices.Delete(t.pages, place, place+1)
	if page.counted {
		t.open--
	}
	if len(t.pages) == 0 {
		delete(h.topics, page.id)
	}
}

// OpenPages returns how many checkout pages of a payment are open here.
func (h *Hub) OpenPages(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[id]; t != nil {
		return t.open
	}
	return 0
}

// publish shows a state to the payment's pages. Versions never fall, and nothing of the same
// version replaces a final state, so a late hint or a slow reader of the database does no harm.
func (h *Hub) publish(s PageStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[s.ID]
	if t == nil {
		return
	}
	stale := s.Version < t.status.Version || s.Version == t.status.Version && t.status.Final
	if t.status.Body != nil && stale {
		return
	}
	t.setStatus(s)
}

// seed gives a payment's pages their first state, read from the database by the page that just
// joined. What was published meanwhile is at least as new, unless its version is lower.
func (h *Hub) seed(s PageStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.topics[s.ID]; t != nil && (t.status.Body == nil || s.Version > t.status.Version) {
		t.setStatus(s)
	}
}

// setStatus also ends the link with a final status, so that both leave together, in this order.
func (t *topic) setStatus(s PageStatus) {
	t.serial++
	t.status = Frame{Body: s.encode(), Version: s.Version, Final: s.Final, Position: s.position(), serial: t.serial}
	if s.Final {
		t.link = Frame{Body: Unwatched.encode(), serial: t.serial}
	}
	t.wake()
}

// setLink tells the payment's pages how the relay hears of it now.
func (h *Hub) setLink(id string, l Link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topics[id]
	if t == nil {
		return
	}
	body := l.encode()
	if string(body) == string(t.link.Body) {
		return
	}
	t.serial++
	t.link = Frame{Body: body, Position: string(l), serial: t.serial}
	t.wake()
}

func (t *topic) wake() {
	for _, page := range t.pages {
		page.notify()
	}
}

// PaymentID is the id of the page's payment.
func (p *Page) PaymentID() string { return p.id }

// Take returns what the page has not seen yet: the newest status and the newest link, in this
// order. The Body of what it has seen is nil.
func (p *Page) Take() (status, link Frame) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	t := p.hub.topics[p.id]
	if t == nil {
		return Frame{}, Frame{}
	}
	if t.status.serial > p.seen {
		status = t.status
	}
	if t.link.serial > p.seen {
		link = t.link
	}
	p.seen = t.serial
	return status, link
}

// unsettled lists the payments that somebody here looks at or waits for, and that are not known to be final.
func (h *Hub) unsettled() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := make([]string, 0, len(h.topics))
	for id, t := range h.topics {
		if !t.status.Final {
			ids = append(ids, id)
		}
	}
	return ids
}

// Open returns how many checkout pages are open in this process.
func (h *Hub) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, t := range h.topics {
		n += t.open
	}
	return n
}
