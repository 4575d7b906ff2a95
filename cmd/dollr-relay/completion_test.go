package main_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// words asks the program what may stand in place of the last word.
func words(t *testing.T, typed ...string) []string {
	t.Helper()
	code, stdout, stderr := finish(t, command(t, nil, append([]string{"complete-words", "--"}, typed...)...))
	if code != 0 {
		t.Fatalf("complete-words %q: exit %d %s", typed, code, stderr)
	}
	var found []string
	for line := range strings.Lines(stdout) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		found = append(found, word)
	}
	return found
}

func TestCompletion_words(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		typed []string
		want  []string
	}{
		{[]string{"pa"}, []string{"payments"}},
		{[]string{"payments", ""}, []string{"list", "show", "verify", "reconcile"}},
		{[]string{"callbacks", "list", "--st"}, []string{"--state"}},
		{[]string{"callbacks", "list", "--state", ""}, []string{"dead", "delivered", "pending"}},
		{[]string{"callbacks", "list", "--state=de"}, []string{"--state=dead", "--state=delivered"}},
		{[]string{"callbacks", "list", "--state", "=", "p"}, []string{"pending"}}, // as bash cuts it
		{[]string{"--help", "callbacks", "redeliver", "--d"}, []string{"--dead"}},
		{[]string{"payments", "list", "--limit", "5", "--out"}, []string{"--outcome"}},
		{[]string{"completion", ""}, []string{"bash", "fish", "zsh"}},
		{[]string{"comp"}, []string{"completion"}}, // what the scripts ask is not for people
		{[]string{"payments", "show", ""}, nil},
		{[]string{"nonsense", "--"}, []string{"--help"}},
	} {
		if got := words(t, tt.typed...); !slices.Equal(got, tt.want) {
			t.Errorf("%q is completed by %q, want %q", tt.typed, got, tt.want)
		}
	}
}

// Each shell, with its own script, asks the built program.
func TestCompletion_inTheShells(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for shell, script := range map[string]string{
		"bash": `source <(%[1]s completion bash); COMP_WORDS=(%[1]s callbacks list --state d); COMP_CWORD=4; _dollr_relay; printf '%%s\n' "${COMPREPLY[@]}"`,
		"zsh":  `compdef() { :; }; _describe() { print -l -- "${(@)${(@P)4}%%%%:*}" }; source <(%[1]s completion zsh); words=(%[1]s callbacks list --state d); CURRENT=5; _dollr_relay`,
		"fish": `set -x PATH %[2]s $PATH; %[1]s completion fish | source; complete -C'dollr-relay callbacks list --state d'`,
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), shell, "-c", fmt.Sprintf(script, path, filepath.Dir(path)))
			cmd.Env = append(cmd.Environ(), "HOME="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if got := strings.Fields(string(out)); err != nil || !slices.Equal(got, []string{"dead", "delivered"}) {
				t.Errorf("%s completes --state d by %q (%v), want dead and delivered", shell, got, err)
			}
		})
	}
	if code, _, stderr := finish(t, command(t, nil, "completion", "powershell")); code != 2 || !strings.Contains(stderr, "fish") {
		t.Errorf("completion for another shell: exit %d, %s; want 2 and the shells that are known", code, stderr)
	}
}
