package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand prints what teaches a shell to complete our commands.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help implements [kong.HelpProvider].
func (completionCommand) Help() string {
	return `For this shell only, or put the line into its start-up file:

  bash: source <(dollr-relay completion bash)
  zsh:  source <(dollr-relay completion zsh)      # after compinit
  fish: dollr-relay completion fish | source`
}

// Run implements the command. The scripts know nothing: they ask the program, which knows its commands.
func (s *completionCommand) Run(c *console) error { //nolint:unparam // the command line library wants an error
	c.printf("%s", map[string]string{
		"bash": `_dollr_relay() {
  local IFS=$'\n'
  COMPREPLY=($("${COMP_WORDS[0]}" complete-words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
}
complete -o default -F _dollr_relay dollr-relay
`,
		"zsh": `_dollr_relay() {
  local -a found
  local word help
  while IFS=$'\t' read -r word help; do
    found+=("${word//:/\\:}:$help")
  done < <("${words[1]}" complete-words -- "${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( $#found )); then _describe -t words dollr-relay found; else _files; fi
}
compdef _dollr_relay dollr-relay
`,
		"fish": `function __dollr_relay
  set -l typed (commandline -opc) (commandline -ct)
  $typed[1] complete-words -- $typed[2..-1] 2>/dev/null
end
complete -c dollr-relay -f -a '(__dollr_relay)'
`,
	}[s.Shell])
	return nil
}

// completeWordsCommand answers the scripts: what may stand where the last word is being typed.
type completeWordsCommand struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run implements the command.
func (w *completeWordsCommand) Run(k *kong.Context, c *console) error { //nolint:unparam // the command line library wants an error
	words := w.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, found := range candidates(k.Model.Node, words) {
		c.printf("%s\t%s\n", found.word, found.help)
	}
	return nil
}

type candidate struct{ word, help string }

// candidates are what may stand in place of the last of words, by the model of the command line.
func candidates(node *kong.Node, words []string) []candidate {
	if len(words) == 0 {
		words = []string{""}
	}
	typed, last := words[:len(words)-1], words[len(words)-1]
	var pending *kong.Flag // its value is the next word
	args := 0
	for _, word := range typed {
		switch {
		case word == "=": // bash cuts --flag=value into three
		case pending != nil:
			pending = nil
		case strings.HasPrefix(word, "-"):
			pending = wantsValue(node, word)
		default:
			if child := subcommand(node, word); child != nil {
				node, args = child, 0
			} else {
				args++
			}
		}
	}
	if last == "=" {
		last = ""
	}
	if name, value, ok := strings.Cut(last, "="); ok && pending == nil && strings.HasPrefix(name, "--") {
		if flag := wantsValue(node, name); flag != nil {
			return values(flag.Value, name+"=", value)
		}
		return nil
	}
	switch {
	case pending != nil:
		return values(pending.Value, "", last)
	case strings.HasPrefix(last, "-"):
		return flags(node, last)
	default:
		return arguments(node, args, last)
	}
}

// subcommand is one by name.
func subcommand(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Type == kong.CommandNode && child.Name == name {
			return child
		}
	}
	return nil
}

// wantsValue is the flag of that name if its value is a word of its own.
func wantsValue(node *kong.Node, name string) *kong.Flag {
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			if "--"+flag.Name == name && !flag.IsBool() {
				return flag
			}
		}
	}
	return nil
}

func flags(node *kong.Node, begun string) (found []candidate) {
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			if name := "--" + flag.Name; strings.HasPrefix(name, begun) {
				found = append(found, candidate{name, flag.Help})
			}
		}
	}
	return found
}

// arguments are subcommands, and the known values of the argument that comes next.
func arguments(node *kong.Node, nth int, begun string) (found []candidate) {
	for _, child := range node.Children {
		if !child.Hidden && strings.HasPrefix(child.Name, begun) {
			found = append(found, candidate{child.Name, child.Help})
		}
	}
	if nth < len(node.Positional) {
		found = append(found, values(node.Positional[nth], "", begun)...)
	}
	return found
}

// values are the known ones of a flag or argument.
func values(value *kong.Value, before, begun string) (found []candidate) {
	for _, word := range value.EnumSlice() {
		if word != "" && strings.HasPrefix(word, begun) {
			found = append(found, candidate{before + word, ""})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int { return strings.Compare(a.word, b.word) })
	return found
}
