package proxies_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// kind is a proxy that the documentation has a configuration for.
type kind struct {
	name, file string
	// edits replace what the reader of the file is told to replace, and what only one process on a machine can have.
	edits func(b *bed, own, secure, plain string) []string
	run   func(file, folder string) *exec.Cmd
}

func kinds() []kind {
	return []kind{
		{
			"nginx", "nginx.conf",
			func(b *bed, own, secure, plain string) []string {
				temporary := "http {"
				for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
					temporary += " " + what + "_temp_path " + own + "/" + what + ";"
				}
				return []string{
					"listen 443 ", "listen " + secure + " ", "listen 80;", "listen " + plain + ";",
					"/etc/nginx/", b.folder + "/", "/var/log/nginx/", own + "/", "http {", temporary,
				}
			},
			func(file, folder string) *exec.Cmd {
				return exec.Command("nginx", "-p", folder, "-c", file, "-g", "daemon off; pid "+folder+"/pid;")
			},
		},
		{
			"haproxy", "haproxy.cfg",
			func(b *bed, _, secure, plain string) []string {
				return []string{"bind :443 ", "bind " + secure + " ", "bind :80\n", "bind " + plain + "\n", "port 9090", "port " + b.admin, "/etc/haproxy/", b.folder + "/"}
			},
			func(file, _ string) *exec.Cmd { return exec.Command("haproxy", "-db", "-f", file) },
		},
		{
			"caddy", "Caddyfile",
			func(b *bed, _, secure, plain string) []string {
				at, port, _ := net.SplitHostPort(secure)
				_, plainPort, _ := net.SplitHostPort(plain)
				certificate := "tls " + b.folder + "/relay.crt " + b.folder + "/relay.key"
				return []string{
					"health_port 9090", "health_port " + b.admin,
					"{\n\tlog {", "{\n\tadmin off\n\tdefault_bind " + at + "\n\thttps_port " + port + "\n\thttp_port " + plainPort + "\n\tlog {",
					"{$RELAY_HOST:relay.shop.example} {", "{$RELAY_HOST:relay.shop.example} {\n\t" + certificate,
				}
			},
			func(file, _ string) *exec.Cmd {
				return exec.Command("caddy", "run", "--config", file, "--adapter", "caddyfile")
			},
		},
	}
}

// proxy is a running one.
type proxy struct {
	t       *testing.T
	kind    kind
	secure  string // where it takes connections with TLS, and without
	plain   string
	file    string
	folder  string
	log     *os.File // what it prints
	running *exec.Cmd
}

// start runs a proxy with its configuration from the documentation, edited further for what a test wants to see soon.
func (k kind) start(t *testing.T, b *bed, edits ...string) *proxy {
	t.Helper()
	p := &proxy{t: t, kind: k, folder: t.TempDir()}
	p.secure, p.plain = b.free(p.folder)
	content, err := os.ReadFile(k.file)
	if err != nil {
		t.Fatal(err)
	}
	edits = append(edits, ":8080", ":"+b.port, "relay-1:", relay1+":", "relay-2:", relay2+":", "relay-3:", relay3+":")
	edits = append(edits, k.edits(b, p.folder, p.secure, p.plain)...)
	text := string(content)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(string(content), edits[i]) {
			t.Fatalf("%s has no %q", k.file, edits[i])
		}
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	p.file = filepath.Join(p.folder, k.file)
	if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if p.log, err = os.Create(filepath.Join(p.folder, "printed.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		_ = p.log.Close()
		if t.Failed() {
			t.Logf("%s printed: %s", k.name, p.logs())
		}
	})
	p.up()
	return p
}

// up starts the process and waits until it takes connections.
func (p *proxy) up() {
	p.t.Helper()
	p.running = p.kind.run(p.file, p.folder)
	p.running.Env = append(os.Environ(), "XDG_DATA_HOME="+p.folder, "XDG_CONFIG_HOME="+p.folder)
	p.running.Stdout, p.running.Stderr = p.log, p.log
	if err := p.running.Start(); err != nil {
		p.t.Fatalf("%v: run scripts/setup.sh system", err)
	}
	until(p.t, p.kind.name+" is up", func() bool {
		conn, err := net.Dial("tcp", p.secure)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// stop ends the process at once, and with it every connection.
func (p *proxy) stop() {
	if p.running == nil {
		return
	}
	_ = p.running.Process.Signal(syscall.SIGTERM) // an error means that it is gone
	_ = p.running.Wait()
	p.running = nil
}

// logs is everything that the proxy wrote.
func (p *proxy) logs() string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(p.folder, "*.log"))
	for _, file := range files {
		content, _ := os.ReadFile(file)
		all.Write(content)
	}
	return all.String()
}

// settle waits until every request is answered by the relay that works. HAProxy and Caddy have then found out which ones do
// not; nginx asks the next one each time.
func (p *proxy) settle(b *bed, client *http.Client) {
	p.t.Helper()
	until(p.t, "answered by the relay that works, thirty times in a row", func() bool {
		before := b.refused.Load()
		for range 30 {
			if code, _ := send(p.t, client, "GET", "https://"+host+"/v1/payments", apiKey, ""); code != 200 {
				return false
			}
		}
		return p.kind.name == "nginx" || b.refused.Load() == before
	})
}
