package relay_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// TestRelay_D1_pagesHearOfABrokenDatabaseWithoutTraffic breaks the database while nobody uses it.
func TestRelay_D1_pagesHearOfABrokenDatabaseWithoutTraffic(t *testing.T) {
	t.Parallel()
	hanging := make(chan struct{})
	for name, broken := range map[string]struct {
		err  error
		hang chan struct{}
	}{"errors": {errors.New("disk I/O error"), nil}, "hangs": {nil, hanging}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beat(t, func(h *heart) {
				hang := broken.hang
				if hang != nil {
					hang = make(chan struct{}) // of this bubble
				}
				p := h.register()
				page := h.page(p.ID)
				h.store.set(broken.err, hang)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if got := link(page); !strings.Contains(got, `"degraded"`) {
					t.Errorf("5 s after the database broke the page heard %q, want degraded", got)
				}
				h.store.set(nil, nil)
				if hang != nil {
					close(hang)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if got := link(page); !strings.Contains(got, `"polling"`) {
					t.Errorf("5 s after it came back the page heard %q, want polling", got)
				}
			})
		})
	}
}

// TestRelay_D5_anAnswerAloneMendsNothing has a database that still reads but takes no write.
func TestRelay_D5_anAnswerAloneMendsNothing(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		page := h.page(p.ID)
		h.store.set(errFull, nil)
		if _, err := h.Observe(t.Context(), p.ID, relay.Truth{Via: relay.ViaPoll, Status: "COMPLETED"}); err == nil {
			t.Fatal("Observe() = nil, want the database's error")
		}
		if got := link(page); !strings.Contains(got, `"degraded"`) {
			t.Errorf("the page heard %q, want degraded", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := link(page); got != "" {
			t.Errorf("while it takes no write the page heard %q, want nothing", got)
		}
	})
}

// TestRelay_lateSuccessIsHeardAfterAFailure keeps listening to a failed payment while its window is open.
func TestRelay_lateSuccessIsHeardAfterAFailure(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		h.live(p.ID)
		h.truth(p.ID, relay.ViaPoll, "FAILED")
		if !h.follows(p.ID) {
			t.Fatal("a failed payment is not followed any more, although a hint would matter")
		}
		before := len(h.asked)
		h.hint(p.ID, "COMPLETED")
		if len(h.asked) != before+1 {
			t.Errorf("the hint caused %d questions, want 1", len(h.asked)-before)
		}
		if got := h.factsOf(p.ID).HintedAt; got.IsZero() {
			t.Error("the schedule does not know of the hint, and would ask again in an hour")
		}
		h.truth(p.ID, relay.ViaVerify, "FAILED") // truth lags behind
		if got := h.factsOf(p.ID).HintedAt; got.IsZero() {
			t.Error("one answer that lags behind ends the asking")
		}
		late := h.truth(p.ID, relay.ViaVerify, "COMPLETED")
		if late.Outcome != relay.Succeeded || !late.Late || late.PreviousOutcome != relay.Failed {
			t.Errorf("payment = %+v, want a late success after failed", late)
		}
		if h.follows(p.ID) {
			t.Error("a succeeded payment is still followed")
		}
	})
}

// TestRelay_failedPaymentIsLeftAtTheEndOfItsWindow gives the channel back.
func TestRelay_failedPaymentIsLeftAtTheEndOfItsWindow(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		h.live(p.ID)
		h.truth(p.ID, relay.ViaPoll, "FAILED")
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if h.follows(p.ID) {
			t.Error("still followed after RELAY_REALTIME_WINDOW without a page")
		}
	})
}

// TestRelay_progressDoesNotHideAHint commits truth while a terminal hint stands that the database has not got.
func TestRelay_progressDoesNotHideAHint(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		h.live(p.ID)
		page := h.page(p.ID)
		h.store.set(nil, make(chan struct{})) // the hint's own commit waits
		hang := h.store.hang
		h.hint(p.ID, "COMPLETED")
		synctest.Wait()
		h.store.set(nil, nil)
		status, _ := page.Take()
		if !strings.Contains(string(status.Body), `"COMPLETED"`) {
			t.Fatalf("the page saw %s, want the hint", status.Body)
		}
		h.truth(p.ID, relay.ViaPoll, "PROCESSING")
		status, _ = page.Take()
		if body := string(status.Body); !strings.Contains(body, `"COMPLETED"`) || !strings.Contains(body, `"version":3`) {
			t.Errorf("then the page saw %s, want the hint that still stands with the new version", body)
		}
		close(hang)
	})
}

// TestRelay_commitWithoutAnswerIsToldLater loses the answer of a commit: the next one that brings nothing
// new must still tell the pages.
func TestRelay_commitWithoutAnswerIsToldLater(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		page := h.page(p.ID)
		truth := relay.Truth{Via: relay.ViaPoll, Status: "COMPLETED"}
		_, _, err := h.store.Store.Apply(t.Context(), p.ID, func(p relay.Payment) (relay.Payment, []relay.Effect) {
			return relay.Decide(p, truth, time.Now())
		})
		if err != nil {
			t.Fatal(err)
		}
		h.truth(p.ID, relay.ViaPoll, "COMPLETED")
		if status, _ := page.Take(); !status.Final {
			t.Errorf("the page saw %q, want the final status", status.Body)
		}
	})
}

// TestRelay_deletedAndRegisteredAnewIsWatched takes RELAY_RETAIN shorter than the watch of a settled payment.
func TestRelay_deletedAndRegisteredAnewIsWatched(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		h.truth(p.ID, relay.ViaPoll, "PENDING")
		h.truth(p.ID, relay.ViaPoll, "PROCESSING")
		h.truth(p.ID, relay.ViaPoll, "FAILED")
		claimed, err := h.store.Claim(t.Context(), "https://shop.example", 1, time.Now(), time.Minute)
		if err != nil || len(claimed) != 1 {
			t.Fatalf("Claim() = %v, %v", claimed, err)
		}
		if _, err := h.store.Bury(t.Context(), time.Now().Add(time.Hour), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n, err := h.store.Prune(t.Context(), time.Now().Add(2*time.Hour)); n != 1 || err != nil {
			t.Fatalf("Prune() = %d, %v", n, err)
		}
		time.Sleep(time.Second)
		again := h.register()
		if got := h.factsOf(again.ID); got.Final || !got.CreatedAt.Equal(again.CreatedAt) {
			t.Errorf("the schedule has %+v, want the new payment", got)
		}
		if got := h.Link(again); got != relay.Polling {
			t.Errorf("Link() = %q, want polling", got)
		}
	})
}

// TestRelay_contradictionIsNoSecondSuccess counts reports by their own kind.
func TestRelay_contradictionIsNoSecondSuccess(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		h.truth(p.ID, relay.ViaPoll, "COMPLETED")
		h.truth(p.ID, relay.ViaReconcile, "FAILED")
		h.truth(p.ID, relay.ViaReconcile, "FAILED")
		if want := []string{"succeeded", "contradicted"}; !slices.Equal(h.told, want) {
			t.Errorf("the monitor heard %v, want %v", h.told, want)
		}
	})
}

func TestC19_everyProofIsFollowedByAQuestion(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		h.live(p.ID)
		for proof := range 3 { // also when it was live already
			before := len(h.questions())
			h.Hear(p.ID, relay.Heard{Live: true})
			if got := len(h.questions()) - before; got != 1 {
				t.Errorf("proof %d is followed by %d questions, want 1", proof+1, got)
			}
			h.hint(p.ID, "PROCESSING") // while that question may be under way
			if got := len(h.questions()) - before; got != 2 {
				t.Errorf("a change after proof %d makes %d questions, want one more", proof+1, got)
			}
		}
	})
}

// TestRelay_missedByRealtime tells a deaf channel from one that has told already, or has not had to.
func TestRelay_missedByRealtime(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		happen func(h *heart, id string)
		missed int
	}{
		{"an audit sees it first", func(h *heart, id string) { h.truth(id, relay.ViaAudit, "PROCESSING") }, 1},
		{"an audit sees success first", func(h *heart, id string) { h.truth(id, relay.ViaAudit, "COMPLETED") }, 1},
		{"a sweep sees it first", func(h *heart, id string) { h.truth(id, relay.ViaReconcile, "PROCESSING") }, 1},
		{"a hint without a word", func(h *heart, id string) { h.hint(id, ""); h.truth(id, relay.ViaAudit, "PROCESSING") }, 0},
		{"a hint before", func(h *heart, id string) { h.hint(id, "PROCESSING"); h.truth(id, relay.ViaVerify, "PROCESSING") }, 0},
		{"nothing has changed", func(h *heart, id string) { h.truth(id, relay.ViaAudit, "PENDING") }, 0},
		{"it was not live", func(h *heart, id string) {
			h.Hear(id, relay.Heard{})
			h.truth(id, relay.ViaAudit, "PROCESSING")
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			beat(t, func(h *heart) {
				p := h.register()
				h.live(p.ID)
				time.Sleep(2 * time.Minute)
				tt.happen(h, p.ID)
				missed := 0
				for _, what := range h.told {
					if what == "missed" {
						missed++
					}
				}
				if missed != tt.missed {
					t.Errorf("%d misses counted, want %d", missed, tt.missed)
				}
			})
		})
	}
}

// TestRelay_whatWasNotSentWasNotAsked keeps the few questions after the end from being used up while Dollr is known not to
// answer.
func TestRelay_whatWasNotSentWasNotAsked(t *testing.T) {
	t.Parallel()
	for _, unsent := range []bool{true, false} {
		beat(t, func(h *heart) {
			p := h.register()
			h.truth(p.ID, relay.ViaPoll, "PENDING")
			h.truth(p.ID, relay.ViaPoll, "FAILED")
			before := h.factsOf(p.ID).LastAsked
			h.answer = func(relay.Question) (relay.Payment, bool, error) {
				return relay.Payment{}, false, &relay.AskError{Reason: "unreachable", Unsent: unsent, Err: errors.New("no answer")}
			}
			time.Sleep(time.Hour)
			h.Check(h.t.Context(), p.ID, relay.ViaReconcile, relay.UrgentOld)
			h.Hear(p.ID, relay.Heard{Live: true}) // the schedule is told anew
			if same := h.factsOf(p.ID).LastAsked.Equal(before); same != unsent {
				t.Errorf("unsent %t: last asked at %s, before at %s", unsent, h.factsOf(p.ID).LastAsked, before)
			}
		})
	}
}

func TestRelay_whoIsLookedAtHurries(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		want := func(what string, n int) {
			h.t.Helper()
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.hurried) != n || n > 0 && h.hurried[n-1] != p.ID {
				h.t.Errorf("%s: hurried %q, want the payment %d times", what, h.hurried, n)
			}
		}
		want("nobody looks", 0)
		first := h.page(p.ID)
		want("a page opens", 1)
		second := h.page(p.ID)
		want("a second page opens", 1)
		h.ClosePage(first)
		h.ClosePage(second)
		h.page(p.ID)
		want("a page opens again", 2)
	})
}
