package realtime

import (
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// Options tell a [Feed] where to listen and whom to tell. URL, AnonKey, Keys and Notify are required.
type Options struct {
	// URL of the Supabase project, http or https.
	URL string
	// AnonKey opens sockets; each channel joins with its payment's own key.
	AnonKey secret.Value
	// Keys mints the payments' keys. At most 32 calls are under way at once, and 32 more for payments in a hurry.
	Keys Keys
	// Notify hears every [Event], in order for each payment, one call at a time. It must not block.
	Notify func(Event)
	// HTTPClient dials. Default: one of its own. Redirects are not followed, they would carry the anon key elsewhere.
	HTTPClient *http.Client
	// Logger hears changes of state, never keys or payloads. Default: none.
	Logger *slog.Logger
	// JoinsPerSecond over all sockets; default and at most 20, so that a payment rush never meets the project's own limit.
	JoinsPerSecond float64
	// Hooks receive measurements.
	Hooks Hooks
	// Now is the wall clock that events are stamped with. All decisions use the monotonic clock. Default [time.Now].
	Now func() time.Time
	// Random is in [0, 1) and spreads retries and renewals; called by one goroutine. Default [rand.Float64].
	Random func() float64
}

// Hooks receive measurements. Each may be nil, must not block, and gets words of small fixed sets only.
type Hooks struct {
	Join      func()                    // a phx_join was sent
	Rejoin    func(reason string)       // a channel failed and will be joined again, by [Reasons] or what Rejoin was given
	Closed    func(reason string)       // a socket ended, or could not be opened: http_401, close_1012, heartbeat, …
	Heartbeat func(round time.Duration) // round trip of a heartbeat
	Ignored   func(what string)         // a frame that does not count, by [Ignorable]
}

// Stats are the present numbers, for gauges.
type Stats struct {
	Sockets  int            // open ones
	Channels map[string]int // by state: minting, queued, joining, joined, live, waiting
}

// Feed follows payments. Create it with [New], then [Feed.Run] it.
type Feed struct {
	opts     Options
	log      *slog.Logger
	client   *http.Client
	endpoint string

	inbox chan any
	wake  chan struct{}
	done  chan struct{} // closed when the loop has ended

	mu       sync.Mutex
	commands []any
	stats    Stats
}

// New checks the options and starts nothing.
func New(o Options) (*Feed, error) {
	var problems []error
	address, err := endpoint(o.URL, o.AnonKey.Reveal())
	if err != nil {
		problems = append(problems, err)
	}
	if o.AnonKey.IsZero() {
		problems = append(problems, errors.New("realtime: AnonKey is missing"))
	}
	if o.Keys == nil {
		problems = append(problems, errors.New("realtime: Keys is missing"))
	}
	if o.Notify == nil {
		problems = append(problems, errors.New("realtime: Notify is missing"))
	}
	if o.JoinsPerSecond < 0 || o.JoinsPerSecond > maxJoins {
		problems = append(problems, errors.New("realtime: JoinsPerSecond is not between 0 and 20"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	o.JoinsPerSecond = cmp.Or(o.JoinsPerSecond, maxJoins)
	return &Feed{
		opts: o, log: o.Logger, client: noRedirects(o.HTTPClient), endpoint: address,
		inbox: make(chan any, 256), wake: make(chan struct{}, 1), done: make(chan struct{}),
		stats: Stats{Channels: map[string]int{}},
	}, nil
}

func noRedirects(client *http.Client) *http.Client {
	if client == nil {
		client = &http.Client{}
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

type (
	followCommand   struct{ target Target }
	unfollowCommand struct{ id string }
	rejoinCommand   struct{ id, reason string }
	hurryCommand    struct{ id string }
)

// Follow takes a payment on; it does nothing for one that is followed already. It never blocks and may come before [Feed.Run].
func (f *Feed) Follow(t Target) { f.command(followCommand{t}) }

// Unfollow drops a payment. An event about it that is under way may still arrive.
func (f *Feed) Unfollow(id string) { f.command(unfollowCommand{id}) }

// Rejoin is for a change that others saw first: the subscription cannot be trusted, so the payment is [Lost] until a new one
// is live. reason must be a word of a small fixed set, because it goes into metrics.
func (f *Feed) Rejoin(id, reason string) { f.command(rejoinCommand{id, reason}) }

// Hurry asks for the key of a payment before those of payments that nobody looks at. It holds until [Feed.Unfollow].
func (f *Feed) Hurry(id string) { f.command(hurryCommand{id}) }

func (f *Feed) command(c any) {
	f.mu.Lock()
	f.commands = append(f.commands, c)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Stats returns the present numbers.
func (f *Feed) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Stats{Sockets: f.stats.Sockets, Channels: maps.Clone(f.stats.Channels)}
}

// tell hands a message to the loop, or drops it when the loop has ended.
func (f *Feed) tell(message any) {
	select {
	case f.inbox <- message:
	case <-f.done:
	}
}
