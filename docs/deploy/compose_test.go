// Package deploy_test checks what can be checked of the deployment files without the programs that read them.
package deploy_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/go-yaml"
)

// compose is what the tests look at in compose.yaml.
type compose struct {
	Services map[string]struct {
		Build, Image, Restart string
		EnvFile               string `yaml:"env_file"`
		Environment           map[string]string
		Ports, Volumes        []string
		DependsOn             yaml.Node     `yaml:"depends_on"`
		StopGracePeriod       time.Duration `yaml:"stop_grace_period"`
		Networks              yaml.Node
	}
	Networks map[string]struct {
		IPAM struct {
			Config []struct{ Subnet netip.Prefix }
		}
	}
	Volumes map[string]any
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func parse(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatalf("compose.yaml: %v", err)
	}
	return c
}

// build makes the binary and returns its path.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "dollr-relay")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/dollr-relay").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// filled are the variables of env.example, each with a value: what the reader is told to fill in.
func filled(t *testing.T) map[string]string {
	t.Helper()
	values := map[string]string{
		"DOLLR_CLIENT_ID": "id", "DOLLR_CLIENT_SECRET": "secret", "POSTGRES_PASSWORD": "0123abcd",
		"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_ANON_KEY": "key",
		"RELAY_API_KEYS": strings.Repeat("a", 64), "RELAY_PAGE_SECRETS": strings.Repeat("b", 64),
		"RELAY_CALLBACK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
	}
	set := map[string]string{}
	for line := range strings.Lines(read(t, "env.example")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			if value == "" {
				if value = values[name]; value == "" {
					t.Errorf("env.example leaves %s open, and this test has no value for it", name)
				}
			}
			set[name] = value
		}
	}
	return set
}

var variable = regexp.MustCompile(`\$\{(\w+)(?::\?[^}]*)?\}`)

// TestCompose_theRelayTakesItsConfiguration starts the relay with the environment of the relays, but where no database is.
func TestCompose_theRelayTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	binary, env := build(t), filled(t)
	help, err := exec.CommandContext(t.Context(), binary, "serve", "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	onlyOurs := []string{"RELAY_HOST", "POSTGRES_PASSWORD"} // of compose.yaml itself
	relay := parse(t).Services["relay-1"]
	for name, value := range relay.Environment {
		env[name] = variable.ReplaceAllStringFunc(value, func(use string) string {
			used := variable.FindStringSubmatch(use)[1]
			if env[used] == "" {
				t.Errorf("%s needs %s, which env.example does not name", name, used)
			}
			return env[used]
		})
	}
	environ := []string{"HOME=" + t.TempDir()}
	for name, value := range env {
		if !bytes.Contains(help, []byte("$"+name)) && !slices.Contains(onlyOurs, name) {
			t.Errorf("%s is no setting of the relay", name)
		}
		if name == "RELAY_DATABASE_URL" {
			value = strings.Replace(value, "@postgres:5432/", "@127.0.0.1:1/", 1)
		}
		environ = append(environ, name+"="+value)
	}
	serve := exec.CommandContext(t.Context(), binary, "serve")
	serve.Env = environ
	out, err := serve.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !bytes.Contains(out, []byte("connection refused")) {
		t.Errorf("serve: %v, want nothing wrong but the missing database (exit code 1):\n%s", err, out)
	}
}

func TestCompose_partsFitTogether(t *testing.T) {
	t.Parallel()
	c := parse(t)
	proxy := c.Services["proxy"]
	caddyfile := read(t, "../proxies/Caddyfile")
	for name, service := range c.Services {
		for _, mount := range service.Volumes {
			source, _, _ := strings.Cut(mount, ":")
			if _, named := c.Volumes[source]; named {
				continue
			}
			if _, err := os.Stat(source); err != nil {
				t.Errorf("%s mounts what is not there: %v", name, err)
			}
		}
		if len(service.Ports) > 0 && name != "proxy" {
			t.Errorf("%s publishes %v; only the proxy may be reached from outside", name, service.Ports)
		}
		if service.Restart != "unless-stopped" {
			t.Errorf("%s is not started again: restart %q", name, service.Restart)
		}
		for n := range mentioned(&service.DependsOn) {
			if _, there := c.Services[n]; !there && n != "condition" && n != "service_healthy" {
				t.Errorf("%s depends on %s, which is not there", name, n)
			}
		}
		if !strings.HasPrefix(name, "relay-") {
			continue
		}
		if _, err := os.Stat(filepath.Join(service.Build, "Dockerfile")); err != nil {
			t.Errorf("%s is built where no Dockerfile is: %v", name, err)
		}
		if grace := 20 * time.Second; service.StopGracePeriod <= grace {
			t.Errorf("%s is killed after %s, before its shutdown grace of %s is over", name, service.StopGracePeriod, grace)
		}
		if !strings.Contains(caddyfile, name+":8080") || !strings.Contains(caddyfile, "health_port 9090") || service.Environment["RELAY_ADMIN_LISTEN"] != ":9090" {
			t.Errorf("the proxy does not know %s, or where to ask whether it is ready", name)
		}
		trusted, err := netip.ParsePrefix(service.Environment["RELAY_TRUSTED_PROXIES"])
		if err != nil || !mentioned(&proxy.Networks)[trusted.Addr().String()] || !c.Networks["inside"].IPAM.Config[0].Subnet.Contains(trusted.Addr()) {
			t.Errorf("%s trusts %q, want the address of the proxy in the network (%v)", name, service.Environment["RELAY_TRUSTED_PROXIES"], err)
		}
	}
	for _, upstream := range regexp.MustCompile(`(relay-\d):8080`).FindAllStringSubmatch(caddyfile, -1) {
		if _, there := c.Services[upstream[1]]; !there {
			t.Errorf("the proxy asks %s, which is not there", upstream[1])
		}
	}
}

// mentioned is the set of all words in a part of the file.
func mentioned(n *yaml.Node) map[string]bool {
	words := map[string]bool{}
	if n.Kind == yaml.ScalarNode {
		words[n.Value] = true
	}
	for _, child := range n.Content {
		for word := range mentioned(child) {
			words[word] = true
		}
	}
	return words
}
