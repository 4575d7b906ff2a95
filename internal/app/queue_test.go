package app_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestCrowd_silentOnesHoldUpNobody opens more connections than are served at the same time. They say nothing, as in a
// Slowloris attack; who has something to say is heard all the same.
func TestCrowd_silentOnesHoldUpNobody(t *testing.T) {
	t.Parallel()
	sleep(t, polling, func(d *dream) {
		var silent []net.Conn
		for range 1000 {
			silent = append(silent, d.dial())
		}
		began := time.Now()
		conn := d.dial()
		go func() {
			_, _ = fmt.Fprint(conn, "GET /v1/payments HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n")
		}()
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != 401 {
			t.Fatalf("answer = %v, %v, want 401", answer, err)
		}
		_ = answer.Body.Close()
		took := time.Since(began)
		t.Logf("answered after %s, behind 1,000 connections that say nothing", took)
		if took > time.Second {
			t.Errorf("answered after %s behind silent connections, want 1 s at most", took)
		}
		time.Sleep(15 * time.Second)
		for _, c := range append(silent, conn) {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Fatal("a connection that says nothing is kept")
			}
			_ = c.Close()
		}
	})
}
