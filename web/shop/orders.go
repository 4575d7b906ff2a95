package shop

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// keepOrders bounds the shop's memory: the oldest order is forgotten first.
const keepOrders = 1000

// state is what the shop's people see of an order.
type state string

const (
	awaiting  state = "awaiting"
	fulfilled state = "fulfilled"
	unpaid    state = "unpaid" // the payment failed or was canceled; the customer may try again
	review    state = "review" // a person must look
)

// after is the order's state after a verified callback. Only payment.succeeded fulfils, and what is fulfilled stays so
// unless Dollr contradicts itself.
func (s state) after(event string) state {
	switch event {
	case "payment.succeeded":
		return fulfilled
	case "payment.contradicted":
		return review
	}
	if s == fulfilled {
		return s
	}
	switch event {
	case "payment.failed", "payment.canceled":
		return unpaid
	case "payment.mismatch", "payment.expired":
		return review
	}
	return s
}

// header is a header of a callback, for showing.
type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// delivery is a verified callback as it came.
type delivery struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	At      time.Time       `json:"at"`
	Times   int             `json:"times"` // how often it came; only the first counted
	Headers []header        `json:"headers"`
	Body    json.RawMessage `json:"body"`
}

// order is what a customer bought. Its callbacks are never changed in place, so a copy may be read without the lock.
type order struct {
	Number    string
	Reference string // of the payment at Dollr
	PaymentID string // at the relay
	State     state
	Callbacks []delivery

	changed chan struct{} // closed at the next change
}

// orderBook holds the shop's orders in memory.
type orderBook struct {
	mu     sync.Mutex
	orders map[string]*order
	last   int
}

func newOrderBook() *orderBook {
	return &orderBook{orders: map[string]*order{}, last: 1041}
}

// open books an order that awaits the payment.
func (b *orderBook) open(reference string) order {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	delete(b.orders, strconv.Itoa(b.last-keepOrders))
	o := &order{Number: strconv.Itoa(b.last), Reference: reference, State: awaiting, changed: make(chan struct{})}
	b.orders[o.Number] = o
	return *o
}

// find returns a copy of an order.
func (b *orderBook) find(number string) (order, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.orders[number]
	if !ok {
		return order{}, false
	}
	return *o, true
}

// registered notes the payment's id at the relay.
func (b *orderBook) registered(number, paymentID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o, ok := b.orders[number]; ok {
		o.PaymentID = paymentID
		o.announce()
	}
}

// settle applies a verified callback about a payment to its order, once for each callback id: callbacks come at least
// once. It reports whether there is such an order.
func (b *orderBook) settle(number, reference string, d delivery) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.orders[number]
	if !ok || o.Reference != reference {
		return false
	}
	o.Callbacks = slices.Clone(o.Callbacks)
	if i := slices.IndexFunc(o.Callbacks, func(known delivery) bool { return known.ID == d.ID }); i >= 0 {
		o.Callbacks[i].Times++
	} else {
		d.Times = 1
		o.Callbacks = append(o.Callbacks, d)
		o.State = o.State.after(d.Type)
	}
	o.announce()
	return true
}

// announce wakes who waits for a change. The book is locked.
func (o *order) announce() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// latest returns copies of the newest orders, newest first.
func (b *orderBook) latest(limit int) []order {
	b.mu.Lock()
	defer b.mu.Unlock()
	numbers := slices.SortedFunc(maps.Keys(b.orders), func(x, y string) int {
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return n - m
	})
	var found []order
	for _, number := range numbers[:min(limit, len(numbers))] {
		found = append(found, *b.orders[number])
	}
	return found
}
