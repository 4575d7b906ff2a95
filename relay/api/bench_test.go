package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/app"
)

// quiet keeps the relay from anything but answering.
func quiet(c *app.Config) { c.DollrRate, c.CallbackURLs = 0.001, nil }

// line is a connection that sends requests as cheaply as possible: client and relay share the processors.
type line struct {
	conn net.Conn
	in   *bufio.Reader
}

func (s *system) dial(b *testing.B) *line {
	conn, err := (&net.Dialer{}).DialContext(context.WithoutCancel(b.Context()), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &line{conn, bufio.NewReader(conn)}
}

func (l *line) send(method, path, body string) (int, error) {
	_, err := fmt.Fprintf(l.conn, "%s %s HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", method, path, apiKey, len(body), body)
	if err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// measure runs b.N requests on so many connections and reports how many a second, and the median.
func measure(b *testing.B, s *system, connections, code int, one func(l *line) (int, error)) {
	b.Helper()
	lines := make([]*line, connections)
	for i := range lines {
		lines[i] = s.dial(b)
	}
	var (
		left  atomic.Int64
		all   sync.WaitGroup
		mu    sync.Mutex
		times []time.Duration
	)
	left.Store(int64(b.N))
	b.ResetTimer()
	began := time.Now()
	for _, l := range lines {
		all.Go(func() {
			var own []time.Duration
			for left.Add(-1) >= 0 {
				start := time.Now()
				if got, err := one(l); err != nil || got != code {
					b.Errorf("answer %d, %v, want %d", got, err, code)
					return
				}
				own = append(own, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
		})
	}
	all.Wait()
	took := time.Since(began)
	b.StopTimer()
	slices.Sort(times)
	if len(times) > 0 {
		b.ReportMetric(float64(len(times))/took.Seconds(), "req/s")
		b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	}
}

// BenchmarkRegister: the promise is a median below 2 ms and 2,000 a second, each on the disk.
func BenchmarkRegister(b *testing.B) {
	for _, connections := range []int{1, 4, 64} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			s := start(b, quiet)
			measure(b, s, connections, http.StatusCreated, func(l *line) (int, error) {
				return l.send("POST", "/v1/payments", fmt.Sprintf(
					`{"operation":"collection","reference_id":%q,"session_id":55,"source_type":"INVOICE","source_id":101,"expected":{"amount":"250.00","currency":"USD"},"metadata":{"order":"1042"}}`, uuid.NewString()))
			})
		})
	}
}

// BenchmarkShow: the promise is 10,000 a second.
func BenchmarkShow(b *testing.B) {
	s := start(b, quiet)
	p := s.pay()
	for _, connections := range []int{1, 2 * runtime.GOMAXPROCS(0), 64} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			measure(b, s, connections, http.StatusOK, func(l *line) (int, error) { return l.send("GET", "/v1/payments/"+p.id, "") })
		})
	}
}
