package deploy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// instruction is one of the Dockerfile.
type instruction struct{ word, rest string }

// stages are the Dockerfile's instructions by stage.
func stages(t *testing.T) [][]instruction {
	t.Helper()
	var all [][]instruction
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(read(t, "../../Dockerfile"), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" {
			continue
		}
		if word == "FROM" {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], instruction{word, strings.TrimSpace(rest)})
	}
	return all
}

// all returns what follows a word in a stage.
func all(stage []instruction, word string) (rest []string) {
	for _, i := range stage {
		if i.word == word {
			rest = append(rest, i.rest)
		}
	}
	return rest
}

// execForm reads an instruction in its JSON form.
func execForm(t *testing.T, text string) (args []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &args); err != nil {
		t.Fatalf("%s is not in the form that needs no shell: %v", text, err)
	}
	return args
}

// ignored reports whether .dockerignore keeps a path out of the build. Its patterns here are plain names, globs and **/.
func ignored(patterns []string, file string) bool {
	for _, p := range patterns {
		anywhere, deep := strings.CutPrefix(p, "**/")
		parts := strings.Split(file, "/")
		for i := range parts {
			if i > 0 && !deep {
				break
			}
			if ok, _ := path.Match(anywhere, parts[i]); ok {
				return true
			}
		}
	}
	return false
}

// buildContext copies what Docker would send as the build context into a clean folder: what Git knows and .dockerignore allows.
func buildContext(t *testing.T) string {
	t.Helper()
	patterns := strings.Fields(read(t, "../../.dockerignore"))
	list := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	folder := t.TempDir()
	for file := range strings.FieldsSeq(string(out)) {
		data, err := os.ReadFile(filepath.Join("../..", file))
		if ignored(patterns, file) || os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(folder, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// The steps of the Dockerfile are run as far as this goes without Docker: its build in a clean folder with what the
// context holds, then the image's files in a folder of their own, in which the relay runs as the image's user, with
// nothing else to see if this test is root.
func TestDockerfile_buildsAndRuns(t *testing.T) {
	t.Parallel()
	parts := stages(t)
	if len(parts) != 2 {
		t.Fatalf("%d stages, want build and image", len(parts))
	}
	building, image := parts[0], parts[1]
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../../go.mod"))[1]
	if from := all(building, "FROM")[0]; !strings.HasPrefix(from, "golang:"+version+"-") {
		t.Errorf("built from %s, want the Go %s of go.mod", from, version)
	}
	if from := all(image, "FROM")[0]; from != "scratch" {
		t.Errorf("the image is made from %s, want scratch", from)
	}

	source, out := buildContext(t), t.TempDir()
	for _, step := range all(building, "RUN") {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(step, "/out", out))
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "VERSION=v9.9.9", "COMMIT=abcdef")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("RUN %s: %v\n%s", step, err, said)
		}
	}
	root := t.TempDir()
	for _, step := range all(image, "COPY") {
		fields := slices.DeleteFunc(strings.Fields(step), func(f string) bool { return strings.HasPrefix(f, "--") })
		from, to := strings.ReplaceAll(fields[0], "/out", out), filepath.Join(root, fields[1])
		if strings.HasSuffix(fields[1], "/") {
			to = filepath.Join(to, filepath.Base(from))
		}
		if said, err := exec.CommandContext(t.Context(), "sh", "-ec", `mkdir -p "$(dirname "$2")"; cp -r "$1" "$2"`, "sh", from, to).CombinedOutput(); err != nil {
			t.Fatalf("COPY %s: %v\n%s", step, err, said)
		}
	}
	runImage(t, image, root)
}

// runImage starts the entry point as the image says and asks for its health as the image says.
func runImage(t *testing.T, image []instruction, root string) {
	t.Helper()
	const user = 65532
	if got := all(image, "USER"); len(got) != 1 || got[0] != "65532:65532" {
		t.Fatalf("USER %v, want 65532:65532, which Kubernetes can tell from root", got)
	}
	if got := all(image, "EXPOSE"); len(got) != 1 || got[0] != "8080" {
		t.Errorf("EXPOSE %v, want 8080 only: the admin listener is nobody's business", got)
	}
	environment := []string{
		"DOLLR_BASE_URL=http://127.0.0.1:1", "DOLLR_CLIENT_ID=id", "DOLLR_CLIENT_SECRET=secret", "RELAY_API_KEYS=" + strings.Repeat("k", 32),
		"RELAY_PAGE_SECRETS=" + strings.Repeat("p", 32), "RELAY_LISTEN=127.0.0.1:0", "RELAY_ADMIN_LISTEN=127.0.0.1:0",
	}
	data := all(image, "VOLUME")[0]
	entry := execForm(t, all(image, "ENTRYPOINT")[0])
	jail := &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
	try := exec.CommandContext(t.Context(), entry[0], "version")
	try.SysProcAttr, try.Dir = jail, "/"
	jailed := os.Getuid() == 0 && !errors.Is(try.Run(), syscall.EPERM)
	if jailed {
		if err := os.Chown(filepath.Join(root, data), user, user); err != nil { // as the image's COPY does
			t.Fatal(err)
		}
	}
	in := func(env []string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Env = env
		cmd.Dir = all(image, "WORKDIR")[0]
		if jailed {
			cmd.SysProcAttr = jail
		} else { // without root only the paths can be changed
			cmd.Path, cmd.Dir = filepath.Join(root, args[0]), filepath.Join(root, cmd.Dir)
		}
		return cmd
	}
	for _, pair := range all(image, "ENV") {
		if !jailed {
			pair = strings.Replace(pair, data, filepath.Join(root, data), 1)
		}
		environment = append(environment, pair)
	}
	if out, err := in(nil, append(entry, "version")...).CombinedOutput(); err != nil || !strings.Contains(string(out), "v9.9.9") || !strings.Contains(string(out), "abcdef") {
		t.Errorf("version = %s, %v; want what the build was told", out, err)
	}
	relay := in(environment, append(entry, execForm(t, all(image, "CMD")[0])...)...)
	stderr, err := relay.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	admin, ended := make(chan string, 1), make(chan string, 1)
	go func() {
		var log bytes.Buffer
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log.Write(append(lines.Bytes(), '\n'))
			var up struct{ Msg, Admin string }
			if json.Unmarshal(lines.Bytes(), &up) == nil && up.Msg == "relay is up" {
				admin <- up.Admin
			}
		}
		ended <- log.String()
	}()
	select {
	case address := <-admin:
		_, probe, _ := strings.Cut(all(image, "HEALTHCHECK")[0], "CMD ")
		if out, err := in([]string{"RELAY_ADMIN_LISTEN=" + address}, execForm(t, probe)...).CombinedOutput(); err != nil {
			t.Errorf("HEALTHCHECK %s: %v\n%s", probe, err, out)
		}
		_ = relay.Process.Signal(syscall.SIGTERM)
		if log := <-ended; relay.Wait() != nil {
			t.Errorf("the relay ends badly:\n%s", log)
		}
	case log := <-ended:
		t.Fatalf("the relay ended: %v\n%s", relay.Wait(), log)
	case <-time.After(time.Minute):
		_ = relay.Process.Kill()
		t.Fatal("the relay does not come up")
	}
	files, err := os.ReadDir(filepath.Join(root, data))
	if err != nil || len(files) == 0 {
		t.Errorf("no database in %s: %v, %v", data, files, err)
	}
}
