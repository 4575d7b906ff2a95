package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

const (
	perPage    = 50
	maxSearch  = 512 // characters, as many as a value of metadata has at most
	attention  = 7 * 24 * time.Hour
	fewOnFront = 8
)

// line is a payment in a list.
type line struct {
	relay.Payment

	Link  relay.Link
	Money string
	Name  string // what identifies it at Dollr
	Hint  string // what realtime said last, if that stands
}

func (c *Console) lines(found []relay.Payment) []line {
	all := make([]line, len(found))
	for i, p := range found {
		all[i] = line{Payment: p, Link: c.Payments.Link(p), Money: money(p), Name: identity(p), Hint: p.Hint(c.Now())}
	}
	return all
}

// byID reads payments in the order of ids. What has been deleted meanwhile is left out.
func (c *Console) byID(r *http.Request, ids []string) ([]line, error) {
	var found []relay.Payment
	for _, id := range ids {
		p, err := c.Records.Find(r.Context(), id)
		if errors.Is(err, relay.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return c.lines(found), nil
}

// list is the page of payments.
type list struct {
	Lines   []line
	Search  string
	Caption string
	Chips   []chip
	Next    string // address of the next page, empty at the end
}

// chip is a choice among lists.
type chip struct {
	Text, Address string
	Chosen        bool
}

// payments shows what the address asks for: a search, open payments by age and link, or all of an outcome.
func (c *Console) payments(r *http.Request) (page, error) {
	query := r.URL.Query()
	if text := strings.TrimSpace(query.Get("q")); text != "" {
		return c.search(r, text)
	}
	l := list{Chips: chips(query)}
	p := page{Template: "payments", Title: "Payments", Section: "payments"}
	var err error
	switch outcome := query.Get("outcome"); {
	case outcome == string(relay.Pending):
		err = c.openPayments(r, query, &l)
	default:
		filter := store.Filter{Limit: perPage, Contradicted: outcome == "contradicted"}
		if slices.Contains(relay.Outcomes(), relay.Outcome(outcome)) {
			filter.Outcome = relay.Outcome(outcome)
		}
		filter.Before, _ = strconv.ParseInt(query.Get("before"), 10, 64) // what is no number is the start
		var found []relay.Payment
		var next int64
		found, next, err = c.Records.List(r.Context(), filter)
		l.Lines = c.lines(found)
		l.Caption = "Newest first"
		if next > 0 {
			l.Next = "/payments?" + url.Values{"outcome": {outcome}, "before": {strconv.FormatInt(next, 10)}}.Encode()
		}
	}
	p.Data = l
	return p, err
}

// openPayments lists those that this process watches, longest waiting first.
func (c *Console) openPayments(r *http.Request, query url.Values, l *list) (err error) {
	age := ageOf(query.Get("age"))
	link := relay.Link(query.Get("link"))
	if !slices.Contains(links(), link) {
		link = relay.Unwatched
	}
	ids, total := c.Payments.Open(link, age.Min, age.Max, perPage)
	l.Lines, err = c.byID(r, ids)
	l.Caption = count(total, "open payment") + ", longest waiting first"
	if age.Name != "" {
		l.Caption += ", " + age.Name + " old"
	}
	if link != relay.Unwatched {
		l.Caption += ", " + string(link)
	}
	if total > len(ids) {
		l.Caption += "; the first " + strconv.Itoa(len(ids)) + " are shown"
	}
	return err
}

// search shows what matches, or the one payment that does.
func (c *Console) search(r *http.Request, text string) (page, error) {
	var found []relay.Payment
	var err error
	if utf8.RuneCountInString(text) <= maxSearch { // nothing longer is kept
		found, err = c.Records.Search(r.Context(), text, perPage)
	}
	if id := sourceID(text); err == nil && len(found) == 0 && id != "" {
		found, err = c.Records.Search(r.Context(), id, perPage)
	}
	p := page{
		Template: "payments", Title: "Search", Section: "payments", Search: text,
		Data: list{Lines: c.lines(found), Search: text, Caption: count(len(found), "payment") + " found, newest first"},
	}
	if len(found) == 1 {
		p.Elsewhere = "/payments/" + found[0].ID
	}
	return p, err
}

// sourceID is the id of the payment of a source that is written as people do: INVOICE 101. Empty if it is none.
func sourceID(text string) string {
	kind, id, ok := strings.Cut(strings.Replace(text, ":", " ", 1), " ")
	number, err := strconv.ParseInt(strings.TrimSpace(id), 10, 64)
	if !ok || err != nil {
		return ""
	}
	return relay.PaymentID(relay.Source, "", strings.ToUpper(kind), number)
}

func chips(query url.Values) []chip {
	chosen := query.Get("outcome")
	all := []chip{{"All", "/payments", chosen == ""}}
	for _, outcome := range relay.Outcomes() {
		text := capital(string(outcome))
		if outcome == relay.Pending {
			text = "Open"
		}
		all = append(all, chip{text, "/payments?outcome=" + string(outcome), chosen == string(outcome)})
	}
	return append(all, chip{"Contradicted", "/payments?outcome=contradicted", chosen == "contradicted"})
}

// callbackList is the page of callbacks.
type callbackList struct {
	Callbacks []store.Callback
	Chips     []chip
	Next      string
}

func (c *Console) callbacks(r *http.Request) (page, error) {
	query := r.URL.Query()
	state := callback.State(query.Get("state"))
	l := callbackList{Chips: []chip{{"All", "/callbacks", true}}}
	for _, s := range []callback.State{callback.Pending, callback.Delivered, callback.Dead} {
		l.Chips = append(l.Chips, chip{stateWord(s), "/callbacks?state=" + string(s), s == state})
		l.Chips[0].Chosen = l.Chips[0].Chosen && s != state
	}
	if l.Chips[0].Chosen {
		state = ""
	}
	before, _ := strconv.ParseInt(query.Get("before"), 10, 64) // what is no number is the start
	found, next, err := c.Records.Callbacks(r.Context(), state, before, perPage)
	l.Callbacks = found
	if next > 0 {
		l.Next = "/callbacks?" + url.Values{"state": {string(state)}, "before": {strconv.FormatInt(next, 10)}}.Encode()
	}
	return page{Template: "callbacks", Title: "Callbacks", Section: "callbacks", Data: l, Said: said(query)}, err
}

// stateWord is a callback's state in words.
func stateWord(s callback.State) string {
	switch s {
	case callback.Delivered:
		return "Delivered"
	case callback.Dead:
		return "Given up"
	case callback.Pending:
	}
	return "Waiting"
}
