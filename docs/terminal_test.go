package docs_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long something may take before a test calls it missing. Nothing here is quick on a busy machine.
const patience = 60 * time.Second

// desk is a clean folder with the built program in it, and what its terminals have in common. The documents' port numbers
// stand for free ones.
type desk struct {
	folder string
	ports  ports
	env    []string
}

// ports replaces a document's ports by the desk's own, and what else differs on this machine. Text may come by twice: only whole
// numbers are ports, and 23000 is not one of the document's.
type ports struct {
	own   map[string]string
	words *strings.Replacer
}

var fourDigits = regexp.MustCompile(`\b\d{4}\b`)

func (p ports) Replace(text string) string {
	return p.words.Replace(fourDigits.ReplaceAllStringFunc(text, func(number string) string {
		return cmp.Or(p.own[number], number)
	}))
}

// program builds the binary once for all tests.
var program = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "dollr-relay-docs-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "dollr-relay")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/dollr-relay").CombinedOutput()
	if err != nil {
		return path, fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{folder: t.TempDir()}
	if err := os.Link(path, filepath.Join(d.folder, "dollr-relay")); err != nil {
		t.Fatal(err)
	}
	own := map[string]string{}
	for _, port := range []string{"8080", "8090", "9090", "3000"} {
		own[port] = freePort(t)
	}
	pairs := []string{
		"dollr-relay sandbox", "dollr-relay sandbox --listen 127.0.0.1:" + own["8090"],
		"python3 ", "/usr/bin/python3 ", // Debian's Django belongs to Debian's Python
	}
	if os.Getenv("NEXT") == "" {
		router, err := filepath.Abs("testdata/approuter.mjs")
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, "npx next dev", "node "+router)
	}
	d.ports = ports{own, strings.NewReplacer(pairs...)}
	// The relay's defaults are the documents' ports, so the documents need not name them.
	d.env = append(os.Environ(), "HOME="+d.folder, "XDG_CONFIG_HOME=", "PYTHONUNBUFFERED=1", "NEXT_TELEMETRY_DISABLED=1",
		d.ports.Replace("RELAY_LISTEN=127.0.0.1:8080"), d.ports.Replace("RELAY_ADMIN_LISTEN=127.0.0.1:9090"),
		d.ports.Replace("RELAY_PUBLIC_URL=http://localhost:8080"))
	return d
}

// taken are the ports that desks of this process have: their owners start later.
var taken sync.Map

// freePort is one below those that the system gives to whoever asks for any, so that nobody takes it meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	var listen net.ListenConfig
	for range 100 {
		port := fmt.Sprint(20_000 + rand.IntN(12_000))
		if _, known := taken.LoadOrStore(port, true); known {
			continue
		}
		listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// terminal is a shell at work, with everything that it has printed.
type terminal struct {
	name string
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced with each write
	end  chan struct{}
	err  error // how it ended; after end
}

func (term *terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	close(term.more)
	term.more = make(chan struct{})
	return term.text.Write(p)
}

func (term *terminal) said() (string, chan struct{}) {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.String(), term.more
}

// waitFor waits until the terminal has printed what is wanted, count times.
func (term *terminal) waitFor(t *testing.T, want string, count int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		text, more := term.said()
		if strings.Count(text, want) >= count {
			return
		}
		select {
		case <-more:
		case <-term.end:
			if text, _ = term.said(); strings.Count(text, want) < count {
				t.Fatalf("%s ended (%v) without %d times %q:\n%s", term.name, term.err, count, want, text)
			}
		case <-deadline:
			t.Fatalf("%s did not print %d times %q:\n%s", term.name, count, want, text)
		}
	}
}

// start pastes code into a new terminal and leaves it running. The function returned ends it and everything that it
// started; so does the end of the test.
func (d *desk) start(t *testing.T, name, code string) (*terminal, func()) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "bash", "-e", "-c", d.ports.Replace(code))
	cmd.Dir, cmd.Env = d.folder, d.env
	term := &terminal{name: name, more: make(chan struct{}), end: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = term, term
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(term.end)
		term.err = cmd.Wait()
	}()
	stop := sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended by itself
		select {
		case <-term.end:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-term.end
		}
		if t.Failed() {
			text, _ := term.said()
			t.Logf("terminal %s:\n%s", name, text)
		}
	})
	t.Cleanup(stop)
	return term, stop
}

// paste runs code to its end and returns what it printed.
func (d *desk) paste(t *testing.T, name, code string) string {
	t.Helper()
	term, stop := d.start(t, name, code)
	defer stop()
	select {
	case <-term.end:
	case <-time.After(patience):
		t.Fatalf("%s does not end", name)
	}
	text, _ := term.said()
	if exit, ok := errors.AsType[*exec.ExitError](term.err); ok {
		t.Fatalf("%s: exit code %d:\n%s", name, exit.ExitCode(), text)
	} else if term.err != nil {
		t.Fatalf("%s: %v", name, term.err)
	}
	return text
}

// sandbox starts the stand-ins and waits until what they print is in sandbox.env: tee prints first, and writes then.
func (d *desk) sandbox(t *testing.T, code string) {
	t.Helper()
	term, _ := d.start(t, "sandbox", code)
	term.waitFor(t, "Control it", 1)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		written, err := os.ReadFile(filepath.Join(d.folder, "sandbox.env"))
		if err == nil && bytes.Contains(written, []byte("Control it")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("sandbox.env is never written: %v", err)
		}
	}
}

// until pastes code again and again until it prints what is wanted.
func (d *desk) until(t *testing.T, what, code, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(d.paste(t, what, code), want); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
