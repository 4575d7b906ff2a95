package app

import (
	"sync"
	"time"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/web/console"
)

// journalSize is how many questions are remembered: at 10 a second those of the last half hour, in less than 3 MB.
const journalSize = 20_000

// journal remembers the last questions to Dollr, for the operator console: most bring nothing new, so the database has no
// trace of them.
type journal struct {
	mu      sync.Mutex
	entries []entry // a ring once it is full
	next    int     // where the oldest is, then
}

type entry struct {
	payment     string
	sent, ended time.Time
	via         string
	word        string // Dollr's; empty: no truth
	reason      string // then why
}

// add takes note of a question that has ended.
func (j *journal) add(q fallback.Question, s dollr.Status, err error, now time.Time) {
	e := entry{payment: q.ID, sent: q.SentAt, ended: now, via: q.Via, word: s.Word}
	if e.sent.IsZero() || e.sent.After(now) {
		e.sent = now
	}
	if err != nil {
		e.word, e.reason = "", reason(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) < journalSize {
		j.entries = append(j.entries, e)
		return
	}
	j.entries[j.next] = e
	j.next = (j.next + 1) % journalSize
}

// of returns the questions about a payment, oldest first.
func (j *journal) of(payment string) []console.Question {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []console.Question
	for i := range j.entries {
		e := j.entries[(j.next+i)%len(j.entries)]
		if e.payment == payment {
			found = append(found, console.Question{Via: e.via, Sent: e.sent, Ended: e.ended, Word: e.word, Reason: e.reason})
		}
	}
	return found
}

// since counts the questions that ended after a time, and those of them that brought no truth.
func (j *journal) since(t time.Time) (all, silent int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.entries)
	for i := range n { // newest first
		e := j.entries[(j.next+n-1-i)%n]
		if !e.ended.After(t) {
			break
		}
		all++
		if e.word == "" {
			silent++
		}
	}
	return all, silent
}
