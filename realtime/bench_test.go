package realtime_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// serverProcess, when set, turns this test binary into the stand-in server of a benchmark, so that the numbers are the Feed's own.
const serverProcess = "REALTIME_BENCHMARK_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverProcess) != "" {
		serveBenchmark()
		return
	}
	os.Exit(m.Run())
}

// serveBenchmark prints its URL and changes a row for every reference id that it reads.
func serveBenchmark() {
	srv := realtimetest.New(realtimetest.Options{JWTSecret: secret.New(jwtSecret), SystemDelay: -1, PollInterval: -1, MaxJoinsPerSecond: 1e6})
	web := httptest.NewServer(srv)
	_, _ = fmt.Fprintln(os.Stdout, web.URL)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		srv.Change(realtimetest.Row{"reference_id": lines.Text(), "status": "PROCESSING"})
	}
	srv.Close()
	web.Close()
}

func startServer(b *testing.B) (address string, change io.Writer) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), serverProcess+"=1")
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = input.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line), input
}

// loopbackKeys signs keys itself.
type loopbackKeys struct{ signer *realtimetest.Server }

func (k loopbackKeys) RealtimeKey(context.Context, realtime.Target) (realtime.Key, error) {
	return realtime.Key{Token: secret.New(k.signer.Token(time.Hour)), Lifetime: time.Hour}, nil
}

func benchTarget(i int) realtime.Target {
	return realtime.Target{ID: fmt.Sprintf("pay_%d", i), SessionID: int64(i), ReferenceID: fmt.Sprintf("550e8400-e29b-41d4-a716-%012d", i)}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// BenchmarkFeed joins 10,000 channels on 100 sockets and then measures events: ns/op is the way of one change from the server's
// hand to Notify and back.
func BenchmarkFeed(b *testing.B) {
	const channels = 10_000
	address, change := startServer(b)
	signer := realtimetest.New(realtimetest.Options{JWTSecret: secret.New(jwtSecret)})
	live, changed := make(chan struct{}, channels), make(chan struct{}, channels)
	empty := heap()
	feed, err := realtime.New(realtime.Options{
		URL: address, AnonKey: secret.New(signer.Token(time.Hour)), Keys: loopbackKeys{signer},
		Notify: func(e realtime.Event) {
			switch e.Kind {
			case realtime.Live:
				live <- struct{}{}
			case realtime.Change:
				changed <- struct{}{}
			case realtime.Lost:
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	realtime.Hurry(feed, 1e6)
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(b.Context())
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = feed.Run(ctx) })
	for i := range channels {
		feed.Follow(benchTarget(i))
	}
	for range channels {
		<-live
	}
	stats := feed.Stats()
	if stats.Sockets != channels/100 || stats.Channels["live"] != channels {
		b.Fatalf("%+v, want %d live channels on %d sockets", stats, channels, channels/100)
	}
	perChannel, goroutines := float64(heap()-empty)/channels, float64(runtime.NumGoroutine())
	if most := 10.0 * channels / 100; goroutines > most {
		b.Fatalf("%.0f goroutines, want at most %.0f: some for each socket, none for a channel", goroutines, most)
	}

	before := cpu()
	const burst = 1000
	for i := range burst {
		if _, err := fmt.Fprintln(change, benchTarget(i*7%channels).ReferenceID); err != nil {
			b.Fatal(err)
		}
	}
	for range burst {
		<-changed
	}
	perBurst := cpu() - before
	n := 0
	for b.Loop() {
		n++
		if _, err := fmt.Fprintln(change, benchTarget(n%channels).ReferenceID); err != nil {
			b.Fatal(err)
		}
		<-changed
	}
	b.ReportMetric(perChannel, "B/channel")
	b.ReportMetric(goroutines, "goroutines")
	b.ReportMetric(float64(perBurst.Microseconds())/1000, "cpu-ms/1000-events")
}
