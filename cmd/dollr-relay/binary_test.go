package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// folder is for what the tests build; TestMain makes it and removes it.
var folder string

// binary builds the program once for all tests of this package that need it.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "dollr-relay")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", &buildError{string(out)}
	}
	return path, nil
})

type buildError struct{ out string }

func (e *buildError) Error() string { return "build: " + e.out }

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "dollr-relay-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// command is the built program with nothing but env as its environment.
func command(tb testing.TB, env map[string]string, args ...string) *exec.Cmd {
	tb.Helper()
	path, err := binary()
	if err != nil {
		tb.Fatal(err)
	}
	c := exec.CommandContext(tb.Context(), path, args...)
	c.Dir = tb.TempDir()
	c.Env = []string{"HOME=" + c.Dir}
	for name, value := range env {
		c.Env = append(c.Env, name+"="+value)
	}
	return c
}

// finish runs a command to its end.
func finish(tb testing.TB, c *exec.Cmd) (code int, stdout, stderr string) {
	tb.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	_ = c.Wait() // the code says it
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// good is a configuration that can start, on ports of its own.
func good(tb testing.TB) map[string]string {
	tb.Helper()
	return map[string]string{
		"DOLLR_BASE_URL": "http://127.0.0.1:1", "DOLLR_CLIENT_ID": "client", "DOLLR_CLIENT_SECRET": "client-secret-of-this-test",
		"RELAY_API_KEYS": strings.Repeat("k", 32), "RELAY_PAGE_SECRETS": strings.Repeat("p", 32),
		"RELAY_LISTEN": "127.0.0.1:0", "RELAY_ADMIN_LISTEN": "127.0.0.1:0",
		"RELAY_DATABASE_URL": "sqlite:" + filepath.Join(tb.TempDir(), "relay.db"),
	}
}
