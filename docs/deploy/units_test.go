package deploy_test

import (
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pb33f/go-yaml"
)

// settings are the variables that `serve` knows, each secret also with _FILE.
func settings(t *testing.T, binary string) map[string]bool {
	t.Helper()
	help, err := exec.CommandContext(t.Context(), binary, "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, name := range regexp.MustCompile(`\$((?:DOLLR|RELAY|SUPABASE)_[A-Z_]+)`).FindAllStringSubmatch(string(help), -1) {
		known[name[1]] = true
	}
	for _, secret := range []string{"DOLLR_CLIENT_SECRET", "SUPABASE_ANON_KEY", "RELAY_API_KEYS", "RELAY_PAGE_SECRETS", "RELAY_CALLBACK_SECRETS", "RELAY_DATABASE_URL"} {
		known[secret+"_FILE"] = known[secret]
	}
	return known
}

// The unit is what systemd understands, and about as closed as a service that talks to the network can be.
func TestUnit_isSoundAndClosed(t *testing.T) {
	t.Parallel()
	const program = "/usr/local/bin/dollr-relay"
	text := read(t, "dollr-relay.service")
	binary := build(t)
	known := settings(t, binary)
	for _, name := range regexp.MustCompile(`(?m)^Environment=(\w+)=`).FindAllStringSubmatch(text, -1) {
		if !known[name[1]] {
			t.Errorf("the unit sets %s, which the relay does not know", name[1])
		}
	}
	for _, credential := range regexp.MustCompile(`%d/(\w+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, "LoadCredential="+credential[1]+":") {
			t.Errorf("the unit reads %s and does not load it", credential[1])
		}
	}
	unit := filepath.Join(t.TempDir(), "dollr-relay.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, program, binary)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "dollr-relay.service:") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	level := regexp.MustCompile(`Overall exposure level[^:]*: ([\d.]+)`).FindSubmatch(out)
	if level == nil {
		t.Fatalf("systemd-analyze security says no level:\n%s", out)
	}
	if exposure, err := strconv.ParseFloat(string(level[1]), 64); err != nil || exposure > 1.5 {
		t.Errorf("exposure %s, want at most 1.5 of 10:\n%s", level[1], out)
	}
}

// object is what the tests look at in the Kubernetes example.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Secrets  map[string]string `yaml:"stringData"`
	Spec     struct {
		Replicas     int
		MinAvailable int              `yaml:"minAvailable"`
		Ports        []map[string]any `yaml:"ports"`
		Template     struct {
			Spec struct {
				Grace      int `yaml:"terminationGracePeriodSeconds"`
				Containers []struct {
					Env   []struct{ Name, Value string }
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
					Liveness  probe `yaml:"livenessProbe"`
					Readiness probe `yaml:"readinessProbe"`
					Startup   probe `yaml:"startupProbe"`
					Mounts    []struct {
						Name string
						Path string `yaml:"mountPath"`
					} `yaml:"volumeMounts"`
				}
			}
		}
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func manifest(t *testing.T) map[string]object {
	t.Helper()
	objects := map[string]object{}
	for documents := yaml.NewDecoder(strings.NewReader(read(t, "kubernetes.yaml"))); ; {
		var o object
		err := documents.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("kubernetes.yaml: %v", err)
		}
		objects[o.Kind] = o
	}
}

func TestKubernetes_partsFitTogether(t *testing.T) {
	t.Parallel()
	objects, known := manifest(t), settings(t, build(t))
	for _, kind := range []string{"Secret", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"} {
		if objects[kind].Metadata.Name != "dollr-relay" {
			t.Fatalf("there is no %s dollr-relay", kind)
		}
	}
	deployment := objects["Deployment"].Spec
	if n := objects["PodDisruptionBudget"].Spec.MinAvailable; n < 1 || n >= deployment.Replicas {
		t.Errorf("at least %d of %d relays must stay: a node could never be drained, or all could go at once", n, deployment.Replicas)
	}
	if deployment.Template.Spec.Grace <= 20 {
		t.Errorf("%d s to end, want more than RELAY_SHUTDOWN_GRACE", deployment.Template.Spec.Grace)
	}
	container := deployment.Template.Spec.Containers[0]
	ports := map[string]int{}
	for _, p := range container.Ports {
		ports[p.Name] = p.ContainerPort
	}
	if ports["http"] != 8080 || ports["admin"] != 9090 {
		t.Errorf("ports %v, want http on 8080 (RELAY_LISTEN) and admin on 9090", ports)
	}
	for name, p := range map[string]probe{"/healthz": container.Liveness, "/readyz": container.Readiness} {
		if p.HTTPGet.Path != name || p.HTTPGet.Port != "admin" {
			t.Errorf("a probe asks %+v, want %s of the admin listener", p, name)
		}
	}
	if container.Startup.HTTPGet.Path != "/healthz" {
		t.Errorf("the start is watched by %+v, want /healthz", container.Startup)
	}
	for _, p := range objects["Service"].Spec.Ports {
		if p["targetPort"] != "http" {
			t.Errorf("the Service publishes %v, want http only: the admin listener is never public", p)
		}
	}
	set := maps.Clone(objects["ConfigMap"].Data)
	for _, e := range container.Env {
		set[e.Name] = e.Value
	}
	for name, value := range set {
		if !known[name] {
			t.Errorf("it sets %s, which the relay does not know", name)
		}
		if key, ok := strings.CutPrefix(value, container.Mounts[0].Path+"/"); ok {
			if _, there := objects["Secret"].Secrets[key]; !there {
				t.Errorf("%s reads %s, which is not in the Secret", name, value)
			}
		}
	}
	for _, needed := range []string{"DOLLR_CLIENT_ID", "DOLLR_CLIENT_SECRET_FILE", "RELAY_API_KEYS_FILE", "RELAY_PAGE_SECRETS_FILE", "RELAY_DATABASE_URL_FILE", "RELAY_PUBLIC_URL"} {
		if _, ok := set[needed]; !ok {
			t.Errorf("%s is not set", needed)
		}
	}
	if set["RELAY_ADMIN_LISTEN"] != ":9090" {
		t.Errorf("RELAY_ADMIN_LISTEN = %q, want what the probes ask", set["RELAY_ADMIN_LISTEN"])
	}
}
