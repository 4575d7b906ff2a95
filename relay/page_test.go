package relay_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestPage_awayForAMomentKeepsTheChannel(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		time.Sleep(11 * time.Minute) // the window is over
		if h.follows(p.ID) {
			t.Fatal("followed beyond its window without a page")
		}
		for poll := range 5 {
			page := h.page(p.ID)
			time.Sleep(25 * time.Second)
			h.ClosePage(page)
			time.Sleep(time.Second)
			if !h.follows(p.ID) {
				t.Fatalf("not followed after long poll %d, want the channel kept between two", poll)
			}
		}
		time.Sleep(time.Minute)
		if h.follows(p.ID) {
			t.Error("still followed a minute after the last page has gone")
		}
	})
}

// TestPage_thatIsSlowCostsOneMessage changes what a page shows again and again while the page does not look.
func TestPage_thatIsSlowCostsOneMessage(t *testing.T) {
	t.Parallel()
	beat(t, func(h *heart) {
		p := h.register()
		h.live(p.ID)
		page := h.page(p.ID)
		held := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		words := func(n int) {
			for i := range n {
				h.hint(p.ID, []string{"COMPLETED", "FAILED"}[i%2])
			}
		}
		words(100)
		before := held()
		words(2001)
		t.Logf("2,001 hints later the heap has changed by %d bytes", int64(held())-int64(before))
		status, _ := page.Take()
		if !strings.Contains(string(status.Body), `"status":"COMPLETED"`) {
			t.Errorf("the page takes %s, want the newest", status.Body)
		}
		if again, link := page.Take(); again.Body != nil || link.Body != nil {
			t.Errorf("and then %s, want nothing more", fmt.Sprint(string(again.Body), string(link.Body)))
		}
		h.ClosePage(page)
	})
}
