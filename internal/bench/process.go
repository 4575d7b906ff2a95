package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// process is a server in a process of its own.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	Public string // host:port
	Admin  string
	ready  time.Duration // from the start to its first word
}

// launch starts a server and waits until it tells its addresses, on either of its outputs.
func launch(ctx context.Context, env []string, binary string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, binary, args...)} //nolint:gosec // what was just built
	p.cmd.Env = env
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	_ = writer.Close()
	lines := bufio.NewScanner(reader)
	var last string
	for p.Public == "" && lines.Scan() {
		var line struct{ Msg, Listen, Admin string }
		last = lines.Text()
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "relay is up" {
			p.Public, p.Admin, p.ready = line.Listen, line.Admin, time.Since(began)
		}
	}
	if p.Public == "" {
		p.kill()
		return nil, fmt.Errorf("%s does not come up; its last words: %s", binary, last)
	}
	go func() {
		for lines.Scan() {
			if text := lines.Text(); strings.Contains(text, `"level":"ERROR"`) {
				fmt.Fprintln(os.Stderr, text)
			}
		}
	}()
	return p, nil
}

// stop asks the server to stop and waits for it.
func (p *process) stop() error {
	_ = p.stdin.Close()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return p.cmd.Wait()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// resident is its memory in bytes.
func (p *process) resident() (int64, error) {
	fields, err := p.proc("statm")
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// watch looks at its memory until the returned function is called, which tells the most.
func (p *process) watch(ctx context.Context) (most func() int64) {
	ctx, stop := context.WithCancel(ctx)
	result := make(chan int64, 1)
	go func() {
		var peak int64
		for ctx.Err() == nil {
			if now, err := p.resident(); err == nil {
				peak = max(peak, now)
			}
			pause(ctx, 5*time.Millisecond)
		}
		result <- peak
	}()
	return func() int64 {
		stop()
		return <-result
	}
}

// cpu is the time that it has computed for.
func (p *process) cpu() (time.Duration, error) {
	fields, err := p.proc("stat")
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, text := range fields[13:15] { // user and system, in hundredths of a second
		ticks, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ticks) * 10 * time.Millisecond
	}
	return sum, nil
}

func (p *process) proc(file string) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	return strings.Fields(string(text)), err
}

// metrics reads the relay's own, by name and labels as they are written.
func (p *process) metrics(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	values := map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if name, text, ok := strings.Cut(lines.Text(), " "); ok && name != "#" {
			if value, err := strconv.ParseFloat(text, 64); err == nil {
				values[name] = value
			}
		}
	}
	return values, lines.Err()
}

var errLate = errors.New("did not happen in time")

// await asks again and again until what is asked for is so.
func await(ctx context.Context, what string, so func() (bool, error)) error {
	deadline := time.Now().Add(patience)
	for {
		ok, err := so()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", what, errLate)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
