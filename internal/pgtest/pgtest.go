// Package pgtest runs a PostgreSQL of the tests' own: a private cluster in a temporary folder, on a
// loopback port, never one of the system's.
package pgtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, under its name pgx
)

// Cluster is a running PostgreSQL server.
type Cluster struct {
	folder string
	bin    string // where its programs are
	port   string
	run    *syscall.Credential // whom its programs run as; nil: as we do
	server *exec.Cmd
	made   atomic.Int64
}

// Start makes a cluster and starts it. PostgreSQL refuses to run as root, so then its programs run
// as the user that Debian's package has made.
func Start(ctx context.Context) (*Cluster, error) {
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(programs) == 0 {
		return nil, errors.New("pgtest: PostgreSQL is not installed; run scripts/setup.sh system")
	}
	slices.Sort(programs)
	c := &Cluster{bin: filepath.Dir(programs[len(programs)-1])}
	if os.Getuid() == 0 {
		if c.run, err = credential("postgres"); err != nil {
			return nil, err
		}
	}
	if c.folder, err = os.MkdirTemp("", "pgtest-"); err != nil {
		return nil, err
	}
	if c.run != nil {
		if err := os.Chown(c.folder, int(c.run.Uid), int(c.run.Gid)); err != nil {
			return nil, err
		}
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// ForTest starts a cluster that ends with the test.
func ForTest(tb testing.TB) *Cluster {
	tb.Helper()
	c, err := Start(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Stop(); err != nil {
			tb.Errorf("Stop() = %v", err)
		}
	})
	return c
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(errUID, errGID)
}

func (c *Cluster) start(ctx context.Context) error {
	initdb := c.command(ctx, "initdb", "--pgdata", c.data(), "--username", "relay", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w: %s", err, out)
	}
	listener, err := listen("")
	if err != nil {
		return err
	}
	if _, c.port, err = net.SplitHostPort(listener.Addr().String()); err != nil {
		return err
	}
	if err := listener.Close(); err != nil {
		return err
	}
	return c.Resume(ctx)
}

func (c *Cluster) data() string { return filepath.Join(c.folder, "data") }

// Halt ends the server at once, as a failure of its machine would: connections are refused until Resume.
func (c *Cluster) Halt() {
	_ = c.server.Process.Signal(syscall.SIGQUIT) // immediate shutdown, recovery at the next start
	_ = c.server.Wait()                          // ends with a signal's exit code
}

// Resume starts the server again, at the same address with the same data.
func (c *Cluster) Resume(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(c.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	c.server = c.command(context.WithoutCancel(ctx), "postgres", "-D", c.data(), "-p", c.port,
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+c.folder, "-c", "max_connections=500")
	c.server.Stdout, c.server.Stderr = log, log
	if err := c.server.Start(); err != nil {
		return fmt.Errorf("pgtest: start: %w", err)
	}
	return c.await(ctx)
}

func (c *Cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...) //nolint:gosec // Debian's own programs
	cmd.Dir = c.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.run, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// await waits until the server answers.
func (c *Cluster) await(ctx context.Context) error {
	db, err := sql.Open("pgx", c.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = db.PingContext(ctx); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func (c *Cluster) url(database string) string {
	return fmt.Sprintf("postgres://relay@127.0.0.1:%s/%s?sslmode=disable", c.port, database)
}

// Database makes an empty database and returns its URL.
func (c *Cluster) Database(tb testing.TB) string {
	tb.Helper()
	address, err := c.Create(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return address
}

// Create makes an empty database and returns its URL.
func (c *Cluster) Create(ctx context.Context) (string, error) {
	name := fmt.Sprintf("test_%d", c.made.Add(1))
	db, err := sql.Open("pgx", c.url("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	return c.url(name), nil
}

// Stop ends the server at once and removes its folder.
func (c *Cluster) Stop() error {
	if c.server != nil && c.server.Process != nil {
		c.Halt() // nobody needs the data
	}
	return os.RemoveAll(c.folder)
}
