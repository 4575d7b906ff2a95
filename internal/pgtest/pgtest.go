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
	port   int
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
	bin := filepath.Dir(programs[len(programs)-1])
	c := &Cluster{}
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
	if err := c.start(ctx, bin); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
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

func (c *Cluster) start(ctx context.Context, bin string) error {
	data := filepath.Join(c.folder, "data")
	initdb := c.command(ctx, filepath.Join(bin, "initdb"), "--pgdata", data, "--username", "relay", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w: %s", err, out)
	}
	var err error
	if c.port, err = freePort(ctx); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.folder, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	c.server = c.command(context.WithoutCancel(ctx), filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(c.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+c.folder, "-c", "max_connections=500")
	c.server.Stdout, c.server.Stderr = log, log
	if err := c.server.Start(); err != nil {
		return fmt.Errorf("pgtest: start: %w", err)
	}
	return c.await(ctx)
}

func (c *Cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // Debian's own programs
	cmd.Dir = c.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.run, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

func freePort(ctx context.Context) (int, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("pgtest: no TCP address")
	}
	return addr.Port, nil
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
	return fmt.Sprintf("postgres://relay@127.0.0.1:%d/%s?sslmode=disable", c.port, database)
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
		_ = c.server.Process.Signal(syscall.SIGQUIT) // immediate shutdown: nobody needs the data
		_ = c.server.Wait()                          // ends with a signal's exit code
	}
	return os.RemoveAll(c.folder)
}
