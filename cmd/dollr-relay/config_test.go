package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	needDuration = " is no duration; want one such as 30s, 5m or 72h"
	makeSecret   = "; make one with: echo whsec_$(openssl rand -base64 32)"
	headerUnsafe = "holds a space or a character that no HTTP header can carry"
)

func TestServe_badConfiguration(t *testing.T) {
	t.Parallel()
	secret := "whsec_" + strings.Repeat("A", 32) + "AAAA" // 27 bytes
	long := strings.Repeat("x", 40)
	tests := []struct {
		name string
		env  map[string]string // added to one that is fine; "" takes a variable away
		args []string
		want []string // the problems, in order
	}{
		{"no client id", map[string]string{"DOLLR_CLIENT_ID": ""}, nil, []string{"DOLLR_CLIENT_ID: is required"}},
		{"no client secret", map[string]string{"DOLLR_CLIENT_SECRET": ""}, nil, []string{"DOLLR_CLIENT_SECRET: is required"}},
		{"no API keys", map[string]string{"RELAY_API_KEYS": ""}, nil, []string{"RELAY_API_KEYS: is required"}},
		{"no page secrets", map[string]string{"RELAY_PAGE_SECRETS": ""}, nil, []string{"RELAY_PAGE_SECRETS: is required"}},
		{"short API key", map[string]string{"RELAY_API_KEYS": long + ",abc"}, nil, []string{"RELAY_API_KEYS: number 2 has 3 characters, at least 32 are needed; make one with: openssl rand -hex 32"}},
		{"trailing comma", map[string]string{"RELAY_API_KEYS": long + ","}, nil, []string{"RELAY_API_KEYS: number 2 has 0 characters, at least 32 are needed; make one with: openssl rand -hex 32"}},
		{"API key with a space", map[string]string{"RELAY_API_KEYS": long + " " + long}, nil, []string{"RELAY_API_KEYS: number 1 " + headerUnsafe}},
		{"API key with an umlaut", map[string]string{"RELAY_API_KEYS": long + "ü"}, nil, []string{"RELAY_API_KEYS: number 1 " + headerUnsafe}},
		{"short page secret", map[string]string{"RELAY_PAGE_SECRETS": strings.Repeat("p", 31)}, nil, []string{"RELAY_PAGE_SECRETS: number 1 has 31 characters, at least 32 are needed; make one with: openssl rand -hex 32"}},
		{"Dollr by http", map[string]string{"DOLLR_BASE_URL": "http://api.heydollr.app"}, nil, []string{"DOLLR_BASE_URL: plain http is for loopback only: the client secret and the truth would travel unprotected"}},
		{"Dollr with /v1", map[string]string{"DOLLR_BASE_URL": "https://api.heydollr.app/v1/"}, nil, []string{"DOLLR_BASE_URL: leave out /v1; the relay adds it"}},
		{"Dollr by ftp", map[string]string{"DOLLR_BASE_URL": "ftp://api.heydollr.app"}, nil, []string{`DOLLR_BASE_URL: "ftp://api.heydollr.app" is no http or https URL`}},
		{"Dollr without scheme", map[string]string{"DOLLR_BASE_URL": "api.heydollr.app"}, nil, []string{`DOLLR_BASE_URL: "api.heydollr.app" is no http or https URL`}},
		{"Dollr with a user", map[string]string{"DOLLR_BASE_URL": "https://me:pass@api.heydollr.app"}, nil, []string{"DOLLR_BASE_URL: must not carry a user, a query or a fragment"}},
		{"Dollr with a query", map[string]string{"DOLLR_BASE_URL": "https://api.heydollr.app?x=1"}, nil, []string{"DOLLR_BASE_URL: must not carry a user, a query or a fragment"}},
		{"rate zero", map[string]string{"DOLLR_RATE": "0"}, nil, []string{`DOLLR_RATE: "0" is no number of requests per second above 0 and at most 10000`}},
		{"rate NaN", map[string]string{"DOLLR_RATE": "NaN"}, nil, []string{`DOLLR_RATE: "NaN" is no number of requests per second above 0 and at most 10000`}},
		{"rate a word", map[string]string{"DOLLR_RATE": "fast"}, nil, []string{`DOLLR_RATE: "fast" is no number of requests per second above 0 and at most 10000`}},
		{"only a Supabase URL", map[string]string{"SUPABASE_URL": "https://x.supabase.co"}, nil, []string{"SUPABASE_URL, SUPABASE_ANON_KEY: only one of them is set; realtime needs both, polling alone needs none"}},
		{"only an anon key", map[string]string{"SUPABASE_ANON_KEY": "key"}, nil, []string{"SUPABASE_URL, SUPABASE_ANON_KEY: only one of them is set; realtime needs both, polling alone needs none"}},
		{"Supabase no URL", map[string]string{"SUPABASE_URL": "x.supabase.co", "SUPABASE_ANON_KEY": "key"}, nil, []string{`SUPABASE_URL: "x.supabase.co" is no http or https URL`}},
		{"listen without port", map[string]string{"RELAY_LISTEN": "localhost"}, nil, []string{`RELAY_LISTEN: "localhost" is no address; want HOST:PORT or :PORT`}},
		{"listen on port 70000", map[string]string{"RELAY_LISTEN": ":70000"}, nil, []string{`RELAY_LISTEN: ":70000" is no address; want HOST:PORT or :PORT`}},
		{"admin on a named port", map[string]string{"RELAY_ADMIN_LISTEN": ":http"}, nil, []string{`RELAY_ADMIN_LISTEN: ":http" is no address; want HOST:PORT or :PORT`}},
		{"both on one address", map[string]string{"RELAY_LISTEN": ":8080", "RELAY_ADMIN_LISTEN": ":8080"}, nil, []string{"RELAY_ADMIN_LISTEN: is the same address as RELAY_LISTEN; health, metrics and the console must not be public"}},
		{"public no URL", map[string]string{"RELAY_PUBLIC_URL": "relay.shop.example"}, nil, []string{`RELAY_PUBLIC_URL: "relay.shop.example" is no http or https URL`}},
		{"PostgreSQL nowhere", map[string]string{"RELAY_DATABASE_URL": "postgres:hidden"}, nil, []string{"RELAY_DATABASE_URL: is no database URL; want sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"}},
		{"another database", map[string]string{"RELAY_DATABASE_URL": "mysql://u:hidden@db/relay"}, nil, []string{"RELAY_DATABASE_URL: is no database URL; want sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"}},
		{"database without path", map[string]string{"RELAY_DATABASE_URL": "sqlite:"}, nil, []string{"RELAY_DATABASE_URL: is no database URL; want sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"}},
		{"any origin", map[string]string{"RELAY_ALLOWED_ORIGINS": "*"}, nil, []string{"RELAY_ALLOWED_ORIGINS: * would let every website read payments; name the origins of your checkout pages"}},
		{"origin with a path", map[string]string{"RELAY_ALLOWED_ORIGINS": "https://shop.example/"}, nil, []string{`RELAY_ALLOWED_ORIGINS: "https://shop.example/" is no origin; want https://shop.example or https://*.shop.example, without a path`}},
		{"origin null", map[string]string{"RELAY_ALLOWED_ORIGINS": "null"}, nil, []string{`RELAY_ALLOWED_ORIGINS: "null" is no origin; want https://shop.example or https://*.shop.example, without a path`}},
		{"origin with an inner wildcard", map[string]string{"RELAY_ALLOWED_ORIGINS": "https://shop.*.example"}, nil, []string{`RELAY_ALLOWED_ORIGINS: "https://shop.*.example" is no origin; want https://shop.example or https://*.shop.example, without a path`}},
		{"callback URLs without secrets", map[string]string{"RELAY_CALLBACK_URLS": "https://shop.example/hook"}, nil, []string{"RELAY_CALLBACK_SECRETS: is required with RELAY_CALLBACK_URLS" + makeSecret}},
		{"callback no URL", map[string]string{"RELAY_CALLBACK_URLS": "shop.example/hook?key=hidden", "RELAY_CALLBACK_SECRETS": secret}, nil, []string{`RELAY_CALLBACK_URLS: "shop.example/hook" is no http or https URL`}},
		{"callback with a password", map[string]string{"RELAY_CALLBACK_URLS": "https://a:hidden@shop.example/", "RELAY_CALLBACK_SECRETS": secret}, nil, []string{"RELAY_CALLBACK_URLS: number 1 must not carry a user or a fragment; callbacks are signed, that is their proof"}},
		{"callback twice", map[string]string{"RELAY_CALLBACK_URLS": "https://a.example/,https://a.example/", "RELAY_CALLBACK_SECRETS": secret}, nil, []string{`RELAY_CALLBACK_URLS: "https://a.example/" is named twice`}},
		{"secret without prefix", map[string]string{"RELAY_CALLBACK_URLS": "https://a.example/", "RELAY_CALLBACK_SECRETS": "hidden" + long}, nil, []string{"RELAY_CALLBACK_SECRETS: number 1: does not begin with whsec_" + makeSecret}},
		{"secret no base64", map[string]string{"RELAY_CALLBACK_URLS": "https://a.example/", "RELAY_CALLBACK_SECRETS": secret + ",whsec_hidden!"}, nil, []string{"RELAY_CALLBACK_SECRETS: number 2: what follows whsec_ is not base64" + makeSecret}},
		{"secret too short", map[string]string{"RELAY_CALLBACK_URLS": "https://a.example/", "RELAY_CALLBACK_SECRETS": "whsec_AAAA"}, nil, []string{"RELAY_CALLBACK_SECRETS: number 1: holds 3 bytes, want 24 to 64" + makeSecret}},
		{"schedule with a word", map[string]string{"RELAY_CALLBACK_SCHEDULE": "0s,soon"}, nil, []string{`RELAY_CALLBACK_SCHEDULE: "soon" is no duration between 0s and 168h0m0s`}},
		{"schedule backwards", map[string]string{"RELAY_CALLBACK_SCHEDULE": "-5s"}, nil, []string{`RELAY_CALLBACK_SCHEDULE: "-5s" is no duration between 0s and 168h0m0s`}},
		{"watch too short", map[string]string{"RELAY_WATCH_FOR": "500ms"}, nil, []string{"RELAY_WATCH_FOR: 500ms is too short, at least 1s"}},
		{"watch too long", map[string]string{"RELAY_WATCH_FOR": "721h"}, nil, []string{"RELAY_WATCH_FOR: 721h0m0s is too long, at most 720h0m0s"}},
		{"watch without unit", map[string]string{"RELAY_WATCH_FOR": "72"}, nil, []string{`RELAY_WATCH_FOR: "72"` + needDuration}},
		{"days", map[string]string{"RELAY_RETAIN": "30d"}, nil, []string{`RELAY_RETAIN: "30d"` + needDuration}},
		{"poll too often", map[string]string{"RELAY_POLL_MIN": "100ms"}, nil, []string{"RELAY_POLL_MIN: 100ms is too short, at least 500ms"}},
		{"poll bounds crossed", map[string]string{"RELAY_POLL_MIN": "10s", "RELAY_POLL_MAX": "5s"}, nil, []string{"RELAY_POLL_MIN: 10s is above RELAY_POLL_MAX 5s"}},
		{"audit a word", map[string]string{"RELAY_AUDIT_EVERY": "often"}, nil, []string{`RELAY_AUDIT_EVERY: "often"` + needDuration}},
		{"reconcile never", map[string]string{"RELAY_RECONCILE_EVERY": "0s"}, nil, []string{"RELAY_RECONCILE_EVERY: 0s is too short, at least 1s"}},
		{"token life negative", map[string]string{"RELAY_PAGE_TOKEN_TTL": "-1h"}, nil, []string{"RELAY_PAGE_TOKEN_TTL: -1h0m0s is too short, at least 1s"}},
		{"window a number", map[string]string{"RELAY_REALTIME_WINDOW": "600"}, nil, []string{`RELAY_REALTIME_WINDOW: "600"` + needDuration}},
		{"no pages", map[string]string{"RELAY_MAX_PAGES": "0"}, nil, []string{`RELAY_MAX_PAGES: "0" is no whole number above 0`}},
		{"half a page", map[string]string{"RELAY_MAX_PAGES": "1.5"}, nil, []string{`RELAY_MAX_PAGES: "1.5" is no whole number above 0`}},
		{"proxy no network", map[string]string{"RELAY_TRUSTED_PROXIES": "10.0.0.1"}, nil, []string{`RELAY_TRUSTED_PROXIES: "10.0.0.1" is no CIDR such as 10.0.0.0/8, or 10.0.0.1/32 for one address`}},
		{"no grace", map[string]string{"RELAY_SHUTDOWN_GRACE": "0"}, nil, []string{"RELAY_SHUTDOWN_GRACE: 0s is too short, at least 1s"}},
		{"log level unknown", map[string]string{"RELAY_LOG": "trace"}, nil, []string{`RELAY_LOG: "trace" is none of debug, info, warn, error`}},
		{"variable and file", map[string]string{"RELAY_API_KEYS_FILE": "/dev/null"}, nil, []string{"RELAY_API_KEYS: is set together with RELAY_API_KEYS_FILE; keep one of them"}},
		{"file missing", map[string]string{"RELAY_API_KEYS": "", "RELAY_API_KEYS_FILE": "/nowhere/keys"}, nil, []string{"RELAY_API_KEYS_FILE: cannot be read: open /nowhere/keys: no such file or directory"}},
		{"file empty", map[string]string{"RELAY_PAGE_SECRETS": "", "RELAY_PAGE_SECRETS_FILE": "/dev/null"}, nil, []string{"RELAY_PAGE_SECRETS_FILE: the file is empty"}},
		{"file of what is no secret", map[string]string{"RELAY_LISTEN_FILE": "/dev/null"}, nil, []string{"RELAY_LISTEN_FILE: only secrets can come from a file; set RELAY_LISTEN"}},
		{"bad flag over a good variable", map[string]string{"RELAY_WATCH_FOR": "1h"}, []string{"--watch-for=1ms"}, []string{"RELAY_WATCH_FOR: 1ms is too short, at least 1s"}},
		{"traces by gRPC", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "RELAY_MAX_PAGES": "0"}, nil, []string{
			`RELAY_MAX_PAGES: "0" is no whole number above 0`, `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" is not spoken here; want http/protobuf, usually on port 4318`,
		}},
		{"several at once", map[string]string{"DOLLR_CLIENT_ID": "", "RELAY_API_KEYS": "abc", "RELAY_LOG": "all"}, nil, []string{
			"DOLLR_CLIENT_ID: is required", "RELAY_API_KEYS: number 1 has 3 characters, at least 32 are needed; make one with: openssl rand -hex 32", `RELAY_LOG: "all" is none of debug, info, warn, error`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := good(t)
			for name, value := range tt.env {
				if env[name] = value; value == "" {
					delete(env, name)
				}
			}
			code, stdout, stderr := finish(t, command(t, env, append([]string{"serve"}, tt.args...)...))
			want := "dollr-relay: the configuration is wrong:\n  " + strings.Join(tt.want, "\n  ") + "\n"
			if code != 2 || stderr != want || stdout != "" {
				t.Errorf("exit %d\n%s%swant 2\n%s", code, stdout, stderr, want)
			}
			if strings.Contains(stderr, "hidden") {
				t.Error("a secret is printed")
			}
		})
	}
}

func TestServe_databaseOutOfReachTellsNoPassword(t *testing.T) {
	t.Parallel()
	env := good(t)
	env["RELAY_DATABASE_URL"] = "postgres://user:hidden-password@127.0.0.1:1/relay?connect_timeout=2"
	code, _, stderr := finish(t, command(t, env, "serve"))
	if code != 1 || !strings.Contains(stderr, "database") || strings.Contains(stderr, "hidden") {
		t.Errorf("exit %d saying %q, want 1 and why, without the password", code, stderr)
	}
}

func TestWrongUsage_exits2(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{}, {"fly"}, {"serve", "--no-such-flag"}, {"serve", "surplus"}, {"serve", "--listen"}, {"sandbox", "--key-life=long"}, {"version", "--loud"},
	} {
		code, _, stderr := finish(t, command(t, good(t), args...))
		if code != 2 || stderr == "" {
			t.Errorf("%q exits %d saying %q, want 2 and why", args, code, stderr)
		}
	}
}

func TestHelp_namesEverySetting(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := finish(t, command(t, map[string]string{"RELAY_API_KEYS": "hidden-api-key"}, "serve", "--help"))
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, stderr %q, want 0 and none", code, stderr)
	}
	for _, want := range []string{
		"DOLLR_BASE_URL", "DOLLR_CLIENT_ID", "DOLLR_CLIENT_SECRET", "DOLLR_RATE", "SUPABASE_URL", "SUPABASE_ANON_KEY", "RELAY_LISTEN", "RELAY_ADMIN_LISTEN",
		"RELAY_PUBLIC_URL", "RELAY_DATABASE_URL", "RELAY_API_KEYS", "RELAY_PAGE_SECRETS", "RELAY_ALLOWED_ORIGINS", "RELAY_CALLBACK_URLS", "RELAY_CALLBACK_SECRETS",
		"RELAY_CALLBACK_SCHEDULE", "RELAY_WATCH_FOR", "RELAY_RECONCILE_EVERY", "RELAY_POLL_MIN", "RELAY_POLL_MAX", "RELAY_AUDIT_EVERY", "RELAY_PAGE_TOKEN_TTL",
		"RELAY_REALTIME_WINDOW", "RELAY_MAX_PAGES", "RELAY_TRUSTED_PROXIES", "RELAY_RETAIN", "RELAY_SHUTDOWN_GRACE", "RELAY_LOG",
	} {
		flag := "--" + strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(want, "RELAY_")), "_", "-")
		if !strings.Contains(stdout, "$"+want) || !strings.Contains(stdout, flag) {
			t.Errorf("the help does not name %s and %s", want, flag)
		}
	}
	if strings.Contains(stdout, "hidden") {
		t.Error("the help prints the present value of a secret")
	}
}

// TestServe_precedence starts a relay whose every secret comes from elsewhere.
func TestServe_precedence(t *testing.T) {
	t.Parallel()
	env := good(t)
	key, database := strings.Repeat("f", 32), filepath.Join(t.TempDir(), "by-flag.db")
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	delete(env, "RELAY_API_KEYS")
	env["RELAY_API_KEYS_FILE"] = file
	env["RELAY_LOG"] = "" // counts as unset
	env["RELAY_CALLBACK_URLS"] = "http://shop.example/hook"
	env["RELAY_CALLBACK_SECRETS"] = "whsec_" + strings.Repeat("A", 36)
	r := launch(t, env, "serve", "--database-url=sqlite:"+database)
	if code, _ := r.get(t, r.public+"/v1/payments", key); code != 200 {
		t.Errorf("with the key of the file: %d, want 200", code)
	}
	if _, err := os.Stat(database); err != nil {
		t.Errorf("the flag's database: %v", err)
	}
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
	warned := false
	for line := range strings.Lines(r.log()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("log line %q is no JSON", line)
		}
		warned = warned || fields["level"] == "WARN" && strings.Contains(fields["msg"].(string), "RELAY_CALLBACK_URLS")
	}
	if !warned {
		t.Error("no warning of callbacks by plain http")
	}
}
