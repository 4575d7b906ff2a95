package console

import (
	"context"
	"net/http"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// age is a range of ages of open payments. They are those in which a payment is asked about differently often.
type age struct {
	Key      string
	Name     string
	Min, Max time.Duration // Max 0: none
}

func ages() []age {
	return []age{
		{"2m", "up to 2 min", 0, 2 * time.Minute},
		{"10m", "2 to 10 min", 2 * time.Minute, 10 * time.Minute},
		{"1h", "10 min to 1 h", 10 * time.Minute, time.Hour},
		{"24h", "1 h to 1 day", time.Hour, 24 * time.Hour},
		{"old", "more than a day", 24 * time.Hour, 0},
	}
}

// ageOf is the range of a key, all ages if there is no such one.
func ageOf(key string) age {
	for _, a := range ages() {
		if a.Key == key {
			return a
		}
	}
	return age{}
}

func links() []relay.Link { return []relay.Link{relay.Live, relay.Polling, relay.Degraded} }

// front is the overview.
type front struct {
	Health   Health
	Remarks  []Remark
	Channels []channelCount
	Ages     []ageRow
	Longest  []line
	Newest   []line
	Mismatch []line
	Against  []line // contradicted successes
	Dead     []store.Callback
	Sweep    Sweep
}

type channelCount struct {
	State string
	N     int
}

// ageRow counts the open payments of an age.
type ageRow struct {
	age

	Total int
	Parts []part
}

// part is a piece of a bar, in percent.
type part struct {
	Link     relay.Link
	N        int
	X, Width float64
}

// overview shows the whole. What the database does not tell is left out; that it does not is said.
func (c *Console) overview(r *http.Request) (page, error) {
	f := front{Health: c.System.Health(r.Context()), Sweep: c.System.Sweep()}
	for _, state := range []string{"live", "joined", "joining", "queued", "minting", "waiting"} {
		if n := f.Health.Channels[state]; n > 0 || state == "live" {
			f.Channels = append(f.Channels, channelCount{state, n})
		}
	}
	f.Ages = c.ageRows()
	if err := c.fill(r, &f); err != nil {
		if r.Context().Err() == nil {
			f.Health.StoreError = true
		}
	}
	f.Remarks = Words(f.Health)
	return page{Template: "overview", Title: "Overview", Section: "overview", Data: f, Headline: f.Remarks[0], Said: said(r.URL.Query())}, nil
}

// fill reads what comes from the database.
func (c *Console) fill(r *http.Request, f *front) (err error) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	r = r.WithContext(ctx)
	ids, _ := c.Payments.Open(relay.Unwatched, 0, 0, fewOnFront)
	if f.Longest, err = c.byID(r, ids); err != nil {
		return err
	}
	newest, _, err := c.Records.List(ctx, store.Filter{Limit: fewOnFront})
	if err != nil {
		return err
	}
	f.Newest = c.lines(newest)
	if f.Mismatch, err = c.recent(ctx, store.Filter{Outcome: relay.Mismatch}); err != nil {
		return err
	}
	if f.Against, err = c.recent(ctx, store.Filter{Contradicted: true}); err != nil {
		return err
	}
	if f.Health.Dead > 0 {
		f.Dead, _, err = c.Records.Callbacks(ctx, callback.Dead, 0, 3)
	}
	return err
}

// recent are the payments that changed in the last days, so that what a person has looked at does not stay forever.
func (c *Console) recent(ctx context.Context, filter store.Filter) ([]line, error) {
	filter.Limit = fewOnFront
	found, _, err := c.Records.List(ctx, filter)
	if err != nil {
		return nil, err
	}
	var recent []relay.Payment
	for _, p := range found {
		if c.Now().Sub(p.UpdatedAt) < attention {
			recent = append(recent, p)
		}
	}
	return c.lines(recent), nil
}

// ageRows are bars of open payments by age; the longest is as long as there is room.
func (c *Console) ageRows() []ageRow {
	all := ages()
	bounds := make([]time.Duration, len(all)-1)
	for i := range bounds {
		bounds[i] = all[i].Max
	}
	census := c.Payments.Census(bounds)
	rows := make([]ageRow, len(all))
	most := 1
	for i, counts := range census {
		rows[i].age = all[i]
		for _, n := range counts {
			rows[i].Total += n
		}
		most = max(most, rows[i].Total)
	}
	for i, counts := range census {
		x := 0.0
		for _, link := range links() {
			width := 100 * float64(counts[link]) / float64(most)
			rows[i].Parts = append(rows[i].Parts, part{link, counts[link], x, width})
			x += width
		}
	}
	return rows
}
