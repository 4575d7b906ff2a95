package web_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/dollr-relay/dollr-relay/web"
)

// released are all versions that merchants' pages may name. Only ever add to it: what is taken away or changed breaks
// the pages of merchants who did as the documentation says.
func released() map[string]string {
	return map[string]string{
		"relay-1.0.0.js":  "sha384-ArWMC20HRzPfCW/oVg2PcYe6Sxpdi2HUuz9h8gXt2uYbl8rQpFGGlj/jgXrz8qZB",
		"relay-1.0.0.mjs": "sha384-waig3Mp/iY9Kcbv7/wLn5IE0fG5xKbrcJT+b6dDWoCruPeHZLUntQv18gg3vvLnW",
	}
}

func TestReleased_scriptsAreServedForever(t *testing.T) {
	t.Parallel()
	served := scripts(t)
	for name, integrity := range released() {
		script, ok := served[name]
		if !ok {
			t.Errorf("%s was released and is not served any more", name)
			continue
		}
		if script.Integrity != integrity {
			t.Errorf("%s was released as %s and is now %s; a change of the page scripts needs a higher web.Version", name, integrity, script.Integrity)
		}
	}
	files, err := os.ReadDir(web.Released)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if released()[file.Name()] == "" {
			t.Errorf("%s/%s was added: note its hash %s here", web.Released, file.Name(), served[file.Name()].Integrity)
		}
	}
	if want := len(released()); len(files) != want {
		t.Errorf("%s has %d files, want the %d that were released", web.Released, len(files), want)
	}
}

func TestVersioned_scriptsAreThePresentOnesAndImmutable(t *testing.T) {
	t.Parallel()
	served := scripts(t)
	for _, name := range []string{"relay.js", "relay.mjs"} {
		script, ok := served[web.Versioned(name)]
		if !ok {
			t.Fatalf("%s is not served", web.Versioned(name))
		}
		if !bytes.Equal(script.Content, served[name].Content) {
			t.Errorf("%s differs from %s", script.Name, name)
		}
		want := "public, max-age=31536000, immutable"
		if got := get(t, script, nil).Header.Get("Cache-Control"); got != want {
			t.Errorf("Cache-Control of %s = %q, want %q", script.Name, got, want)
		}
	}
	if want := "-" + web.Version + "."; !strings.Contains(web.Versioned("relay.js"), want) {
		t.Errorf("Versioned(relay.js) = %s, want %q in it", web.Versioned("relay.js"), want)
	}
}
