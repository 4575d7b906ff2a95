package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// table is what is promised beside what was measured.
type table struct{ rows [][4]string }

func (t *table) add(what, promised, measured, floor string) {
	t.rows = append(t.rows, [4]string{what, promised, measured, floor})
	fmt.Fprintf(os.Stderr, "%-60s %s\n", what, measured)
}

func (t *table) markdown() string {
	var b strings.Builder
	b.WriteString("| what | promised | measured | floor |\n|---|---|---|---|\n")
	for _, row := range t.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row[:], " | "))
	}
	return b.String()
}

// machine says what it was measured on.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d × %s, %s/%s, %s.", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// replace puts text between the two markers of this name in a Markdown file.
func replace(file, name, text string) error {
	known, err := os.ReadFile(file) //nolint:gosec // the developer names it
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, ok := strings.Cut(string(known), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s: no markers %q and %q", file, strings.TrimSpace(begin), end)
	}
	return os.WriteFile(file, []byte(before+begin+strings.TrimSpace(text)+"\n"+end+after), 0o644) //nolint:gosec // a document
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
func kb(n int64) string         { return fmt.Sprintf("%.1f KB", float64(n)/1e3) }
func mb(n int64) string         { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }
