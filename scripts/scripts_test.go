// Package scripts_test runs the scripts of releases and checks.
package scripts_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// copySource copies the working tree, without what Git does not know, to another place.
func copySource(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "elsewhere")
	const pack = `mkdir "$1" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do [ -f "$f" ] && printf '%s\0' "$f"; done | tar -c --null -T - | tar -x -C "$1"`
	cmd := exec.CommandContext(t.Context(), "bash", "-c", pack, "bash", folder)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy the source: %v\n%s", err, out)
	}
	return folder
}

// release runs release.sh of a source tree for one target and returns where its files are.
func release(t *testing.T, source, target string, env ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "dist")
	cmd := exec.CommandContext(t.Context(), "scripts/release.sh", "v1.2.3")
	cmd.Dir = source
	cmd.Env = append(append(os.Environ(), "TARGETS="+target, "OUT="+out, "COMMIT=0123456789ab", "SOURCE_DATE_EPOCH=1700000000"), env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("release.sh: %v\n%s", err, said)
	}
	return out
}

// contents reads an archive.
func contents(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(unzipped); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.ModTime.Unix() != 1700000000 {
			t.Errorf("%s has owner %d and time %s, want 0 and that of the commit", header.Name, header.Uid, header.ModTime)
		}
	}
}

// The same source gives the same bytes from another folder, with another environment.
func TestRelease_isReproducible(t *testing.T) {
	t.Parallel()
	target := runtime.GOOS + "/" + runtime.GOARCH
	name := "dollr-relay_v1.2.3_" + runtime.GOOS + "_" + runtime.GOARCH
	first := release(t, "..", target)
	second := release(t, copySource(t), target, "TZ=Asia/Tokyo", "LANG=C.UTF-8", "GOAMD64=v3", "GOFLAGS=-trimpath=false")
	read := func(folder, file string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, file := range []string{name + ".tar.gz", name + ".cdx.json", "SHA256SUMS"} {
		if !bytes.Equal(read(first, file), read(second, file)) {
			t.Errorf("%s differs from one build to the next", file)
		}
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = first
	if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != 2 {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}

	files := contents(t, read(first, name+".tar.gz"))
	for _, file := range []string{"LICENSE", "README.md", "dollr-relay.service"} {
		if len(files[name+"/"+file]) == 0 {
			t.Errorf("the archive has no %s", file)
		}
	}
	binary := filepath.Join(t.TempDir(), "dollr-relay")
	if err := os.WriteFile(binary, files[name+"/dollr-relay"], 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), binary, "version").CombinedOutput(); err != nil || !strings.Contains(string(out), "v1.2.3\ncommit 0123456789ab\n") {
		t.Errorf("version = %s, %v; want that of the release", out, err)
	}
	describes(t, read(first, name+".cdx.json"), files[name+"/dollr-relay"])
}

// describes compares a bill of materials with what the linker recorded in the binary.
func describes(t *testing.T, bill, binary []byte) {
	t.Helper()
	var bom struct {
		BOMFormat, SpecVersion, SerialNumber string
		Metadata                             struct {
			Component struct {
				Version string
				Hashes  []struct{ Content string }
			}
		}
		Components []struct{ PURL string }
	}
	if err := json.Unmarshal(bill, &bom); err != nil || bom.BOMFormat != "CycloneDX" || !strings.HasPrefix(bom.SerialNumber, "urn:uuid:") {
		t.Fatalf("the bill of materials: %v, %q", err, bom.BOMFormat)
	}
	sum := sha256.Sum256(binary)
	if c := bom.Metadata.Component; c.Version != "v1.2.3" || c.Hashes[0].Content != hex.EncodeToString(sum[:]) {
		t.Errorf("it is of %+v, want the binary that was packed", c)
	}
	purls := map[string]bool{}
	for _, c := range bom.Components {
		purls[c.PURL] = true
	}
	want := []string{"pkg:golang/std@" + strings.TrimPrefix(runtime.Version(), "go")}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}pkg:golang/{{.Path}}@{{.Version}}{{end}}{{end}}", "./cmd/dollr-relay")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, purl := range append(want, strings.Fields(string(out))...) {
		if !purls[purl] {
			t.Errorf("the bill of materials lacks %s", purl)
		}
	}
}

// vulnerable is a database with one invented vulnerability, in a function that scripts/sbom calls.
func vulnerable(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"index/db.json":        `{"modified":"2026-01-01T00:00:00Z"}`,
		"index/modules.json":   `[{"path":"github.com/google/uuid","vulns":[{"id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z"}]}]`,
		"index/vulns.json":     `[{"id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z"}]`,
		"ID/GO-2026-0001.json": `{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z","summary":"Invented for a test","details":"Invented","affected":[{"package":{"name":"github.com/google/uuid","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":"github.com/google/uuid","symbols":["NewSHA1"]}]}}],"database_specific":{"url":"https://pkg.go.dev/vuln/GO-2026-0001"}}`,
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + folder
}

// A vulnerability is found; without a database it is never said that all is well.
func TestVuln_findsOrSaysThatItDidNotLook(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, database string
		args           []string
		code           int
		says           string
	}{
		{"a known one, lenient", vulnerable(t), []string{"if-reachable", "./scripts/sbom"}, 3, "calls uuid.NewSHA1"},
		{"no database", "http://127.0.0.1:1", []string{"./scripts/sbom"}, 2, "NOT CHECKED"},
		{"no database, lenient", "http://127.0.0.1:1", []string{"if-reachable", "./scripts/sbom"}, 0, "NOT CHECKED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "./vuln.sh", tt.args...)
			cmd.Env = append(os.Environ(), "GOVULNDB="+tt.database)
			out, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.says) || strings.Contains(string(out), "No vulnerabilities found") {
				t.Errorf("exit %d (%v), want %d and %q:\n%s", code, err, tt.code, tt.says, out)
			}
		})
	}
}

// A time that is none is named before anything is built.
func TestFuzz_refusesWhatIsNoTime(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"abc", "10", "-5s", "x", "5 m"} {
		cmd := exec.CommandContext(t.Context(), "./fuzz.sh")
		cmd.Env = append(os.Environ(), "FUZZTIME="+text, "FUZZ=^none of them$")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), "FUZZTIME="+text+" is no time") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("with FUZZTIME=%s it ends with %v and says %q, want an error in one line that names it", text, err, out)
		}
	}
}
