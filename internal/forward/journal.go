package forward

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	journalKeeps  = 10_000 // ids that are known again after the feed had to start over
	journalTooBig = 2 * journalKeeps
)

// Journal is what was forwarded: one line "cursor id" per event, and one without an id once everything that
// was there before is left out. The last cursor is where the next run goes on; an id in it is not forwarded again.
type Journal struct {
	path   string
	file   *os.File
	cursor string
	known  map[string]bool
	begun  bool
}

// OpenJournal opens or makes the journal of one relay and one target in a folder. Close it.
func OpenJournal(folder, relayURL, target string) (*Journal, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for forwarding: %w", err)
	}
	sum := sha256.Sum256([]byte(relayURL + "\n" + target))
	j := &Journal{path: filepath.Join(folder, "listen-"+hex.EncodeToString(sum[:6])+".journal"), known: map[string]bool{}}
	text, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read what was forwarded: %w", err)
	}
	if whole := bytes.LastIndexByte(text, '\n') + 1; whole < len(text) { // a crash cut the last line off
		text = text[:whole]
		if err := os.WriteFile(j.path, text, 0o600); err != nil { //nolint:gosec // the user's own configuration folder
			return nil, fmt.Errorf("mend what was forwarded: %w", err)
		}
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) > journalTooBig {
		lines = lines[len(lines)-journalKeeps:]
		if err := os.WriteFile(j.path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil { //nolint:gosec // likewise
			return nil, fmt.Errorf("shorten what was forwarded: %w", err)
		}
	}
	j.begun = len(text) > 0
	for _, line := range lines {
		if cursor, id, ok := strings.Cut(line, " "); ok {
			j.cursor, j.known[id] = cursor, true
		}
	}
	if j.file, err = os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open what was forwarded: %w", err)
	}
	return j, nil
}

// Cursor is where the feed goes on, empty from its start.
func (j *Journal) Cursor() string { return j.cursor }

// Knows reports whether an event was forwarded.
func (j *Journal) Knows(id string) bool { return j.known[id] }

// Begun reports whether anything was noted in an earlier run.
func (j *Journal) Begun() bool { return j.begun }

// Begin notes that events are forwarded from now on, even if none was there yet.
func (j *Journal) Begin() error {
	if _, err := j.file.WriteString("begun\n"); err != nil {
		return fmt.Errorf("note that forwarding begins: %w", err)
	}
	return nil
}

// Add notes that an event is done.
func (j *Journal) Add(cursor, id string) error {
	if _, err := j.file.WriteString(cursor + " " + id + "\n"); err != nil {
		return fmt.Errorf("note what was forwarded: %w", err)
	}
	j.cursor, j.known[id] = cursor, true
	return nil
}

// StartOver forgets the cursor, which the feed does not know any more, and keeps the ids.
func (j *Journal) StartOver() { j.cursor = "" }

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }
