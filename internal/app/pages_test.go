package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

// seldom keeps the relay from asking of its own accord.
func seldom(c *app.Config) { c.PollMin, c.PollMax, c.AuditEvery = time.Hour, time.Hour, time.Hour }

func TestPages_hearTheSameOnEveryTransport(t *testing.T) {
	t.Parallel()
	sleep(t, seldom, func(d *dream) {
		_, reference, token := d.pay()
		time.Sleep(5 * time.Second)
		views := map[string]*viewer{}
		ends := map[string]func() string{}
		for _, transport := range everyTransport() {
			views[transport], ends[transport] = d.view(t, token, transport)
		}
		steps := []string{
			`{"status":"PROCESSING"}`, `{"status":"COMPLETED","hint":true}`, `{"status":"FAILED","hint":true}`, // hints that stand
			`{"status":"COMPLETED"}`,
		}
		for i, step := range steps {
			time.Sleep(5*time.Second + time.Duration(i/3)*2*time.Minute) // two minutes before the last: withdrawn
			d.set(reference, step)
		}
		for transport, ended := range ends {
			want := map[string]string{"websocket": "1000", "sse": "end", "poll": "end"}[transport]
			if got := ended(); got != want {
				t.Errorf("the page on %s ends with %s, want %s", transport, got, want)
			}
		}
		// A poll is asked a second later and may miss the hint of what is verified at once; the newest state counts.
		const want = "2 PENDING pending verified true final false via poll; 2 PROCESSING pending verified false final false via realtime; " +
			"3 PROCESSING pending verified true final false via verify; 3 COMPLETED succeeded verified false final false via realtime; " +
			"3 FAILED failed verified false final false via realtime; 3 PROCESSING pending verified true final false via verify; " +
			"3 COMPLETED succeeded verified false final false via realtime; 4 COMPLETED succeeded verified true final true via verify; "
		for _, transport := range everyTransport() {
			got := views[transport].story("status")
			if transport == "poll" {
				continue
			}
			if got != want {
				t.Errorf("%s shows\n%s\nwant\n%s", transport, got, want)
			}
		}
		polled := views["poll"].story("status")
		for i, part := range strings.SplitAfter(want, "; ") {
			if overtaken := i == 1 || i == 6; !overtaken && !strings.Contains(polled, part) {
				t.Errorf("poll shows\n%s\nwithout\n%s", polled, part)
			}
		}
		for transport, v := range views {
			if got := v.story("link"); got != "live; <nil>; " {
				t.Errorf("%s tells of links %s, want live, then none", transport, got)
			}
		}
		// 130 s at 25 s and 1 s a poll, and one for each of up to 8 changes.
		if n := len(views["poll"].of("200")) + len(views["poll"].of("204")); n > 20 {
			t.Errorf("%d polls in two minutes: a tight loop", n)
		}
	})
}

// TestPages_pollByVersionIsRemindedOfAHint is for scripts that send only the version, which a hint shares.
func TestPages_pollByVersionIsRemindedOfAHint(t *testing.T) {
	t.Parallel()
	sleep(t, seldom, func(d *dream) {
		_, reference, token := d.pay()
		time.Sleep(5 * time.Second)
		v := &viewer{d: d, token: token}
		polls := 0
		last := func() string { // polls like an old script for a while
			for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(time.Second) {
				answer, err := v.get(d.t.Context(), "/v1/page/status?since=2&wait=25s", "")
				if err != nil {
					t.Fatal(err)
				}
				if answer.StatusCode == 200 {
					var body strings.Builder
					_, _ = fmt.Fprint(&body, answer.Header.Get("Relay-Position"))
					buffer := make([]byte, 4096)
					n, _ := answer.Body.Read(buffer)
					v.hear("", string(buffer[:n]))
				}
				_ = answer.Body.Close()
				polls++
			}
			seen := v.of("status")
			if len(seen) == 0 {
				return "nothing"
			}
			return fmt.Sprint(seen[len(seen)-1].m["status"])
		}
		d.set(reference, `{"status":"COMPLETED","hint":true}`) // between two polls
		if got := last(); got != "COMPLETED" {
			t.Errorf("a poll after the hint shows %s, want it", got)
		}
		time.Sleep(50 * time.Second) // withdrawn between two polls
		if got := last(); got != "PENDING" {
			t.Errorf("a poll after its withdrawal shows %s, want PENDING", got)
		}
		if polls > 16 {
			t.Errorf("%d polls in 40 s: a tight loop", polls)
		}
	})
}

// TestPages_neverGoBack cuts pages off and lets them come back by any transport, while the payment moves on, hints come and
// the relay is restarted on the same database.
func TestPages_neverGoBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sleep(t, func(c *app.Config) { c.ShutdownGrace = 3 * time.Second }, func(d *dream) {
				_, reference, token := d.pay()
				var mu sync.Mutex
				newest := 0.0 // that anybody was shown
				ctx, leave := context.WithCancel(context.Background())
				var pages sync.WaitGroup
				views := make([]*viewer, 5)
				connections := 0
				for i := range views {
					draw := rand.New(rand.NewPCG(seed, uint64(i)))
					v := &viewer{d: d, token: token}
					views[i] = v
					floor, final := 0.0, false
					v.check = func(m map[string]any) {
						mu.Lock()
						defer mu.Unlock()
						version, _ := m["version"].(float64)
						if version < floor {
							t.Errorf("page %d sees version %v after %v", i, version, floor)
						}
						if m["verified"] == false && m["via"] == "realtime" && final {
							t.Errorf("page %d sees a hint after a final status: %v", i, m)
						}
						floor, newest, final = version, max(newest, version), final || m["final"] == true
					}
					pages.Go(func() {
						for ctx.Err() == nil {
							mu.Lock()
							floor = max(floor, newest) // whoever connects now sees what anybody saw, or newer
							connections++
							mu.Unlock()
							stay, cut := context.WithTimeout(ctx, time.Duration(draw.Int64N(int64(20*time.Second))))
							v.watch(stay, everyTransport()[draw.IntN(3)])
							cut()
							mu.Lock()
							rest := 3 * time.Second
							if final {
								rest = 20 * time.Second
							}
							mu.Unlock()
							pause(ctx, time.Duration(draw.Int64N(int64(rest))))
						}
					})
				}
				draw := rand.New(rand.NewPCG(seed, 99))
				words := []string{
					`{"status":"PROCESSING"}`, `{"status":"COMPLETED","hint":true}`, `{"status":"failed","hint":true}`, `{"status":"FAILED"}`,
					`{"status":"PENDING","hint":true}`, `{"status":"FAILED","silent":true}`, "restart", "restart",
				}
				for range 12 {
					time.Sleep(time.Duration(draw.Int64N(int64(20 * time.Second))))
					switch word := words[draw.IntN(len(words))]; word {
					case "restart":
						d.reboot(time.Duration(draw.Int64N(int64(3 * time.Second))))
					default:
						d.set(reference, word)
					}
				}
				d.set(reference, `{"status":"COMPLETED"}`)
				time.Sleep(2 * time.Minute)
				leave()
				pages.Wait()
				for i, v := range views {
					if seen := v.of("status"); len(seen) == 0 || seen[len(seen)-1].m["outcome"] != "succeeded" {
						t.Errorf("page %d shows at last %s", i, v.story("status"))
					}
				}
				t.Logf("%d connections, version %v", connections, newest)
			})
		})
	}
}
