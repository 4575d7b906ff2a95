package docs_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// practise gives a desk a sandbox, and its variables.
func (d *desk) practise(t *testing.T) {
	t.Helper()
	d.sandbox(t, "./dollr-relay sandbox | tee sandbox.env")
	d.env = append(d.env, "PATH="+d.folder+":"+os.Getenv("PATH"))
}

// filled gives placeholders the sandbox's values: NAME=… becomes NAME=$NAME.
func filled(code string) string {
	code = regexp.MustCompile(`\b(DOLLR_CLIENT_ID|DOLLR_CLIENT_SECRET|SUPABASE_URL|SUPABASE_ANON_KEY)=(?:https://)?…\S*`).ReplaceAllString(code, "$1=$$$1")
	return ". ./sandbox.env\n" + code
}

// get reads an address of the relay.
func (d *desk) get(t *testing.T, path, key string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.ports.Replace("http://localhost:8080")+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func (d *desk) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (d *desk) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadme_worksAsWritten(t *testing.T) {
	t.Parallel()
	g := readGuide(t, "../README.md")
	d := newDesk(t)

	demo := strings.NewReplacer("go run ./cmd/dollr-relay demo", d.ports.Replace("./dollr-relay demo --listen localhost:8080 --admin-listen 127.0.0.1:9090"))
	shop, leave := d.start(t, "demo", demo.Replace(g.run(t, "demo")))
	shop.waitFor(t, "/demo/", 1)
	if code, text := d.get(t, "/demo/", ""); code != http.StatusOK || !strings.Contains(text, "<html") {
		t.Errorf("the demo shop answers %d", code)
	}
	leave()

	d.practise(t)
	serve := strings.NewReplacer("go build -o dollr-relay ./cmd/dollr-relay", "", "./dollr-relay serve", "echo $RELAY_API_KEYS > key; ./dollr-relay serve")
	relay, _ := d.start(t, "relay", filled(serve.Replace(g.run(t, "serve"))))
	relay.waitFor(t, "relay is up", 1)
	d.write(t, "register.mjs", d.ports.Replace(strings.ReplaceAll(
		"const reference_id = crypto.randomUUID(), session_id = 55;\n"+g.run(t, "register")+"console.log(JSON.stringify(page));\n",
		"https://relay.shop.example", "http://localhost:8080")))
	said := d.paste(t, "register", "RELAY_API_KEY=$(cat key) node register.mjs")
	var page struct{ Token string }
	if err := json.Unmarshal([]byte(said), &page); err != nil || page.Token == "" {
		t.Errorf("registering brought %s: %v", said, err)
	}
	script := regexp.MustCompile(`src="https://relay.shop.example(/[^"]+)"`).FindStringSubmatch(g.seen["page"])[1]
	if code, text := d.get(t, script, ""); code != http.StatusOK || !strings.Contains(text, "dollr-status") {
		t.Errorf("the page's script %s is answered %d", script, code)
	}
	tasks, err := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-C", "..", "help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range regexp.MustCompile(`make \w+`).FindAllString(g.seen["tasks"], -1) {
		if !strings.Contains(string(tasks), task+" ") {
			t.Errorf("there is no %s", task)
		}
	}
	if !strings.Contains(g.seen["picture"], "─▶") {
		t.Error("the picture is none")
	}
}

func TestReadme_handlerShipsWhatIsSigned(t *testing.T) {
	t.Parallel()
	g, d := readGuide(t, "../README.md"), newDesk(t)
	d.install(t, guide{runs: map[string]string{"install": "npm install express standardwebhooks"}})
	d.write(t, "shop.env", "DOLLR_CALLBACK_SECRET="+callback.NewSecretText()+"\n")
	d.write(t, "handler.mjs", d.ports.Replace(`import express from "express";
const app = express(), ship = (order) => console.log("shipping", order);
`+g.run(t, "handler")+`app.listen(3000, "127.0.0.1", () => console.log("it listens"));`))
	s := &shop{desk: d}
	s.terminal, _ = d.start(t, "shop", ". ./shop.env; export DOLLR_CALLBACK_SECRET; node handler.mjs")
	s.terminal.waitFor(t, "it listens", 1)
	const paid = `{"type":"payment.succeeded","data":{"metadata":{"order":"1042"}}}`
	if code := s.post(t, paid, true); code/100 == 2 {
		t.Errorf("a stranger's signature was answered %d", code)
	}
	if code := s.post(t, `{"test":true,`+paid[1:], false); code != http.StatusNoContent {
		t.Errorf("an invented event was answered %d, want 204", code)
	}
	if code := s.post(t, paid, false); code != http.StatusNoContent {
		t.Errorf("the relay's callback was answered %d, want 204", code)
	}
	s.terminal.waitFor(t, "shipping 1042", 1)
	if text, _ := s.terminal.said(); strings.Count(text, "shipping") != 1 {
		t.Errorf("more was shipped:\n%s", text)
	}
}

// access are keys that let a relay start.
const access = "export RELAY_API_KEYS=0123456789abcdef0123456789abcdef RELAY_PAGE_SECRETS=fedcba9876543210fedcba9876543210\n"

func TestOperations_startAndMonitor(t *testing.T) {
	t.Parallel()
	g, d := readGuide(t, "operations.md"), newDesk(t)
	d.practise(t)
	relay, _ := d.start(t, "relay", access+filled(g.run(t, "start")))
	relay.waitFor(t, "relay is up", 1)
	if text, _ := relay.said(); !strings.Contains(text, "ok    dollr: ") {
		t.Errorf("the doctor did not say that Dollr is well:\n%s", text)
	}
	term, stop := d.start(t, "doctor", access+filled("export DOLLR_CLIENT_SECRET=another; dollr-relay doctor"))
	<-term.end
	stop()
	said, _ := term.said()
	for line := range strings.Lines(g.seen["doctor"]) {
		rest := said
		for fragment := range strings.SplitSeq(strings.TrimSpace(line), "…") {
			at := strings.Index(rest, strings.TrimSpace(fragment))
			if at < 0 {
				t.Errorf("the doctor does not say %q as shown in %s, but\n%s", fragment, line, said)
				break
			}
			rest = rest[at+len(strings.TrimSpace(fragment)):]
		}
	}

	pods, err := os.ReadFile("deploy/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"9090:127.0.0.1:9090 ", "deploy/dollr-relay 9090"} {
		if !strings.Contains(g.seen["tunnel"], part) {
			t.Errorf("the tunnel is %s, want one with %q", g.seen["tunnel"], part)
		}
	}
	if !strings.Contains(string(pods), "name: dollr-relay") || !strings.Contains(string(pods), "containerPort: 9090") {
		t.Error("there is no deployment dollr-relay with a port 9090 to forward")
	}

	rules, err := os.ReadFile("monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, "alerts.yaml", string(rules))
	g.write(t, d.folder, strings.Clone)
	d.paste(t, "promtool", `PATH=$PATH:$(go env GOPATH)/bin promtool check config prometheus.yml`)
}

func TestCallbacks_commandsAndExampleAreTrue(t *testing.T) {
	t.Parallel()
	quickstart, g := readGuide(t, "quickstart.md"), readGuide(t, "callbacks.md")
	d := opened(t, quickstart)
	got := make(chan *http.Request, 100)
	bodies := make(chan []byte, 100)
	shop := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- body
		got <- r
		w.WriteHeader(http.StatusNoContent)
	}))
	_ = shop.Listener.Close()
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", d.ports.Replace("127.0.0.1:3000"))
	if err != nil {
		t.Fatal(err)
	}
	shop.Listener = listener
	shop.Start()
	t.Cleanup(shop.Close)
	receive := func() (*http.Request, map[string]any) {
		t.Helper()
		select {
		case body := <-bodies:
			var event map[string]any
			if err := json.Unmarshal(body, &event); err != nil {
				t.Fatal(err)
			}
			return <-got, event
		case <-time.After(patience):
			t.Fatal("no callback came")
			return nil, nil
		}
	}
	d.paste(t, "register", quickstart.run(t, "register"))
	for _, step := range []string{"execute", "approve"} {
		d.paste(t, step, ". ./shop.env\n"+quickstart.run(t, step))
	}
	request, event := receive()
	compareExample(t, g.seen["request"], request, event)

	actual := strings.NewReplacer("https://relay.shop.example", "http://localhost:8080", "/run/secrets/relay-api-key", "key", "evt_6jla6pw5n7c2urtomy5mmy6x", request.Header.Get("Webhook-Id"))
	said := d.paste(t, "dead", ". ./shop.env; echo $RELAY_API_KEY > key; unset RELAY_API_KEY; PATH=$PWD:$PATH\n"+actual.Replace(g.run(t, "dead")))
	if !strings.Contains(said, "1 callback is on its way again") || !strings.Contains(said, "0 callbacks are on their way again") {
		t.Errorf("the commands for dead callbacks say\n%s", said)
	}
	receive()

	commands := strings.SplitAfter(strings.TrimSpace(g.run(t, "forward")), "\n")
	if len(commands) != 2 {
		t.Fatalf("%d commands, want listen and trigger", len(commands))
	}
	following, _ := d.start(t, "listen", ". ./shop.env; PATH=$PWD:$PATH\n"+commands[0])
	following.waitFor(t, "Forwarding events", 1)
	if _, event := receive(); event["type"] != "payment.succeeded" || event["test"] != nil {
		t.Errorf("listen brought %v, want the real event", event)
	}
	d.paste(t, "trigger", ". ./shop.env; PATH=$PWD:$PATH\n"+commands[1])
	if _, event := receive(); event["test"] != true {
		t.Errorf("trigger brought %v, want one that is marked as a test", event)
	}
}

// compareExample sees that what the document shows of a callback is in a real one.
func compareExample(t *testing.T, shown string, request *http.Request, event map[string]any) {
	t.Helper()
	head, body, _ := strings.Cut(shown, "\n\n")
	lines := strings.Split(head, "\n")
	if want := request.Method + " " + request.URL.Path + " HTTP/1.1"; lines[0] != want {
		t.Errorf("the example is %s, and the real one %s", lines[0], want)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		got := request.Header.Get(name)
		if prefix := regexp.MustCompile(`^[a-z]+[_,/]?`).FindString(value); got == "" || !strings.HasPrefix(got, prefix) {
			t.Errorf("the example has %s, the real one %s: %s", line, name, got)
		}
	}
	var example map[string]any
	if err := json.Unmarshal([]byte(body), &example); err != nil {
		t.Fatalf("the example's body: %v", err)
	}
	var compare func(path string, example, received map[string]any)
	compare = func(path string, example, received map[string]any) {
		for name, value := range example {
			actual, ok := received[name]
			if !ok {
				t.Errorf("the example has %s.%s, the real one has not", path, name)
			}
			if inner, isObject := value.(map[string]any); isObject && actual != nil && name != "metadata" {
				compare(path+"."+name, inner, actual.(map[string]any))
			}
		}
	}
	compare("", example, event)
}

// What the quickstart says of real credentials, with those of the sandbox.
func TestQuickstart_production(t *testing.T) {
	t.Parallel()
	g, d := readGuide(t, "quickstart.md"), newDesk(t)
	d.practise(t)
	d.paste(t, "secrets", "openssl rand -hex 32 > hex; openssl rand -base64 32 > base64")
	secrets := strings.NewReplacer("RELAY_API_KEYS=…", "RELAY_API_KEYS="+d.read(t, "hex"), "RELAY_PAGE_SECRETS=…", "RELAY_PAGE_SECRETS="+d.read(t, "hex"),
		"whsec_…", "whsec_"+d.read(t, "base64"), "/var/lib/dollr-relay/", "", "https://shop.example/hooks", d.ports.Replace("http://localhost:8090")+"/hooks")
	d.write(t, "dollr-relay.env", filled(secrets.Replace(g.seen["production.env"])))
	relay, _ := d.start(t, "relay", strings.ReplaceAll(g.run(t, "production"), "/etc/dollr-relay.env", "./dollr-relay.env"))
	relay.waitFor(t, "relay is up", 1)
}

// Examples that are read and not run: they are at least what they say they are.
func TestDocuments_examplesAreSound(t *testing.T) {
	t.Parallel()
	history := regexp.MustCompile(`^\s+\d+\.\d{3}s  \S+\s+\S`)
	for line := range strings.Lines(readGuide(t, "simulator.md").seen["history"]) {
		if !history.MatchString(line) {
			t.Errorf("simulator.md shows %q, which is no line of a history", line)
		}
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.CommandContext(t.Context(), path, "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(readGuide(t, "proxies.md").seen["settings"]) {
		if name, _, _ := strings.Cut(line, "="); !strings.Contains(string(help), "$"+name) {
			t.Errorf("proxies.md sets %s, which is no setting", name)
		}
	}
	types, err := os.ReadFile("../web/dist/relay.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	watch := readGuide(t, "integration/html.md").seen["watch"]
	for _, member := range slices.Compact(slices.Sorted(slices.Values(regexp.MustCompile(`\b(?:watch|DollrRelay)\.(\w+)`).FindAllString(watch, -1)))) {
		if _, name, _ := strings.Cut(member, "."); name != "addEventListener" && !strings.Contains(string(types), name) {
			t.Errorf("html.md uses %s, which relay.d.ts does not have", member)
		}
	}
	d := newDesk(t)
	d.write(t, "watch.mjs", watch)
	d.paste(t, "watch", "node --check watch.mjs")
	if declared := readGuide(t, "integration/react.md").seen["types"]; !strings.Contains(declared, `"dollr-status"`) || strings.Count(declared, "{") != strings.Count(declared, "}") {
		t.Errorf("react.md declares\n%s", declared)
	}
}
