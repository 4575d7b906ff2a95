package realtime_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestConformance_everyStatementHasATest keeps docs/realtime.md true: each number of the protocol's checklist has a row, with tests
// that exist and carry that number, and no test carries a number that its row does not name.
func TestConformance_everyStatementHasATest(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/realtime.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t, ".", "realtimetest", "realtimetest/judge", "../relay")
	named := map[string][]string{} // number to tests, as the document says
	for _, row := range regexp.MustCompile(`(?m)^\| ([CS]\d+) \|.*\| (.*) \|$`).FindAllStringSubmatch(string(document), -1) {
		named[row[1]] = strings.Split(row[2], ", ")
	}
	for _, word := range regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(string(document), -1) {
		if !slices.Contains(tests, word) {
			t.Errorf("docs/realtime.md names %s, which does not exist", word)
		}
	}
	for list, last := range map[string]int{"C": 30, "S": 20} {
		for n := 1; n <= last; n++ {
			number := fmt.Sprint(list, n)
			proofs := 0
			for _, test := range tests {
				carries, isNamed := slices.Contains(numbers(test), number), slices.Contains(named[number], test)
				if carries {
					proofs++
				}
				if carries && !isNamed {
					t.Errorf("docs/realtime.md does not name %s for %s", test, number)
				}
			}
			if proofs == 0 {
				t.Errorf("no test carries %s", number)
			}
		}
	}
}

// testNames are the tests, fuzz targets and benchmarks of some folders.
func testNames(t *testing.T, folders ...string) []string {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	var names []string
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", folder, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range function.FindAllStringSubmatch(string(source), -1) {
				names = append(names, match[1])
			}
		}
	}
	return names
}

// numbers are those that a test's name carries: C7 and C22 of TestC7C22_framesOfOlderJoinsAreDropped.
func numbers(test string) []string {
	prefix, _, _ := strings.Cut(strings.TrimPrefix(test, "Test"), "_")
	if !regexp.MustCompile(`^([CS]\d+)+$`).MatchString(prefix) {
		return nil
	}
	return regexp.MustCompile(`[CS]\d+`).FindAllString(prefix, -1)
}
