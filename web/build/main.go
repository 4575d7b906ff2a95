// Command build writes the page scripts to web/dist. Run it by "go generate ./web".
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dollr-relay/dollr-relay/web/bundle"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run expects to be started in web/, as go generate does.
func run() error {
	files, err := bundle.Build("snippet")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join("dist", name), content, 0o644); err != nil { //nolint:gosec // source files are for every user to read
			return err
		}
	}
	return nil
}
