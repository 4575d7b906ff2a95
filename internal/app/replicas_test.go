package app_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/pgtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// fleetPatience is for machines on which leases run out while nobody has time to renew them.
const fleetPatience = time.Minute

// fleet is several relays on one PostgreSQL, between one sandbox and one backend.
type fleet struct {
	t      *testing.T
	relays []*system
	config app.Config
}

// TestReplicas is several relays on one database in all sorts of weather. They mostly wait, for leases to run out, so some
// of the tests run at the same time, whatever -parallel says, on one PostgreSQL.
func TestReplicas(t *testing.T) {
	t.Parallel()
	cluster := pgtest.ForTest(t)
	var together errgroup.Group
	together.SetLimit(4)
	for name, test := range map[string]func(*testing.T, *pgtest.Cluster){ //nolint:paralleltest // they run at the same time by themselves
		"sharePayments":         replicasSharePayments,
		"aLookMattersElsewhere": replicasALookMattersElsewhere,
		"D6_lostNews":           replicasD6LostNews,
		"429HoldsAll":           replicas429HoldsAll,
		"reconcileEverywhere":   replicasReconcileEverywhere,
		"D1_databaseGone":       replicasD1DatabaseGone,
		"failover":              replicasFailover,
		"slowDatabase":          replicasSlowDatabase,
		"oneIsCutOff":           replicasOneIsCutOff,
	} {
		together.Go(func() error {
			t.Run(name, func(t *testing.T) { test(t, cluster) })
			return nil
		})
	}
	_ = together.Wait() // never an error: the tests have said what is wrong
}

func startFleet(t *testing.T, cluster *pgtest.Cluster, relays int, edit ...func(*app.Config)) *fleet {
	t.Helper()
	f := &fleet{t: t}
	url := cluster.Database(t)
	first := start(t, func(c *app.Config) {
		c.DatabaseURL = secret.New(url)
		for _, change := range edit {
			change(c)
		}
		f.config = *c
	})
	first.patience = fleetPatience
	f.relays = append(f.relays, first)
	for range relays - 1 {
		f.join()
	}
	return f
}

// join starts one more relay.
func (f *fleet) join() *system {
	f.t.Helper()
	first := f.relays[0]
	another := &system{t: f.t, client: first.client, patience: fleetPatience, received: first.received, sandbox: first.sandbox}
	another.launch(f.config, app.Options{})
	f.relays = append(f.relays, another)
	return another
}

// watched is how many open payments a relay watches.
func (s *system) watched() int {
	n := 0
	for _, link := range []string{"live", "polling", "degraded"} {
		value, _ := strconv.Atoi(s.metric(`dollr_relay_payments{link="` + link + `"}`))
		n += value
	}
	return n
}

// await polls until something holds.
func (f *fleet) await(what string, ok func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(fleetPatience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("never: %s", what)
		}
	}
}

// awaitShared waits until payments are shared out fairly among relays.
func (f *fleet) awaitShared(payments int, relays ...*system) {
	f.t.Helper()
	var counts []int
	limit := (payments*11 + 10*len(relays) - 1) / (10 * len(relays))
	for deadline := time.Now().Add(fleetPatience); ; time.Sleep(50 * time.Millisecond) {
		counts = counts[:0]
		sum, most := 0, 0
		for _, r := range relays {
			n := r.watched()
			counts = append(counts, n)
			sum, most = sum+n, max(most, n)
		}
		if sum == payments && most <= limit {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("the relays watch %v of %d payments, want at most %d each", counts, payments, limit)
		}
	}
}

// channels counts the upstream channels of each payment, by topic.
func (f *fleet) channels() (topics, most int) {
	for _, n := range f.relays[0].call("GET", f.relays[0].sandbox+"/_sandbox/channels", "", 200)["data"].(map[string]any) {
		topics++
		most = max(most, int(n.(float64)))
	}
	return topics, most
}

// replicasSharePayments is the life of a group of relays: payments are shared out, whoever is asked knows everything,
// one leaves, one comes.
func replicasSharePayments(t *testing.T, cluster *pgtest.Cluster) {
	const payments = 60
	f := startFleet(t, cluster, 3)
	ids, references, tokens := make([]string, payments), make([]string, payments), make([]string, payments)
	for i := range payments {
		ids[i], references[i], tokens[i] = f.relays[i%2].pay() // the third is behind no load balancer yet
	}
	f.awaitShared(payments, f.relays...)
	f.await("one channel for each payment", func() bool {
		topics, most := f.channels()
		return topics == payments && most == 1
	})
	for i, r := range f.relays { // every relay knows how every payment is heard of
		for _, id := range ids {
			r.until(id, fmt.Sprintf("live, as relay %d sees it", i), func(p map[string]any) bool { return p["link"] == "live" && p["status"] == "PENDING" })
		}
	}

	for _, r := range f.relays { // and every console
		text := r.untilPage("/", "All is well. 60 payments waiting, shared by 3 replicas.")
		if n := strings.Count(text, "open payments</span>"); n != 3 || strings.Count(text, "this one") != 1 || strings.Count(text, ">well<") != 3 {
			t.Errorf("the console lists %d replicas, want three, one of them itself, all well: %s", n, text)
		}
	}

	// A page, a long poll and the feed at every relay hear of a payment, whoever watches it.
	for i, id := range ids[:6] {
		var pages []*page
		for _, r := range f.relays {
			p := r.open(tokens[i])
			p.until("live", func(m map[string]any) bool { return m["link"] == "live" })
			pages = append(pages, p)
		}
		feed := f.relays[i%3].call("GET", f.relays[i%3].relay+"/v1/events", "", 200)["next_cursor"].(string)
		fed := make(chan int, len(f.relays))
		for _, r := range f.relays {
			go func() {
				fed <- len(r.call("GET", r.relay+"/v1/events?wait=20s&after="+feed, "", 200)["data"].([]any))
			}()
		}
		f.relays[0].set(references[i], `{"status":"COMPLETED"}`)
		for _, p := range pages {
			last := int64(0)
			p.until("verified", func(m map[string]any) bool {
				if v, ok := m["version"].(float64); ok && int64(v) < last {
					t.Errorf("version fell from %d to %v", last, v)
				} else if ok {
					last = int64(v)
				}
				return m["final"] == true && m["outcome"] == "succeeded"
			})
		}
		for range f.relays {
			if n := <-fed; n != 1 {
				t.Errorf("a feed brought %d entries, want 1", n)
			}
		}
		if got := f.relays[0].callback(); got.fields["type"] != "payment.succeeded" || got.fields["data"].(map[string]any)["id"] != id {
			t.Errorf("callback = %s, want the success of %s", got.body, id)
		}
	}

	leaving, rest := f.relays[0], f.relays[1:]
	began := time.Now()
	leaving.stop()
	f.awaitShared(payments-6, rest...)
	t.Logf("handed over %s after the stop began", time.Since(began).Round(time.Millisecond))
	f.relays = rest
	f.awaitShared(payments-6, append(rest, f.join())...)
	f.await("one channel for each payment", func() bool {
		topics, most := f.channels()
		return topics == payments-6 && most == 1
	})
	for i := 6; i < payments; i++ {
		f.relays[0].set(references[i], `{"status":"COMPLETED"}`)
	}
	seen := map[string]bool{}
	for range payments - 6 {
		got := f.relays[0].callback()
		if id := got.header.Get("webhook-id"); seen[id] {
			t.Errorf("callback %s came twice", id)
		} else {
			seen[id] = true
		}
	}
	for _, id := range ids {
		f.relays[1].until(id, "succeeded", func(p map[string]any) bool { return p["outcome"] == "succeeded" })
	}
}

// replicasALookMattersElsewhere: an open page keeps the channel of an old payment that another relay watches.
func replicasALookMattersElsewhere(t *testing.T, cluster *pgtest.Cluster) {
	f := startFleet(t, cluster, 2, func(c *app.Config) { c.RealtimeWindow = time.Second })
	var ids, tokens []string
	for range 8 {
		id, _, token := f.relays[0].pay()
		ids, tokens = append(ids, id), append(tokens, token)
	}
	f.await("no channel after the window", func() bool { topics, _ := f.channels(); return topics == 0 })
	f.awaitShared(len(ids), f.relays...)
	for i := range ids {
		f.relays[i%2].open(tokens[i]).until("live", func(m map[string]any) bool { return m["link"] == "live" })
	}
	if topics, most := f.channels(); topics != len(ids) || most != 1 {
		t.Errorf("%d topics with up to %d channels, want %d with one", topics, most, len(ids))
	}
}

// replicasD6LostNews cuts the connections on which the relays hear each other, again and again: all that is told meanwhile
// is lost, and found all the same.
func replicasD6LostNews(t *testing.T, cluster *pgtest.Cluster) {
	f := startFleet(t, cluster, 2)
	db, err := sql.Open("pgx", f.config.DatabaseURL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, err := db.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database() AND pid <> pg_backend_pid()`)
			if err != nil && ctx.Err() == nil {
				t.Errorf("cut: %v", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	defer func() { stop(); <-done }()
	const payments = 8
	ids, references := make([]string, payments), make([]string, payments)
	var pages []*page
	for i := range payments {
		var token string
		ids[i], references[i], token = f.relays[0].pay()
		pages = append(pages, f.relays[i%2].open(token))
	}
	for _, p := range pages {
		p.until("live", func(m map[string]any) bool { return m["link"] == "live" })
	}
	f.awaitShared(payments, f.relays...)
	for _, reference := range references {
		f.relays[0].set(reference, `{"status":"COMPLETED"}`)
	}
	for _, p := range pages {
		p.until("succeeded", func(m map[string]any) bool { return m["final"] == true && m["outcome"] == "succeeded" })
	}
	for range payments {
		f.relays[0].callback()
	}
}

// replicas429HoldsAll: what Dollr tells one relay, all obey.
func replicas429HoldsAll(t *testing.T, cluster *pgtest.Cluster) {
	f := startFleet(t, cluster, 2, func(c *app.Config) { c.SupabaseURL = "" })
	id, _, _ := f.relays[0].pay()
	f.relays[0].until(id, "read once", func(p map[string]any) bool { return p["status"] == "PENDING" })
	f.relays[0].call("PUT", f.relays[0].sandbox+"/_sandbox/faults", `{"dollr":[{"kind":"code","endpoint":"collection","code":429,"retry_after":"600","times":1}]}`, 200)
	for i, r := range f.relays {
		f.await(fmt.Sprintf("relay %d holds", i), func() bool { return r.verify(id) == http.StatusServiceUnavailable })
	}
	sent := len(f.relays[0].call("GET", f.relays[0].sandbox+"/_sandbox/requests", "", 200)["data"].([]any))
	for _, r := range f.relays {
		if code := r.verify(id); code != http.StatusServiceUnavailable {
			t.Errorf("verify = %d during the hold, want 503", code)
		}
	}
	if now := len(f.relays[0].call("GET", f.relays[0].sandbox+"/_sandbox/requests", "", 200)["data"].([]any)); now != sent {
		t.Errorf("%d requests during the hold, want none", now-sent)
	}
}

// verify asks a relay to verify a payment, and returns the code of its answer.
func (s *system) verify(id string) int {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.relay+"/v1/payments/"+id+"/verify", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	answer, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	return answer.StatusCode
}

// replicasReconcileEverywhere: a sweep that one relay is asked for covers the payments of all, and all know its report.
func replicasReconcileEverywhere(t *testing.T, cluster *pgtest.Cluster) {
	const payments = 40
	f := startFleet(t, cluster, 3, func(c *app.Config) {
		c.SupabaseURL = ""
		c.PollMin, c.PollMax, c.DollrRate = time.Hour, time.Hour, 1000
	})
	ids, references := make([]string, payments), make([]string, payments)
	for i := range payments {
		ids[i], references[i], _ = f.relays[i%3].pay()
	}
	f.awaitShared(payments, f.relays...)
	for _, id := range ids {
		f.relays[0].until(id, "read once", func(p map[string]any) bool { return p["status"] == "PENDING" })
	}
	for _, reference := range references {
		f.relays[0].set(reference, `{"status":"COMPLETED"}`)
	}
	f.relays[2].call("POST", f.relays[2].relay+"/v1/reconcile", "", 202)
	for _, r := range f.relays {
		f.await("the report", func() bool {
			report := r.call("GET", r.relay+"/v1/reconcile", "", 200)
			if report["ended_at"] == nil {
				return false
			}
			if report["asked"].(float64) != payments {
				t.Errorf("report = %v, want %d asked", report, payments)
			}
			return true
		})
	}
	for _, id := range ids {
		if p := f.relays[0].call("GET", f.relays[0].relay+"/v1/payments/"+id, "", 200); p["outcome"] != "succeeded" {
			t.Errorf("after the sweep: %v, want succeeded", p)
		}
	}
}
