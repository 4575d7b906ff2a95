package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/dollr-relay/dollr-relay/internal/sandbox"
)

const manyPages = 10_000

// BenchmarkPages_idle prints what open pages cost that nothing happens to. The relay is the built
// binary in a process of its own, with as many payments as pages; the customers are here.
func BenchmarkPages_idle(b *testing.B) {
	p, tokens := startProcess(b, manyPages)
	live, resident := p.live(), p.resident()
	pages := newCrowd(b, p.relay, tokens)
	for b.Loop() {
		opened := pages.open(64)
		p.waitForPages(manyPages)
		time.Sleep(30 * time.Second) // every page has been pinged
		cpu, began := p.cpu(), time.Now()
		time.Sleep(25 * time.Second)
		share := float64(p.cpu()-cpu) / float64(time.Since(began))
		b.ReportMetric(float64(p.live()-live)/manyPages, "live-B/page")
		b.ReportMetric(float64(p.resident()-resident)/manyPages, "B/page")
		b.ReportMetric(float64(p.resident())/1e6, "MB")
		b.ReportMetric(share*100, "cpu-%")
		b.ReportMetric(opened.Seconds(), "open-s")
		pages.cut()
		p.waitForPages(0)
	}
}

// BenchmarkPages_storm prints how fast all pages are back after all were cut at once, and the memory for it.
func BenchmarkPages_storm(b *testing.B) {
	p, tokens := startProcess(b, manyPages)
	pages := newCrowd(b, p.relay, tokens)
	pages.open(64)
	p.waitForPages(manyPages)
	time.Sleep(3 * time.Second)
	for b.Loop() {
		before, most := p.resident(), atomic.Int64{}
		ctx, cancel := context.WithCancel(b.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			for ctx.Err() == nil {
				most.Store(max(most.Load(), p.resident()))
				time.Sleep(5 * time.Millisecond)
			}
		})
		pages.cut()
		back := pages.open(manyPages)
		cancel()
		watching.Wait()
		b.ReportMetric(back.Seconds(), "back-s")
		b.ReportMetric(float64(before)/1e6, "before-MB")
		b.ReportMetric(float64(most.Load())/1e6, "peak-MB")
		p.waitForPages(manyPages)
		time.Sleep(3 * time.Second)
		b.ReportMetric(float64(p.resident())/1e6, "after-MB")
	}
}

// process is a relay in a process of its own.
type process struct {
	*system

	pid int
}

// startProcess builds the binary and runs a relay that does nothing by itself, with n payments, and
// returns their page tokens.
func startProcess(b *testing.B, n int) (*process, []string) {
	b.Helper()
	folder := b.TempDir()
	binary := filepath.Join(folder, "dollr-relay")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, "../../cmd/dollr-relay").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	stand := sandbox.New(sandbox.Options{})
	server := httptest.NewServer(stand.Handler())
	b.Cleanup(server.Close)
	cmd := exec.Command(binary, "serve")
	cmd.Env = append(os.Environ(), "RELAY_LISTEN=127.0.0.1:0", "RELAY_ADMIN_LISTEN=127.0.0.1:0",
		"RELAY_DATABASE_URL=sqlite:"+filepath.Join(folder, "relay.db"), "RELAY_API_KEYS="+apiKey, "RELAY_PAGE_SECRETS="+strings.Repeat("page-secret-", 4),
		"RELAY_POLL_MIN=1h", "RELAY_POLL_MAX=1h", "DOLLR_RATE=10000", "RELAY_SHUTDOWN_GRACE=1s", "RELAY_MAX_PAGES="+strconv.Itoa(2*n))
	for _, pair := range sandbox.Environment(server.URL) {
		if !strings.HasPrefix(pair[0], "SUPABASE") {
			cmd.Env = append(cmd.Env, pair[0]+"="+pair[1])
		}
	}
	log, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &process{&system{t: b, client: http.DefaultClient}, cmd.Process.Pid}
	lines := bufio.NewScanner(log)
	for p.relay == "" && lines.Scan() {
		var line struct{ Msg, Listen, Admin string }
		_ = json.Unmarshal(lines.Bytes(), &line)
		if line.Msg == "relay is up" {
			p.relay, p.admin = "http://"+line.Listen, "http://"+line.Admin
		}
	}
	if p.relay == "" {
		b.Fatal("the relay does not come up")
	}
	go func() {
		for lines.Scan() { // so that the log never fills the pipe
			_ = lines.Text()
		}
	}()
	return p, p.register(n)
}

func (p *process) register(n int) []string {
	tokens := make([]string, n)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 32 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				known := p.call("POST", p.relay+"/v1/payments", fmt.Sprintf(`{"operation":"payout","reference_id":%q}`, uuid.NewString()), 201)
				tokens[i] = known["page"].(map[string]any)["token"].(string)
			}
		})
	}
	wg.Wait()
	time.Sleep(3 * time.Second) // for the first questions about them
	return tokens
}

func (p *process) waitForPages(n int) {
	p.t.Helper()
	const name = `dollr_relay_pages{transport="websocket"}`
	for deadline := time.Now().Add(patience); p.metric(name) != strconv.Itoa(n); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("never %d open pages, but %s", n, p.metric(name))
		}
	}
}

// live is what the Go runtime holds: the heap with its garbage, and stacks.
func (p *process) live() int64 {
	p.t.Helper()
	sum := 0.0
	for _, name := range []string{"go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes"} {
		bytes, err := strconv.ParseFloat(p.metric(name), 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += bytes
	}
	return int64(sum)
}

// resident is the process's resident memory in bytes.
func (p *process) resident() int64 {
	p.t.Helper()
	fields := p.proc("statm")
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// cpu is the time that the process has computed for.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	sum := int64(0)
	for _, text := range p.proc("stat")[13:15] { // user and system, in hundredths of a second
		ticks, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += ticks
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

func (p *process) proc(file string) []string {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Fields(string(bytes.TrimSpace(text)))
}
