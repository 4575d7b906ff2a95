// Package storetest lets tests stand between the store and its disk: see every commit of a SQLite database, refuse
// it as a full disk would, and copy the files as a power cut at that moment would leave them.
package storetest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"modernc.org/sqlite"
)

// Disk is what a database file lies on.
type Disk struct {
	path   string
	commit func() error
}

// disks are those under watch, by the path of their database. The driver's hooks are global, so this is too.
//
//nolint:gochecknoglobals // see above
var disks struct {
	once sync.Once
	mu   sync.Mutex
	byDB map[string]*Disk
}

// Watch stands in front of the database at path, which is not open yet. commit is called right before each commit, by the
// goroutine that commits; its error refuses the commit, which the store then rolls back. End it with [Disk.Release].
func Watch(path string, commit func() error) *Disk {
	d := &Disk{path: path, commit: commit}
	disks.once.Do(func() { sqlite.RegisterConnectionHook(connected) })
	disks.mu.Lock()
	defer disks.mu.Unlock()
	if disks.byDB == nil {
		disks.byDB = map[string]*Disk{}
	}
	disks.byDB[path] = d
	return d
}

// connected hooks into a new connection of a watched database.
func connected(conn sqlite.ExecQuerierContext, dsn string) error {
	name, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
	disks.mu.Lock()
	d := disks.byDB[name]
	disks.mu.Unlock()
	hooks, ok := conn.(sqlite.HookRegisterer)
	if d == nil || !ok {
		return nil
	}
	hooks.RegisterCommitHook(func() int32 {
		if d.commit() != nil {
			return 1
		}
		return 0
	})
	return nil
}

// Release ends the watch.
func (d *Disk) Release() {
	disks.mu.Lock()
	defer disks.mu.Unlock()
	delete(disks.byDB, d.path)
}

// Copy copies the database's files, as they are now, to the path to.
func Copy(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	for _, suffix := range []string{"", "-wal"} { // SQLite makes -shm anew: it is an index of -wal, and gone after a power cut
		if err := copyFile(from+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("copy database: %w", err)
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	source, err := os.Open(from) //nolint:gosec // a test names the path
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.Create(to) //nolint:gosec // likewise
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = io.Copy(target, source)
	return err
}
