package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// history is what happened, for people: one line each, by the time since the start.
type history struct {
	start time.Time

	mu    sync.Mutex
	lines []string
}

// note writes a line: who did or saw what.
func (h *history) note(who, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf("%11.3fs  %-11s %s", time.Since(h.start).Seconds(), who, text))
}

// String is the whole history.
func (h *history) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n") + "\n"
}
