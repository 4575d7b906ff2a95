package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are all that readers read, by path from here.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	add := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(text)
	}
	add("../README.md")
	if err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			add(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return texts
}

// what is known of marked blocks: "run" and "file" are followed by tests, "seen" are compared with what they show.
var (
	fence = regexp.MustCompile("(?ms)^(?:<!-- ([^>]+) -->\n+)?```[a-z]*\n.*?^```$")
	known = regexp.MustCompile(`^(?:(?:run|file|seen): \S+|callbacks/\S+)$`)
)

// A block without a mark is one that nobody runs or compares.
func TestDocuments_everyBlockIsMarked(t *testing.T) {
	t.Parallel()
	covered := followed()
	for path, text := range documents(t) {
		found := fence.FindAllStringSubmatch(text, -1)
		if n := strings.Count("\n"+text, "\n```"); n != 2*len(found) {
			t.Errorf("%s has %d fences, but %d blocks were understood", path, n, len(found))
		}
		for _, block := range found {
			if !known.MatchString(block[1]) {
				t.Errorf("%s: nobody runs or compares this block:\n%s", path, block[0])
			}
			if names, ok := covered[path]; ok && !strings.HasPrefix(block[1], "callbacks/") && !slices.Contains(names, block[1]) {
				t.Errorf("%s: no test follows %q", path, block[1])
			}
		}
		if _, ok := covered[path]; !ok && len(found) > 0 && !strings.HasPrefix(path, "integration/") {
			t.Errorf("%s has code, and no test follows it", path)
		}
	}
}

// followed are the marked blocks of the documents that this package follows, beside the guides.
func followed() map[string][]string {
	return map[string][]string{
		"quickstart.md": {
			"run: build", "run: sandbox", "run: secrets", "run: relay", "run: register", "run: execute", "run: show", "run: approve", "run: settled",
			"run: faults", "seen: production.env", "run: production",
		},
		"../README.md":  {"seen: picture", "run: demo", "run: serve", "run: register", "seen: page", "run: handler", "seen: tasks"},
		"operations.md": {"run: start", "seen: doctor", "seen: tunnel", "file: prometheus.yml"},
		"callbacks.md":  {"seen: request", "run: dead", "run: forward"},
		"security.md":   {"run: new-api-key", "run: drop-api-key", "run: new-page-secret", "run: drop-page-secret", "run: new-callback-secret", "run: drop-callback-secret"},
		"simulator.md":  {"seen: history"},
		"proxies.md":    {"seen: settings"},
	}
}

// anchor is the name that a heading has in a link.
func anchor(heading string) string {
	text := strings.ToLower(regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(heading, ""))
	return strings.ReplaceAll(strings.TrimSpace(text), " ", "-")
}

func TestDocuments_linksLeadSomewhere(t *testing.T) {
	t.Parallel()
	texts := documents(t)
	anchors := func(path string) (all []string) {
		for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(texts[path], -1) {
			all = append(all, anchor(heading[1]))
		}
		return all
	}
	for path, text := range texts {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			file, fragment, _ := strings.Cut(link[1], "#")
			if strings.Contains(file, "://") || strings.HasPrefix(file, "mailto:") {
				continue
			}
			target := path
			if file != "" {
				target = strings.TrimPrefix(filepath.Join(filepath.Dir(path), file), "../docs/")
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", path, link[1])
			} else if fragment != "" && strings.HasSuffix(target, ".md") && !slices.Contains(anchors(target), fragment) {
				t.Errorf("%s links to %s, and %s has no such heading", path, link[1], target)
			}
		}
	}
}

// What the running text names exists: commands with their flags, tasks, settings and metrics.
func TestDocuments_nameWhatExists(t *testing.T) {
	t.Parallel()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	output := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	settings := output(binary, "serve", "--help") + output(binary, "payments", "list", "--help")
	tasks := output("make", "--no-print-directory", "-C", "..", "help")
	dashboard, err := os.ReadFile("monitoring/dashboard.json") // its metrics are compared with a relay's
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for path, text := range documents(t) {
		if path == "decisions.md" {
			continue // history
		}
		for _, span := range regexp.MustCompile("`((?:\\./)?dollr-relay [a-z][^`]*)`").FindAllStringSubmatch(text, -1) {
			typed, _, _ := strings.Cut(strings.TrimPrefix(span[1], "./"), " |")
			command := strings.Fields(typed)[1:]
			if said[span[1]] || slices.Contains(command, "…") {
				continue
			}
			said[span[1]] = true
			if out, err := exec.CommandContext(t.Context(), binary, append(command, "--help")...).CombinedOutput(); err != nil {
				t.Errorf("%s names `%s`: %v\n%s", path, span[1], err, out)
			}
		}
		for _, span := range regexp.MustCompile("`make ([a-z-]+)").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(tasks, "make "+span[1]+" ") {
				t.Errorf("%s names `make %s`, which is no task", path, span[1])
			}
		}
		for _, name := range regexp.MustCompile(`\b(?:RELAY|DOLLR|SUPABASE)_[A-Z_]*[A-Z]\b`).FindAllString(text, -1) {
			if !strings.Contains(settings, "$"+strings.TrimSuffix(name, "_FILE")) && !slices.Contains(inDocumentsOnly(), name) {
				t.Errorf("%s names %s, which is no setting", path, name)
			}
		}
		for _, name := range regexp.MustCompile(`\bdollr_relay_[a-z_]+[a-z]\b`).FindAllString(text, -1) {
			if !strings.Contains(string(dashboard), name) {
				t.Errorf("%s names %s, which is no metric", path, name)
			}
		}
	}
}

// inDocumentsOnly are variables of the reader's backend, of deployments and of our own tests.
func inDocumentsOnly() []string {
	return []string{
		"DOLLR_CALLBACK_SECRET", "RELAY_CALLBACK_SECRET", "RELAY_HOST",
	}
}
