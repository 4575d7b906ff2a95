package console

import (
	"fmt"
	"html/template"
	"maps"
	"net/url"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
	"github.com/dollr-relay/dollr-relay/web/console/picture"
)

// functions are those that pages use.
func (c *Console) functions() template.FuncMap {
	return template.FuncMap{
		"short":       picture.Short,
		"since":       func(t time.Time) string { return coarse(c.Now().Sub(t)) },
		"until":       func(t time.Time) string { return coarse(t.Sub(c.Now())) },
		"percent":     func(share float64) string { return fmt.Sprintf("%.0f%%", 100*share) },
		"coarse":      coarse,
		"machine":     func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") },
		"clock":       func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
		"full":        func(t time.Time) string { return t.UTC().Format("Mon 2 Jan 2006 15:04:05.000 MST") },
		"day":         func(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05") },
		"sameDay":     func(t time.Time) bool { return c.Now().UTC().Format(time.DateOnly) == t.UTC().Format(time.DateOnly) },
		"count":       count,
		"pairs":       pairs,
		"place":       place,
		"tone":        outcomeTone,
		"sinceStart":  func(start, t time.Time) string { return "+" + picture.Short(t.Sub(start)) },
		"attemptTone": attemptTone,
		"named": func(class string, d picture.Drawing, story string) any {
			return struct {
				Class, Story string
				Drawing      picture.Drawing
			}{class, story, d}
		},
		"callbackView": func(cb store.Callback, csrf string, named bool) callbackView {
			return callbackView{cb, csrf, named, c.Now()}
		},
	}
}

// coarse is a duration in whole seconds at least: what changes while one reads is not read.
func coarse(d time.Duration) string { return picture.Short(d.Truncate(time.Second)) }

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func them(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

func capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

// pair is one entry of metadata.
type pair struct{ Key, Value string }

// pairs are metadata in the order of its keys.
func pairs(metadata map[string]string) []pair {
	var all []pair
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		all = append(all, pair{key, metadata[key]})
	}
	return all
}

// place is a URL without what may be secret: no user, no query.
func place(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "an unreadable URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// outcomeTone is how an outcome is meant. A mismatch needs a person.
func outcomeTone(o relay.Outcome) Tone {
	switch o {
	case relay.Succeeded:
		return picture.Good
	case relay.Failed, relay.Canceled:
		return picture.Bad
	case relay.Mismatch:
		return picture.Look
	case relay.Expired:
		return picture.Calm
	case relay.Pending:
	}
	return picture.Wait
}

// money is an amount as it is shown: what the payee gets, or the total of a source, or what was expected.
func money(p relay.Payment) string {
	switch a := p.Amounts; {
	case a != nil && a.PayeeAmount != "":
		return a.PayeeAmount + " " + a.PayeeCurrency
	case a != nil && a.TotalAmount != "":
		return a.TotalAmount + " " + a.Currency
	case a != nil && a.PayerAmount != "":
		return a.PayerAmount + " " + a.PayerCurrency
	case p.Expected != nil:
		return p.Expected.Amount + " " + p.Expected.Currency
	}
	return ""
}

// identity is what identifies a payment at Dollr.
func identity(p relay.Payment) string {
	if p.ReferenceID != "" {
		return p.ReferenceID
	}
	return fmt.Sprintf("%s %d", p.SourceType, p.SourceID)
}

// errorWords says why the last question brought no truth.
func errorWords(reason string) string {
	switch reason {
	case "not_found":
		return "Dollr does not know this payment."
	case "refused":
		return "Dollr refuses to tell: another merchant's payment, or the credentials are wrong."
	case "rate_limited":
		return "Dollr asked for a pause."
	case "unreachable":
		return "Dollr could not be reached."
	case "unreadable":
		return "Dollr's answer could not be read, or was about another payment."
	}
	return ""
}

// callbackView is a callback with its button; Named ones tell their payment.
type callbackView struct {
	store.Callback

	CSRF  string
	Named bool
	now   time.Time
}

// Word is the callback's state.
func (v callbackView) Word() string { return stateWord(v.State) }

// Tone is how the state is meant.
func (v callbackView) Tone() Tone {
	switch v.State {
	case callback.Delivered:
		return picture.Good
	case callback.Dead:
		return picture.Bad
	case callback.Pending:
	}
	return picture.Wait
}

// NextWords say when it is tried next.
func (v callbackView) NextWords() string {
	if wait := v.NextAt.Sub(v.now); wait > 0 {
		return "next attempt in " + coarse(wait)
	}
	return "due now"
}

func attemptTone(a store.Attempt) Tone {
	if a.Status >= 200 && a.Status < 300 {
		return picture.Good
	}
	return picture.Bad
}
