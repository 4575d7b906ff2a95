// Package monitoring_test compares the dashboard and the alert rules with the metrics of a real relay, and has
// Prometheus' own tool check and play the rules.
package monitoring_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/go-yaml"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// scrape starts a relay with two callback URLs and returns what Prometheus would read from it.
func scrape(t *testing.T) []byte {
	t.Helper()
	signing, err := callback.ParseSecret(callback.NewSecretText())
	if err != nil {
		t.Fatal(err)
	}
	const nobody = "http://127.0.0.1:1"
	relay, err := app.New(t.Context(), app.Config{
		DollrBaseURL: nobody, DollrClientID: "id", DollrClientSecret: secret.New("secret"), DollrRate: 1,
		SupabaseURL: nobody, SupabaseAnonKey: secret.New("anon"),
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", PublicURL: &url.URL{Scheme: "http", Host: "localhost"},
		DatabaseURL: secret.New("sqlite:" + filepath.Join(t.TempDir(), "relay.db")),
		APIKeys:     []secret.Value{secret.New("key")}, PageSecrets: []secret.Value{secret.New("page")}, PageTokenTTL: time.Hour, MaxPages: 1,
		CallbackURLs: []string{nobody + "/a", nobody + "/b"}, CallbackSecrets: []callback.Secret{signing}, CallbackSchedule: []time.Duration{0},
		WatchFor: time.Hour, ReconcileEvery: time.Hour, PollMin: time.Second, PollMax: time.Minute, AuditEvery: time.Minute,
		RealtimeWindow: time.Minute, ShutdownGrace: time.Second,
	}, app.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	answer, err := http.Get(relay.AdminURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return body
}

// series are the label sets of each metric, by the name that a query uses.
func series(t *testing.T, scraped []byte) map[string][]map[string]string {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(scraped))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]map[string]string{"up": {{"instance": "", "job": ""}}} // Prometheus adds it
	for name, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{"instance": "", "job": ""} // Prometheus adds them
			for _, pair := range m.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			if family.GetType() != dto.MetricType_HISTOGRAM {
				all[name] = append(all[name], labels)
				continue
			}
			all[name+"_sum"], all[name+"_count"] = append(all[name+"_sum"], labels), append(all[name+"_count"], labels)
			labels["le"] = ""
			all[name+"_bucket"] = append(all[name+"_bucket"], labels)
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`\b((?:dollr_relay|process|go)_[a-z_]+|up)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
)

// compare fails the test if a query names a metric, a label or a label's value that the relay does not have.
func compare(t *testing.T, where, query string, have map[string][]map[string]string) {
	t.Helper()
	found := selector.FindAllStringSubmatch(query, -1)
	if len(found) == 0 {
		t.Errorf("%s: no metric in %s", where, query)
	}
	grouped := map[string]bool{}
	for _, clause := range grouping.FindAllStringSubmatch(query, -1) {
		for label := range strings.SplitSeq(clause[1], ",") {
			grouped[strings.TrimSpace(label)] = true
		}
	}
	for _, s := range found {
		sets := have[s[1]]
		if len(sets) == 0 {
			t.Errorf("%s: the relay has no metric %s", where, s[1])
			continue
		}
		for label := range grouped {
			if _, ok := sets[0][label]; !ok {
				t.Errorf("%s: %s has no label %q", where, s[1], label)
			}
		}
		if !slices.ContainsFunc(sets, func(set map[string]string) bool { return selects(s[2], set) }) {
			t.Errorf("%s: no series of %s fits {%s}", where, s[1], s[2])
		}
	}
}

// selects reports whether a series fits what stands between a selector's braces.
func selects(matchers string, series map[string]string) bool {
	for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
		label, negative := m[1], strings.HasPrefix(m[2], "!")
		value, known := series[label]
		if label == "instance" || label == "job" {
			continue
		}
		if !known || regexp.MustCompile("^(?:"+m[3]+")$").MatchString(value) == negative {
			return false
		}
	}
	return true
}

// rule is an alert as the file has it.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Groups) != 1 {
		t.Fatalf("alerts.yaml: %v, %d groups; want one", err, len(file.Groups))
	}
	return file.Groups[0].Rules
}

// panel is what the test needs of a dashboard's panel.
type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
	} `json:"targets"`
}

func panels(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		UID    string  `json:"uid"`
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || dashboard.UID == "" {
		t.Fatalf("dashboard.json: %v, uid %q", err, dashboard.UID)
	}
	return dashboard.Panels
}

func TestQueries_askForMetricsThatExist(t *testing.T) {
	t.Parallel()
	have := series(t, scrape(t))
	used := ""
	for _, r := range rules(t) {
		compare(t, r.Alert, r.Expr, have)
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			compare(t, p.Title, target.Expr, have)
			used += target.Expr
			for _, label := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1) {
				compare(t, p.Title+", legend", target.Expr+" by ("+label[1]+")", have)
			}
		}
	}
	for name := range have {
		if base := strings.TrimSuffix(name, "_bucket"); strings.HasPrefix(name, "dollr_relay_") && !strings.HasSuffix(name, "_sum") &&
			!strings.HasSuffix(name, "_count") && !strings.Contains(used, base) {
			t.Errorf("docs/monitoring/dashboard.json shows nothing of %s", base)
		}
	}
}

func TestDashboard_isWellFormed(t *testing.T) {
	t.Parallel()
	taken := map[[2]int]string{}
	ids := map[int]string{}
	for _, p := range panels(t) {
		if other := ids[p.ID]; other != "" || p.ID == 0 {
			t.Errorf("%q has the id %d of %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("%q says nothing about itself, or shows nothing", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies on %q or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// promtool runs Prometheus' own checker, which scripts/setup.sh brings.
func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		out, gopath := exec.CommandContext(t.Context(), "go", "env", "GOPATH").Output()
		path = filepath.Join(strings.TrimSpace(string(out)), "bin", "promtool")
		if err := cmp.Or(gopath, fileExists(path)); err != nil {
			t.Fatalf("no promtool: scripts/setup.sh system installs it (%v)", err)
		}
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

func fileExists(path string) error {
	_, err := os.Stat(path)
	return err
}

func TestPromtool_acceptsRulesQueriesAndMetrics(t *testing.T) {
	t.Parallel()
	promtool(t, nil, "check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml")
	promtool(t, nil, "test", "rules", "alerts_test.yaml")
	promtool(t, scrape(t), "check", "metrics")

	// The dashboard's queries, with Grafana's variables filled in, as recording rules: they must parse.
	var file strings.Builder
	file.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	for i, p := range panels(t) {
		for j, target := range p.Targets {
			query := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(target.Expr)
			fmt.Fprintf(&file, "      - {record: 'panel:%d_%d', expr: %q}\n", i, j, query)
		}
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", path)
}

// Whoever is woken by an alert finds what to do about it.
func TestAlerts_haveRunbooks(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../operations.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	headings := 0
	for _, r := range rules(t) {
		if !strings.Contains(string(manual), "\n### "+r.Alert+"\n") {
			t.Errorf("operations.md has no heading ### %s", r.Alert)
		} else {
			headings++
		}
		if want := "docs/operations.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
			t.Errorf("%s: runbook %q, want %q", r.Alert, r.Annotations["runbook"], want)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q, want page or ticket", r.Alert, s)
		}
		for _, case_ := range []string{" fires\n", " is silent\n"} {
			if !strings.Contains(string(tests), r.Alert+case_) {
				t.Errorf("alerts_test.yaml has no case %s%s", r.Alert, case_)
			}
		}
	}
	if n := strings.Count(string(manual), "\n### DollrRelay"); n != headings {
		t.Errorf("operations.md has %d runbooks for %d alerts", n, headings)
	}
}
