package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/pgtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// ready is the code of /readyz.
func (s *system) ready() int {
	s.t.Helper()
	answer, err := http.Get(s.admin + "/readyz")
	if err != nil {
		s.t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// replicasD1DatabaseGone takes the database away for longer than the leases last, while customers pay.
func replicasD1DatabaseGone(t *testing.T, cluster *pgtest.Cluster) {
	var road *pgtest.Road
	f := startFleet(t, cluster, 2, func(c *app.Config) {
		var url string
		road, url = pgtest.NewRoad(t, c.DatabaseURL.Reveal())
		c.DatabaseURL = secret.New(url)
	})
	const payments = 10
	ids, references := make([]string, payments), make([]string, payments)
	var pages []*page
	for i := range payments {
		id, reference, token := f.relays[i%2].pay()
		ids[i], references[i] = id, reference
		f.relays[0].until(id, "read once", func(p map[string]any) bool { return p["status"] == "PENDING" })
		if i < 4 {
			pages = append(pages, f.relays[i/2].open(token))
		}
	}
	for _, p := range pages {
		p.until("live", func(m map[string]any) bool { return m["link"] == "live" })
	}

	road.Cut()
	began := time.Now()
	for _, reference := range references {
		f.relays[0].set(reference, `{"status":"COMPLETED"}`)
	}
	for _, p := range pages {
		p.until("degraded", func(m map[string]any) bool {
			if m["verified"] == true && m["final"] == true {
				t.Errorf("a page heard %v, which is not committed", m)
			}
			return m["link"] == "degraded"
		})
	}
	t.Logf("pages heard of it after %s", time.Since(began).Round(time.Millisecond))
	for i, r := range f.relays {
		if code := r.ready(); code != http.StatusServiceUnavailable {
			t.Errorf("relay %d: /readyz = %d without a database, want 503", i, code)
		}
		if code := r.verify(ids[0]); code < 500 {
			t.Errorf("relay %d: verify = %d without a database, want an error of the server", i, code)
		}
		if err := register(t.Context(), r, "c3f8c5a4-7a14-4a4b-9a38-0f8f3b1f6c11"); err == nil {
			t.Errorf("relay %d acknowledges a registration without a database", i)
		}
	}
	time.Sleep(time.Until(began.Add(9500 * time.Millisecond))) // the leases have run out
	select {
	case got := <-f.relays[0].received:
		t.Errorf("callback %s without a database", got.body)
	default:
	}
	if err := road.Open(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	for i, p := range pages {
		p.until(fmt.Sprintf("the success, page %d", i), func(m map[string]any) bool { return m["final"] == true && m["outcome"] == "succeeded" })
	}
	seen := map[string]bool{}
	for range payments {
		seen[f.relays[0].callback().fields["data"].(map[string]any)["id"].(string)] = true
	}
	if len(seen) != payments {
		t.Errorf("callbacks for %d payments, want %d", len(seen), payments)
	}
	t.Logf("all settled %s after it was back", time.Since(back).Round(time.Millisecond))
	for i, r := range f.relays {
		f.await(fmt.Sprintf("relay %d is ready", i), func() bool { return r.ready() == http.StatusOK })
	}
}

// register registers a payment, without failing the test.
func register(ctx context.Context, s *system, reference string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.relay+"/v1/payments", strings.NewReader(fmt.Sprintf(`{"operation":"payout","reference_id":%q}`, reference)))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	answer, err := s.client.Do(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("code %d", answer.StatusCode)
	}
	return nil
}

// replicasFailover has the database's server go away and another one take its place.
func replicasFailover(t *testing.T, cluster *pgtest.Cluster) {
	var first, second *pgtest.Road
	f := startFleet(t, cluster, 2, func(c *app.Config) {
		var url string
		second, _ = pgtest.NewRoad(t, c.DatabaseURL.Reveal())
		first, url = pgtest.NewRoad(t, c.DatabaseURL.Reveal())
		c.DatabaseURL = secret.New(strings.Replace(url, first.Address(), first.Address()+","+second.Address(), 1))
		second.Cut() // not the primary yet
	})
	id, reference, token := f.relays[0].pay()
	page := f.relays[1].open(token)
	page.until("live", func(m map[string]any) bool { return m["link"] == "live" })
	first.Cut()
	page.until("degraded", func(m map[string]any) bool { return m["link"] == "degraded" })
	if err := second.Open(); err != nil {
		t.Fatal(err)
	}
	for i, r := range f.relays {
		f.await(fmt.Sprintf("relay %d is ready", i), func() bool { return r.ready() == http.StatusOK })
	}
	f.relays[0].set(reference, `{"status":"COMPLETED"}`)
	page.until("succeeded", func(m map[string]any) bool { return m["final"] == true && m["outcome"] == "succeeded" })
	if got := f.relays[0].callback().fields["data"].(map[string]any)["id"]; got != id {
		t.Errorf("callback of %v, want %s", got, id)
	}
}

// replicasSlowDatabase: at 100 ms for every query all is slower and nothing breaks.
func replicasSlowDatabase(t *testing.T, cluster *pgtest.Cluster) {
	var road *pgtest.Road
	f := startFleet(t, cluster, 2, func(c *app.Config) {
		var url string
		road, url = pgtest.NewRoad(t, c.DatabaseURL.Reveal())
		c.DatabaseURL = secret.New(url)
	})
	road.Slow(100 * time.Millisecond)
	const payments = 6
	var pages []*page
	references := make([]string, payments)
	for i := range payments {
		_, reference, token := f.relays[i%2].pay()
		references[i] = reference
		pages = append(pages, f.relays[(i/2)%2].open(token))
	}
	for _, p := range pages {
		p.until("live", func(m map[string]any) bool { return m["link"] == "live" })
	}
	for _, reference := range references {
		f.relays[0].set(reference, `{"status":"COMPLETED"}`)
	}
	for _, p := range pages {
		p.until("succeeded", func(m map[string]any) bool {
			return m["final"] == true && m["outcome"] == "succeeded"
		})
	}
	seen := map[string]bool{}
	for range payments {
		got := f.relays[0].callback()
		if id := got.header.Get("webhook-id"); seen[id] {
			t.Errorf("callback %s came twice", id)
		} else {
			seen[id] = true
		}
	}
}

// replicasOneIsCutOff: a relay that loses the database alone loses its payments to the others, asks nothing more, and
// gets its share back when it returns.
func replicasOneIsCutOff(t *testing.T, cluster *pgtest.Cluster) {
	const payments = 20
	var direct string
	var road *pgtest.Road
	f := startFleet(t, cluster, 1, func(c *app.Config) {
		c.PollMin, c.PollMax = 500*time.Millisecond, time.Second
		c.SupabaseURL = ""
		var url string
		direct = c.DatabaseURL.Reveal()
		road, url = pgtest.NewRoad(t, direct)
		c.DatabaseURL = secret.New(url)
	})
	f.config.DatabaseURL = secret.New(direct)
	alone, other := f.relays[0], f.join()
	ids, references := make([]string, payments), make([]string, payments)
	for i := range payments {
		ids[i], references[i], _ = f.relays[i%2].pay()
	}
	f.awaitShared(payments, f.relays...)
	road.Cut()
	began := time.Now()
	f.awaitShared(payments, other)
	t.Logf("taken over after %s", time.Since(began).Round(time.Millisecond))
	asked := alone.metric(`dollr_relay_dollr_requests_total{endpoint="collection",result="ok"}`)
	for _, reference := range references[:payments/2] {
		other.set(reference, `{"status":"COMPLETED"}`)
	}
	for range payments / 2 {
		other.callback()
	}
	if now := alone.metric(`dollr_relay_dollr_requests_total{endpoint="collection",result="ok"}`); now != asked {
		t.Errorf("the relay without a lease has asked Dollr: %s questions, then %s", asked, now)
	}
	if err := road.Open(); err != nil {
		t.Fatal(err)
	}
	f.awaitShared(payments/2, f.relays...)
	for i, id := range ids {
		want := "pending"
		if i < payments/2 {
			want = "succeeded"
		}
		if p := alone.call("GET", alone.relay+"/v1/payments/"+id, "", 200); p["outcome"] != want || p["contradicted"] != false {
			t.Errorf("payment = %v, want %s and nothing odd", p, want)
		}
	}
}
