package shop

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"time"
)

// product is something that the shop sells.
type product struct {
	ID, Name, Note, Price, Picture string
}

const currency = "USD"

// products are what the shop sells. Prices are decimal text: money is no float.
func products() []product {
	return []product{
		{"coffee", "Highland coffee, 1 kg", "Roasted in Addis on Tuesday", "18.50", "coffee.svg"},
		{"basket", "Bolga basket", "Woven in Bolgatanga by hand", "42.00", "basket.svg"},
		{"lamp", "Solar lamp", "Ten hours of light from one day of sun", "250.00", "lamp.svg"},
	}
}

// The states of an order.
const (
	awaiting  = "awaiting payment"
	fulfilled = "fulfilled"
	released  = "released" // the payment failed: the goods go back to the shelf
	onHold    = "on hold"  // a person must look
)

// order is one order as the shop's backend keeps it.
type order struct {
	Number    string     `json:"number"`
	Product   product    `json:"-"`
	State     string     `json:"state"`
	Reason    string     `json:"reason"`
	PaymentID string     `json:"payment_id"`
	Reference string     `json:"reference_id"`
	Token     string     `json:"-"`
	PlacedAt  time.Time  `json:"placed_at"`
	Received  []received `json:"received"`
}

// received is one callback that arrived for an order.
type received struct {
	ID        string          `json:"id"`
	At        time.Time       `json:"at"`
	Type      string          `json:"type"`
	Repeated  bool            `json:"repeated"`
	Signature string          `json:"signature"`
	Timestamp string          `json:"timestamp"`
	Body      json.RawMessage `json:"body"`
}

// orders is the shop's database: a map, because it is a demo.
type orders struct {
	mu      sync.Mutex
	next    int
	byID    map[string]*order
	changed chan struct{} // closed at the next change
}

func newOrders() *orders {
	return &orders{next: 1042, byID: map[string]*order{}, changed: make(chan struct{})}
}

// number gives out the next order number.
func (o *orders) number() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	number := strconv.Itoa(o.next)
	o.next++
	return number
}

func (o *orders) add(placed order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byID[placed.Number] = &placed
}

// find returns a copy of an order, and a channel that is closed when any order changes after it.
func (o *orders) find(number string) (order, <-chan struct{}, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.byID[number]
	if known == nil {
		return order{}, nil, false
	}
	found := *known
	found.Received = slices.Clone(known.Received)
	return found, o.changed, true
}

// change edits an order; it reports false if there is none.
func (o *orders) change(number string, edit func(*order)) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.byID[number]
	if known == nil {
		return false
	}
	edit(known)
	close(o.changed)
	o.changed = make(chan struct{})
	return true
}
