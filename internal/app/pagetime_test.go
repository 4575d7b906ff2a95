package app_test

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

func TestPages_signsOfLifeAndRenewals(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { seldom(c); c.PageTokenTTL = 5 * time.Minute }, func(d *dream) {
		_, _, token := d.pay()
		time.Sleep(time.Second)
		began := time.Now()
		socket, _ := d.view(t, token, "websocket")
		stream, ended := d.view(t, token, "sse")
		if why := ended(); why != "end" || time.Since(began).Round(time.Second) != 10*time.Minute {
			t.Errorf("the event stream ended (%s) after %s, want it rotated after 10 minutes", why, time.Since(began))
		}
		if n := len(stream.of("comment")); n != 39 && n != 40 {
			t.Errorf("%d comments in 10 minutes, want one every 15 s", n)
		}
		for name, v := range map[string]*viewer{"websocket": socket, "sse": stream} {
			pings := v.of("ping")
			for i := 1; i < len(pings); i++ {
				if gap := pings[i].at.Sub(pings[i-1].at); gap < 24*time.Second || gap > 26*time.Second {
					t.Errorf("%s: a ping after %s, want 25 s", name, gap)
				}
			}
			if len(pings) < 23 || len(pings) > 25 {
				t.Errorf("%s: %d pings in 10 minutes", name, len(pings))
			}
			tokens := v.of("token") // at 80 % of 5 minutes
			if len(tokens) != 2 || tokens[0].at.Sub(began).Round(2*time.Second) != 4*time.Minute || tokens[1].at.Sub(tokens[0].at).Round(2*time.Second) != 4*time.Minute {
				t.Errorf("%s: fresh tokens %v, want one after 4 and one after 8 minutes", name, tokens)
			}
		}
		if protocol, messages := socket.of("protocol ping"), socket.of("ping"); len(protocol) != len(messages) {
			t.Errorf("%d protocol pings and %d messages, want them in pairs", len(protocol), len(messages))
		}
		// The token that the page began with has expired; one that it was given in band has not.
		late, ended := d.view(t, token, "websocket")
		if why := ended(); why != "4401" || len(late.of("status")) != 0 {
			t.Errorf("an expired token: closed with %s after %s, want 4401 and nothing shown", why, late.story("status"))
		}
		for _, transport := range []string{"sse", "poll"} {
			if _, ended := d.view(t, token, transport); ended() != "401" {
				t.Errorf("an expired token on %s is not 401", transport)
			}
		}
		fresh := stream.of("token")[1].m["token"].(string)
		if v, _ := d.view(t, fresh, "sse"); true {
			time.Sleep(time.Second)
			if len(v.of("status")) != 1 {
				t.Error("a token that was given in band opens nothing")
			}
		}
	})
}

// dial connects to the relay.
func (d *dream) dial() net.Conn {
	d.t.Helper()
	conn, err := d.public.Load().Dial(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return conn
}

// mute opens a page by hand that sends nothing after its handshake, and returns its connection.
func (d *dream) mute(token string) net.Conn {
	d.t.Helper()
	conn := d.dial()
	if err := knock(conn, token); err != nil {
		d.t.Fatal(err)
	}
	return conn
}

// rest reads until the other side closes.
func rest(conn net.Conn) string {
	var all strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		all.Write(buffer[:n])
		if err != nil {
			return all.String()
		}
	}
}

func TestPages_aPhoneThatSleepsIsLetGo(t *testing.T) {
	t.Parallel()
	sleep(t, seldom, func(d *dream) {
		_, _, token := d.pay()
		for name, says := range map[string]string{"nothing": "", "a ping of its own": "\x89\x80\x00\x00\x00\x00"} {
			conn := d.mute(token)
			began := time.Now()
			if says != "" {
				go func() { _, _ = conn.Write([]byte(says)) }()
			}
			text := rest(conn)
			if !strings.Contains(text, "\x11\x38no pong") { // 0x1138 is 4408
				t.Errorf("a page that answers no ping, but says %s, is closed with %q, want 4408", name, text[max(0, len(text)-40):])
			}
			// The first ping comes after 12.5 to 25 s, and 10 s later it is enough; then 5 s for the answer to the close.
			if took := time.Since(began); took < 22*time.Second || took > 42*time.Second {
				t.Errorf("it is let go after %s", took)
			}
			_ = conn.Close()
		}
		// One that falls asleep so deep that it does not even read.
		conn := d.mute(token)
		head := make([]byte, 4096)
		if _, err := conn.Read(head); err != nil || !strings.Contains(string(head), " 101 ") {
			t.Fatalf("handshake = %q, %v", head, err)
		}
		time.Sleep((25 + 6) * time.Second) // the first ping cannot be written meanwhile
		if n, err := conn.Read(head); err == nil {
			t.Errorf("a page that cannot be written to for 5 s is kept, and gets %q", head[:n])
		}
		_ = conn.Close()
	})
}

func TestPages_haveNothingToSay(t *testing.T) {
	t.Parallel()
	sleep(t, seldom, func(d *dream) {
		_, _, token := d.pay()
		tests := []struct {
			name, says, want string
		}{
			{"a message", "\x81\x82\x00\x00\x00\x00hi", "\x03\xf0"},                                                // 1008
			{"a long one", "\x82\xfe\x13\x88\x00\x00\x00\x00" + strings.Repeat("x", 5000), "\x03\xf1"},             // 1009
			{"a pong and a message", "\x8a\x80\x00\x00\x00\x00\x81\x82\x00\x00\x00\x00hi", "\x03\xf0"},             // 1008
			{"a ping", "\x89\x82\x00\x00\x00\x00hi\x88\x82\x00\x00\x00\x00\x03\xe8", "\x8a\x02hi\x88\x02\x03\xe8"}, // pong, and its own close
		}
		for _, tt := range tests {
			conn := d.mute(token)
			go func() {
				time.Sleep(time.Second) // it has been shown the state by then
				_, _ = conn.Write([]byte(tt.says))
			}()
			began := time.Now()
			if text := rest(conn); !strings.Contains(text, tt.want) || time.Since(began) > 11*time.Second {
				t.Errorf("%s: after %s %q, want %q in it", tt.name, time.Since(began), text[max(0, len(text)-60):], tt.want)
			}
			_ = conn.Close()
		}
	})
}

func TestPages_areSeenOffOneByOne(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { seldom(c); c.ShutdownGrace = 20 * time.Second }, func(d *dream) {
		var ends []func() (string, time.Time)
		var retries []*viewer
		watch := func(transport string) {
			_, _, token := d.pay()
			v, ended := d.view(t, token, transport)
			gone := make(chan time.Time, 1)
			var why string
			go func() { why = ended(); gone <- time.Now() }()
			ends = append(ends, func() (string, time.Time) { at := <-gone; return why, at })
			if transport == "sse" {
				retries = append(retries, v)
			}
		}
		for range 20 {
			watch("websocket")
			watch("sse")
		}
		watch("poll")
		time.Sleep(5 * time.Second)
		stopped := time.Now()
		d.halt()
		took := time.Since(stopped)
		var socket, stream []time.Duration
		for i, end := range ends {
			why, at := end()
			after := at.Sub(stopped)
			switch {
			case i == len(ends)-1:
				if after > time.Second {
					t.Errorf("the long poll was answered after %s, want at once", after)
				}
			case i%2 == 0:
				socket = append(socket, after)
				if why != "1012" {
					t.Errorf("a page is closed with %s, want 1012", why)
				}
			default:
				stream = append(stream, after)
			}
		}
		waits := map[string]bool{}
		for _, v := range retries {
			for _, h := range v.of("retry") {
				waits[fmt.Sprint(h.at)] = true
			}
			if n := len(v.of("retry")); n != 1 {
				t.Errorf("a stream ends with %d retries, want 1", n)
			}
		}
		all := slices.Concat(socket, stream)
		slices.Sort(all)
		if first, last := all[0], all[len(all)-1]; last-first < 10*time.Second || last > 20*time.Second {
			t.Errorf("closes from %s to %s, want them spread over at least half of 20 s", first, last)
		}
		for i := 1; i < len(all); i++ {
			if gap := all[i] - all[i-1]; gap > time.Second {
				t.Errorf("%s between two of 40 closes, want them spread evenly", gap)
			}
		}
		if took > 20*time.Second {
			t.Errorf("it took %s to stop", took)
		}
		d.boot()
	})
}

// TestPages_whoStallsDelaysNobody tells two thousand pages of something at once, half of which do not read. The time is
// invented: what is measured is for how long writes that do not get on are waited for.
func TestPages_whoStallsDelaysNobody(t *testing.T) {
	t.Parallel()
	sleep(t, func(c *app.Config) { polling(c); seldom(c); c.MaxPages, c.DollrRate = 5000, 10_000 }, func(d *dream) {
		const payments, each = 100, 10
		var mu sync.Mutex
		var last []*time.Time // when each healthy page heard something
		var stalled []net.Conn
		var readers sync.WaitGroup
		var someone string
		for range payments {
			id, _, token := d.pay()
			someone = id
			for range each {
				healthy, at := d.dial(), &time.Time{}
				last = append(last, at)
				readers.Go(func() {
					_ = customer(healthy, token, func() {
						mu.Lock()
						*at = time.Now()
						mu.Unlock()
					})
				})
				conn := d.mute(token)
				stalled = append(stalled, conn)
				readers.Go(func() { // takes the handshake, a status and a link
					in := bufio.NewReaderSize(conn, 16)
					for line := "first"; line != "\r\n"; {
						line, _ = in.ReadString('\n')
					}
					for range 2 {
						_, _ = skipFrame(in)
					}
				})
			}
		}
		time.Sleep(5 * time.Second)
		d.weather(`{"dollr_down":true}`)
		changed := time.Now()
		for range 5 { // until the breaker opens, which every page is told at once
			d.call("POST", d.relay+"/v1/payments/"+someone+"/verify", "", 503)
		}
		time.Sleep(4 * time.Second)
		mu.Lock()
		late := time.Duration(0)
		for _, at := range last {
			if at.Before(changed) {
				t.Fatal("a page that reads was told nothing")
			}
			late = max(late, at.Sub(changed))
		}
		mu.Unlock()
		t.Logf("%d pages were told within %s, beside as many that do not read", len(last), late)
		if late > 100*time.Millisecond {
			t.Errorf("pages that do not read delay the others by %s, want 100 ms at most", late)
		}
		time.Sleep(3 * time.Second)
		for _, conn := range stalled {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Fatal("a page that cannot be written to for 5 s is kept")
			}
		}
		d.halt()
		readers.Wait()
		d.boot()
	})
}
