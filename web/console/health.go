package console

import (
	"fmt"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/web/console/picture"
)

// Tone is how something is meant.
type Tone = picture.Tone

// Health is how the process is doing at a moment.
type Health struct {
	Started  time.Time
	Stopping bool
	// StoreError is why the database could not be read just now, StoreDown whether the relay itself has trouble with it.
	StoreError bool
	StoreDown  bool

	Dollr    Breaker // of status questions
	Budget   Budget
	Keys     Breaker // of realtime keys
	Asked    int     // questions to Dollr that ended in the last minute
	Silent   int     // those of them that brought no truth
	Supabase bool    // whether it is configured
	Sockets  int
	// Deaf is whether channels are wanted and none has been live for a while.
	Deaf     bool
	Channels map[string]int // by state: minting, queued, joining, joined, live, waiting

	Links     map[relay.Link]int // open payments
	Pages     map[string]int     // open checkout pages by transport
	Endpoints []Endpoint
	Replicas  []Replica // on the same database, this one included; none if it cannot be shared
	Pending   int       // callbacks
	Dead      int
}

// Breaker is a breaker's state: closed, half-open or open.
type Breaker struct {
	State string
	Since time.Time     // zero: since the start
	Retry time.Duration // until the next probe; 0 if it may be any moment
}

// Open reports whether it lets nothing or only a probe through.
func (b Breaker) Open() bool { return b.State != "" && b.State != "closed" }

// Budget is how many requests Dollr gets.
type Budget struct {
	Full, Rate float64 // per second, as configured and now
	Held       time.Duration
	Waiting    int
}

// Endpoint is a backend that gets callbacks.
type Endpoint struct {
	Name    string // as in metrics: callback_1
	URL     string // as configured; shown without user and query
	Breaker Breaker
}

// Replica is one of the relays on the same database.
type Replica struct {
	ID       string
	Me       bool
	Left     time.Duration // until its lease runs out; below zero: since then
	Gone     bool          // it has run out, and others take over
	Share    float64       // of the rate, 0 to 1
	Down     bool          // it cannot reach Dollr
	Held     time.Duration // a 429 that it got holds every call
	Payments int           // open ones that it watches
}

// Since is for how long a replica that is gone has been.
func (r Replica) Since() time.Duration { return max(0, -r.Left) }

// Question is a question to Dollr that is over.
type Question struct {
	Via         string
	Sent, Ended time.Time
	Word        string // Dollr's, empty if it brought no truth
	Reason      string // then why, as in last_error
}

// Sweep is the report of a reconciliation.
type Sweep struct {
	Started, Ended                         time.Time // zero: never, and not yet
	Asked, Failed                          int
	Late, Missed, Mismatched, Contradicted int
}

// Remark is something to say, with advice on what to do about it.
type Remark struct {
	Tone   Tone
	Text   string
	Advice string
}

// Here is how many of the open payments this process watches.
func (h Health) Here() int {
	n := 0
	for _, count := range h.Links {
		n += count
	}
	return n
}

// Waiting is how many payments are open, those of other replicas included.
func (h Health) Waiting() int {
	n := h.Here()
	for _, r := range h.Replicas {
		if !r.Me {
			n += r.Payments
		}
	}
	return n
}

// Alone reports whether no other replica is there.
func (h Health) Alone() bool { return h.together() < 2 }

// together is how many replicas there are.
func (h Health) together() int {
	n := 0
	for _, r := range h.Replicas {
		if !r.Gone {
			n++
		}
	}
	return n
}

// Joining reports whether realtime channels are wanted.
func (h Health) Joining() bool {
	for _, n := range h.Channels {
		if n > 0 {
			return true
		}
	}
	return false
}

// PageCount is how many checkout pages are open.
func (h Health) PageCount() int {
	n := 0
	for _, count := range h.Pages {
		n += count
	}
	return n
}

// perSecond is how many requests a second the questions of the last minute were.
func (h Health) perSecond() float64 { return float64(h.Asked) / 60 }

// UsedPercent is how much of the budget the questions of the last minute took.
func (h Health) UsedPercent() float64 {
	if h.Budget.Rate <= 0 {
		return 0
	}
	return min(100, 100*h.perSecond()/h.Budget.Rate)
}

// UsedWords say the same.
func (h Health) UsedWords() string {
	text := fmt.Sprintf("%.1f of %g requests/s", h.perSecond(), h.Budget.Rate)
	if h.Budget.Rate < h.Budget.Full {
		text += fmt.Sprintf(" (%g when recovered)", h.Budget.Full)
	}
	return text
}

// Words says how the relay is doing: the headline first, which is the worst of it, then the rest.
func Words(h Health) []Remark {
	var all []Remark
	say := func(tone Tone, text, advice string) { all = append(all, Remark{tone, text, advice}) }
	waiting := count(h.Waiting(), "payment") + " waiting"

	if h.Stopping {
		say(picture.Wait, "The relay is stopping: what is under way is finished, nothing new is taken.", "")
	}
	if h.StoreDown || h.StoreError {
		say(picture.Bad, "The database does not work. Nothing is lost and nothing is guessed; "+waiting+".",
			"The relay's log says what is wrong: a full disk, or a server that cannot be reached. It goes on by itself.")
	}
	if h.Dollr.Open() {
		say(picture.Bad, "Dollr cannot be reached; "+waiting+". None of them fails because of it.",
			"The relay tries again every 10 s and catches up by itself. If it lasts: dollr-relay doctor.")
	}
	if h.Budget.Held > 0 {
		say(picture.Wait, fmt.Sprintf("Dollr asked for a pause of %s more; %s.", coarse(h.Budget.Held), waiting),
			"It answered 429. The rate is halved and recovers by itself; lower DOLLR_RATE if it comes back.")
	}
	all = append(all, replicaWords(h)...)
	if remark, ok := realtimeWords(h, waiting); ok {
		all = append(all, remark)
	}
	for _, e := range h.Endpoints {
		if e.Breaker.Open() {
			say(picture.Bad, fmt.Sprintf("%s does not take callbacks; %s waiting.", place(e.URL), count(h.Pending, "callback")),
				"Waiting costs no attempt. See what it answered under Callbacks.")
		}
	}
	if h.Dead > 0 {
		say(picture.Bad, count(h.Dead, "callback")+" given up: the backend never took "+them(h.Dead)+".", "Mend the backend, then redeliver under Callbacks.")
	}
	if len(all) > 0 {
		return all
	}
	return []Remark{wellWords(h, waiting)}
}

// realtimeWords tells of trouble with Supabase. Channels that are just being joined are none.
func realtimeWords(h Health, waiting string) (Remark, bool) {
	failed, live := h.Channels["waiting"], h.Channels["live"]
	switch {
	case !h.Supabase:
		return Remark{}, false
	case h.Keys.Open():
		return Remark{picture.Wait, "Dollr gives out no realtime keys, polling instead; " + waiting + ".", "Payments are found by polling meanwhile. dollr-relay doctor tries to mint a key."}, true
	case h.Deaf:
		return Remark{picture.Wait, "Realtime is down, polling instead; " + waiting + ".", "Nothing to do for customers: payments are polled. dollr-relay doctor says why realtime does not work."}, true
	case failed > 0:
		return Remark{picture.Wait, fmt.Sprintf("%s of %d out of order, polling instead; %s.", count(failed, "realtime channel"), failed+live, waiting), "They are joined again by themselves."}, true
	}
	return Remark{}, false
}

// replicaWords tell of trouble with the other replicas.
func replicaWords(h Health) (all []Remark) {
	gone, down := 0, 0
	for _, r := range h.Replicas {
		switch {
		case r.Me:
		case r.Gone:
			gone++
		case r.Down:
			down++
		}
	}
	if gone > 0 {
		all = append(all, Remark{picture.Wait, fmt.Sprintf("%s gone without a word; the others take over what it watched.", count(gone, "replica")), "Its lease has run out. It is forgotten after 10 min, or is back as soon as it renews."})
	}
	if down > 0 && !h.Dollr.Open() {
		all = append(all, Remark{picture.Wait, count(down, "other replica") + " cannot reach Dollr, and this one can.", "Look at the network of that machine."})
	}
	return all
}

// wellWords is what is said when nothing is wrong.
func wellWords(h Health, waiting string) Remark {
	if h.Waiting() == 0 {
		return Remark{picture.Good, "All is well. No payment is waiting.", ""}
	}
	if n := h.together(); n > 1 {
		return Remark{picture.Good, fmt.Sprintf("All is well. %s, shared by %s.", capital(waiting), count(n, "replica")), ""}
	}
	how := "polled"
	switch live := h.Links[relay.Live]; {
	case live == 0:
	case live == 1 && h.Waiting() == 1:
		how = "live"
	case live == h.Waiting():
		how = "all live"
	default:
		how = fmt.Sprintf("%d of them live, the others polled", live)
	}
	return Remark{picture.Good, fmt.Sprintf("All is well. %s, %s.", capital(waiting), how), ""}
}
