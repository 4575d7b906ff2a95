package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// guide is a document whose code is taken out and run: blocks after a comment "file: NAME" are files, those after
// "run: NAME" are what a reader pastes into a terminal, those after "seen: NAME" show something.
type guide struct {
	files map[string]string
	runs  map[string]string
	seen  map[string]string
}

func readGuide(t *testing.T, path string) guide {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	g := guide{files: map[string]string{}, runs: map[string]string{}, seen: map[string]string{}}
	for _, found := range regexp.MustCompile("(?ms)^<!-- (file|run|seen): (\\S+) -->\n+```[a-z]*\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		kind, name, code := found[1], found[2], found[3]
		into := map[string]map[string]string{"file": g.files, "run": g.runs, "seen": g.seen}[kind]
		if _, twice := into[name]; twice {
			t.Fatalf("%s: two blocks %s: %s", path, kind, name)
		}
		into[name] = code
	}
	if marks := len(regexp.MustCompile("<!-- [a-z]+: ").FindAllString(string(text), -1)); marks != len(g.files)+len(g.runs)+len(g.seen) {
		t.Fatalf("%s: %d marks, but %d blocks were understood", path, marks, len(g.files)+len(g.runs)+len(g.seen))
	}
	return g
}

// write puts the guide's files into a folder, each as edited.
func (g guide) write(t *testing.T, folder string, edit func(string) string) {
	t.Helper()
	for name, code := range g.files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(edit(code)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// run returns a block that is there.
func (g guide) run(t *testing.T, name string) string {
	t.Helper()
	code, ok := g.runs[name]
	if !ok {
		t.Fatalf("the guide has no block to run named %s, but %v", name, fmt.Sprint(g.runs))
	}
	return code
}
