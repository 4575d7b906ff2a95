//go:build !race

// What a heap holds under the race detector is not what it holds without, and the detector of Go 1.26.8 crashed here
// once in some thirty runs: threads that run a bubble's timers at the same time share one of its stacks.

package app_test

import (
	"bufio"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

// TestPages_whoStallsCostsNoMemory shows many changes to a thousand pages that do not read. What is kept for them is one state,
// however much they miss: the heap grows no more than by as many changes that no page sees. The test has the process to
// itself, because the heap is everybody's.
//
//nolint:paralleltest // see above
func TestPages_whoStallsCostsNoMemory(t *testing.T) {
	sleep(t, func(c *app.Config) { seldom(c); c.MaxPages, c.DollrRate = 5000, 10_000 }, func(d *dream) {
		var references, tokens []string
		for range 50 {
			_, reference, token := d.pay()
			references, tokens = append(references, reference), append(tokens, token)
		}
		time.Sleep(10 * time.Second) // realtime is live for all
		// grown opens the pages, changes what they show, and returns by how much the heap grows meanwhile.
		grown := func(each int, page func(net.Conn, string)) (bytes int64, conns []net.Conn, gone func()) {
			var pages sync.WaitGroup
			for _, token := range tokens {
				for range each {
					conn := d.dial()
					conns = append(conns, conn)
					pages.Go(func() { page(conn, token) })
				}
			}
			time.Sleep(time.Second)
			for i := range 35 {
				if i == 5 { // whoever stalls does so by now
					bytes = -heap()
				}
				for _, reference := range references {
					d.set(reference, []string{`{"status":"COMPLETED","hint":true}`, `{"status":"FAILED","hint":true}`}[i%2])
				}
				time.Sleep(10 * time.Millisecond)
			}
			bytes += heap()
			return bytes, conns, func() {
				for _, conn := range conns {
					_ = conn.Close()
				}
				pages.Wait()
			}
		}

		alone, _, gone := grown(0, nil)
		gone()
		stalled, conns, gone := grown(20, func(conn net.Conn, token string) { // takes the answer to the upgrade, a status and a link
			_ = knock(conn, token)
			in := bufio.NewReaderSize(conn, 16)
			for line := "first"; line != "\r\n"; {
				line, _ = in.ReadString('\n')
			}
			for range 2 {
				_, _ = skipFrame(in)
			}
		})
		defer gone()
		for _, conn := range conns {
			if n, err := conn.Read(make([]byte, 1)); n != 1 {
				t.Fatalf("a page that stalls has ended: %v", err)
			}
		}
		t.Logf("the heap grew by %d KB with no page open, by %d KB with pages that do not read", alone>>10, stalled>>10)
		if stalled > alone+1<<20 {
			t.Errorf("pages that do not read made the heap grow by %d bytes, none by %d", stalled, alone)
		}
	})
}

// heap is how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools let go of
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
