// Package docs_test follows the documents as their readers do: it takes the code out of them, puts it into a clean folder
// and runs it, against the built program.
package docs_test

import (
	"strings"
	"testing"
)

// opened is a desk at which the quickstart was followed until sandbox and relay run.
func opened(t *testing.T, quickstart guide) *desk {
	t.Helper()
	d := newDesk(t)
	d.sandbox(t, quickstart.run(t, "sandbox"))
	d.paste(t, "secrets", quickstart.run(t, "secrets"))
	relay, _ := d.start(t, "relay", quickstart.run(t, "relay"))
	relay.waitFor(t, "relay is up", 1)
	return d
}

func TestQuickstart_worksAsWritten(t *testing.T) {
	t.Parallel()
	quickstart := readGuide(t, "quickstart.md")
	if build, want := quickstart.run(t, "build"), "go build -o dollr-relay ./cmd/dollr-relay\n"; build != want {
		t.Errorf("the program is built by %q, and here by %q", build, want)
	}
	d := opened(t, quickstart)
	for _, step := range []struct{ name, want string }{
		{"register", `"id":"pay_nnen2u2p2lnwd2f4anarisji"`},
		{"execute", `"status":"PENDING"`},
		{"show", "pay_nnen2u2p2lnwd2f4anarisji"},
		{"approve", `"status":"COMPLETED"`},
		{"settled", `"outcome":"succeeded"`},
		{"faults", `"dollr_down":false`},
	} {
		code := quickstart.run(t, step.name)
		if step.name != "register" {
			code = ". ./shop.env\n" + code // the same terminal
		}
		if step.name == "approve" { // a reader is slower than the relay, which has heard of the execution by now
			d.until(t, "the relay has read PENDING", `. ./shop.env; ./dollr-relay payments list --json`, `"status":"PENDING"`)
		}
		said := d.paste(t, step.name, code)
		if !strings.Contains(said, step.want) {
			t.Errorf("%s printed no %s:\n%s", step.name, step.want, said)
		}
		if step.name == "settled" && !strings.Contains(said, "payment.succeeded  pending") {
			t.Errorf("no callback waits:\n%s", said)
		}
	}
}

// The same story for each guide: a customer buys, waits, pays and is thanked; the order is shipped once, by the signed
// callback and by nothing else.
func TestGuides_shopsThatShipOnce(t *testing.T) {
	t.Parallel()
	quickstart := readGuide(t, "quickstart.md")
	for _, lang := range []struct { //nolint:paralleltest // one browser at a time is enough for the machine
		name  string
		ready string // what the shop prints when it listens
	}{
		{"html", "The shop is at"},
		{"express", "The shop is at"},
		{"react", "Ready in"},
		{"django", "Quit the server"},
		{"laravel", "Development Server"},
	} {
		t.Run(lang.name, func(t *testing.T) {
			g := readGuide(t, "integration/"+lang.name+".md")
			d := opened(t, quickstart)
			d.skeleton(t, lang.name)
			d.install(t, g)
			g.write(t, d.folder, d.ports.Replace)
			if code, ok := g.runs["module"]; ok {
				d.paste(t, "module", code)
			}
			s := &shop{desk: d}
			s.terminal, _ = d.start(t, "shop", g.run(t, "shop"))
			s.terminal.waitFor(t, lang.ready, 1)
			s.visit(t)
			s.shipsOnce(t)
			if lang.name == "react" {
				s.visit(t, "own")
				s.terminal.waitFor(t, "shipping order", 2)
			}
		})
	}
}

// Where the relay cannot reach the shop, "callbacks listen" brings the events, signed with its own secret.
func TestGuide_listensOnADevelopersMachine(t *testing.T) {
	t.Parallel()
	d, g := opened(t, readGuide(t, "quickstart.md")), readGuide(t, "integration/html.md")
	g.write(t, d.folder, d.ports.Replace)
	listen, _ := d.start(t, "listen", g.run(t, "listen"))
	listen.waitFor(t, "left out", 1)
	s, _ := d.start(t, "shop-listening", g.run(t, "shop-listening"))
	s.waitFor(t, "The shop is at", 1)
	d.paste(t, "checkout", "curl -sS -X POST http://localhost:3000/checkout")
	d.paste(t, "approve", g.run(t, "approve"))
	s.waitFor(t, "shipping order 1001", 1)
	if said := d.paste(t, "trigger", g.run(t, "trigger")); !strings.Contains(said, "-> 204") {
		t.Errorf("trigger printed %s", said)
	}
	if text, _ := s.said(); strings.Count(text, "shipping") != 1 {
		t.Errorf("the invented event shipped something:\n%s", text)
	}
}
