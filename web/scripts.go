package web

import (
	"embed"
	"fmt"
	"html"
	"path"
	"slices"
	"strings"
	"sync"
)

// Version is that of the page scripts, by semantic versioning; its major is the 1 of /v1/. Once it is released (see
// [Released]) a change of the scripts needs a higher one, which the tests tell.
const Version = "1.1.0"

// Released is the folder of all versions that were ever released. Each is served as long as its major is, because
// merchants' pages name it together with its hash: files are added to it by "go run ./build release" in this folder,
// and never changed or removed.
const Released = "dist/released"

//go:generate go run ./build

//go:embed dist
var dist embed.FS

// Scripts returns the page scripts: the present ones, the same under the name of their version, and those of all
// earlier releases. The API serves each at /v1/ and its name.
func Scripts() ([]Script, error) {
	scripts, err := prepared()
	return slices.Clone(scripts), err
}

// prepared compresses the scripts once, however many relays a process runs.
var prepared = sync.OnceValues(func() ([]Script, error) { //nolint:gochecknoglobals // always the same value
	var scripts []Script
	add := func(name, file string, versioned bool) error {
		content, err := dist.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read page scripts: %w", err)
		}
		script, err := newScript(name, content, versioned)
		scripts = append(scripts, script)
		return err
	}
	for _, name := range []string{"relay.js", "relay.mjs", "relay.d.ts"} {
		if err := add(name, "dist/"+name, false); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"relay.js", "relay.mjs"} {
		if err := add(Versioned(name), "dist/"+name, true); err != nil {
			return nil, err
		}
	}
	earlier, err := dist.ReadDir(Released)
	if err != nil {
		return nil, fmt.Errorf("read released page scripts: %w", err)
	}
	for _, entry := range earlier {
		if strings.Contains(entry.Name(), "-"+Version+".") {
			continue // the present one
		}
		if err := add(entry.Name(), Released+"/"+entry.Name(), true); err != nil {
			return nil, err
		}
	}
	return scripts, nil
})

// Versioned is the name of a page script with its version in it: relay-1.0.0.js of relay.js.
func Versioned(name string) string {
	extension := path.Ext(name)
	return strings.TrimSuffix(name, extension) + "-" + Version + extension
}

// Tag is the HTML that loads the classic page script from a relay at its public URL, in the present version and with
// its hash, so that a browser runs these very bytes or none.
func Tag(publicURL string) (string, error) {
	content, err := dist.ReadFile("dist/relay.js")
	if err != nil {
		return "", fmt.Errorf("read page script: %w", err)
	}
	script, err := newScript(Versioned("relay.js"), content, true)
	if err != nil {
		return "", err
	}
	source := html.EscapeString(strings.TrimRight(publicURL, "/") + "/v1/" + script.Name)
	return fmt.Sprintf("<script src=\"%s\"\n  integrity=\"%s\"\n  crossorigin=\"anonymous\" defer></script>", source, script.Integrity), nil
}
