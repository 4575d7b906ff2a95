// Command build writes the page scripts to web/dist. Run it by "go generate ./web". With the argument "release" it also
// keeps them as a released version, which stays what it is from then on.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dollr-relay/dollr-relay/web"
	"github.com/dollr-relay/dollr-relay/web/bundle"
)

func main() {
	if err := run(len(os.Args) > 1 && os.Args[1] == "release"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run expects to be started in web/, as go generate does.
func run(release bool) error {
	files, err := bundle.Build("snippet")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join("dist", name), content, 0o644); err != nil { //nolint:gosec // source files are for every user to read
			return err
		}
	}
	if !release {
		return nil
	}
	for _, name := range []string{"relay.js", "relay.mjs"} {
		if err := keep(filepath.Join(web.Released, web.Versioned(name)), files[name]); err != nil {
			return err
		}
	}
	return nil
}

// keep writes a released file, which must not be there with other content.
func keep(file string, content []byte) error {
	before, err := os.ReadFile(file) //nolint:gosec // a fixed name
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.WriteFile(file, content, 0o644) //nolint:gosec // source files are for every user to read
	case err == nil && !bytes.Equal(before, content):
		return fmt.Errorf("%s is released with other content: raise web.Version", file)
	}
	return err
}
