package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

const minSecret = 32

// usageError is a wrong configuration: every problem, each naming its variable.
type usageError struct{ problems []string }

func (e *usageError) Error() string {
	return "dollr-relay: the configuration is wrong:\n  " + strings.Join(e.problems, "\n  ")
}

// checker reads settings one by one and keeps what is wrong with them.
type checker struct {
	values   map[string]string // by variable
	problems []string
}

// newChecker collects the settings' values: a flag wins over its variable, a variable over the
// default; a secret may come from the file that NAME_FILE names. An empty variable counts as unset.
func newChecker(s settings) *checker {
	c := &checker{values: map[string]string{}}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name, value := tag.Get("env"), v.Field(i).String()
		if _, isSecret := tag.Lookup("secret"); isSecret {
			value = c.fromFile(name, value)
		}
		if value == "" {
			value = tag.Get("default") + tag.Get("fallback")
		}
		c.values[name] = value
	}
	return c
}

// fromFile reads a secret from the file that NAME_FILE names, unless a flag gave it.
func (c *checker) fromFile(name, value string) string {
	variable := os.Getenv(name)
	path := os.Getenv(name + "_FILE")
	switch {
	case path == "":
		return value
	case variable != "":
		c.problem(name, "is set together with "+name+"_FILE; keep one of them")
		return value
	case value != "": // by flag
		return value
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		c.problem(name+"_FILE", "cannot be read: "+err.Error())
		return ""
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
}

func (c *checker) problem(name, what string) {
	c.problems = append(c.problems, name+": "+what)
}

// config checks everything and returns what the relay is told.
func (c *checker) config(version string) (app.Config, slog.Level, error) {
	config := app.Config{
		DollrBaseURL:      c.dollrURL("DOLLR_BASE_URL"),
		DollrClientID:     c.required("DOLLR_CLIENT_ID"),
		DollrClientSecret: secret.New(c.required("DOLLR_CLIENT_SECRET")),
		DollrRate:         c.rate("DOLLR_RATE"),
		SupabaseURL:       c.webURL("SUPABASE_URL", c.values["SUPABASE_URL"]),
		SupabaseAnonKey:   secret.New(c.values["SUPABASE_ANON_KEY"]),
		Listen:            c.address("RELAY_LISTEN"),
		AdminListen:       c.address("RELAY_ADMIN_LISTEN"),
		PublicURL:         c.publicURL("RELAY_PUBLIC_URL"),
		DatabaseURL:       c.database("RELAY_DATABASE_URL"),
		APIKeys:           c.secrets("RELAY_API_KEYS"),
		PageSecrets:       c.secrets("RELAY_PAGE_SECRETS"),
		AllowedOrigins:    c.origins("RELAY_ALLOWED_ORIGINS"),
		PageTokenTTL:      c.duration("RELAY_PAGE_TOKEN_TTL", 10*time.Second, 30*24*time.Hour),
		MaxPages:          c.count("RELAY_MAX_PAGES"),
		TrustedProxies:    c.networks("RELAY_TRUSTED_PROXIES"),
		CallbackURLs:      c.callbackURLs("RELAY_CALLBACK_URLS"),
		CallbackSecrets:   c.callbackSecrets("RELAY_CALLBACK_SECRETS"),
		CallbackSchedule:  c.schedule("RELAY_CALLBACK_SCHEDULE"),
		WatchFor:          c.duration("RELAY_WATCH_FOR", time.Second, 720*time.Hour),
		ReconcileEvery:    c.duration("RELAY_RECONCILE_EVERY", time.Second, 24*time.Hour),
		PollMin:           c.duration("RELAY_POLL_MIN", 500*time.Millisecond, time.Hour),
		PollMax:           c.duration("RELAY_POLL_MAX", 500*time.Millisecond, 24*time.Hour),
		AuditEvery:        c.duration("RELAY_AUDIT_EVERY", time.Second, time.Hour),
		RealtimeWindow:    c.duration("RELAY_REALTIME_WINDOW", time.Second, 24*time.Hour),
		ShutdownGrace:     c.duration("RELAY_SHUTDOWN_GRACE", time.Second, time.Hour),
		Version:           version,
	}
	if c.values["RELAY_RETAIN"] != "" {
		config.Retain = c.duration("RELAY_RETAIN", time.Hour, 100*365*24*time.Hour)
	}
	level := c.level("RELAY_LOG")
	c.contradictions(config)
	if len(c.problems) > 0 {
		return app.Config{}, 0, &usageError{c.problems}
	}
	return config, level, nil
}

// contradictions are settings that are fine alone and wrong together.
func (c *checker) contradictions(config app.Config) {
	if (c.values["SUPABASE_URL"] == "") != (c.values["SUPABASE_ANON_KEY"] == "") {
		c.problem("SUPABASE_URL, SUPABASE_ANON_KEY", "only one of them is set; realtime needs both, polling alone needs none")
	}
	if config.PollMin > config.PollMax && config.PollMax > 0 {
		c.problem("RELAY_POLL_MIN", fmt.Sprintf("%s is above RELAY_POLL_MAX %s", config.PollMin, config.PollMax))
	}
	if c.values["RELAY_CALLBACK_URLS"] != "" && c.values["RELAY_CALLBACK_SECRETS"] == "" {
		c.problem("RELAY_CALLBACK_SECRETS", "is required with RELAY_CALLBACK_URLS; make one with: echo whsec_$(openssl rand -base64 32)")
	}
}

func (c *checker) required(name string) string {
	if c.values[name] == "" {
		c.problem(name, "is required")
	}
	return c.values[name]
}

// list splits a comma separated setting.
func (c *checker) list(name string) []string {
	if c.values[name] == "" {
		return nil
	}
	parts := strings.Split(c.values[name], ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func (c *checker) secrets(name string) []secret.Value {
	c.required(name)
	var values []secret.Value
	for i, text := range c.list(name) {
		if len(text) < minSecret {
			c.problem(name, fmt.Sprintf("number %d has %d characters, at least %d are needed; make one with: openssl rand -hex 32", i+1, len(text), minSecret))
			continue
		}
		values = append(values, secret.New(text))
	}
	return values
}

func (c *checker) duration(name string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(c.values[name])
	switch {
	case err != nil:
		c.problem(name, fmt.Sprintf("%q is no duration; want one such as 30s, 5m or 72h", c.values[name]))
	case d < least || d > most:
		c.problem(name, fmt.Sprintf("%s is not between %s and %s", d, least, most))
	default:
		return d
	}
	return 0
}

func (c *checker) schedule(name string) []time.Duration {
	var schedule []time.Duration
	for _, text := range c.list(name) {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > callback.MaxAge {
			c.problem(name, fmt.Sprintf("%q is no duration between 0s and %s", text, callback.MaxAge))
			continue
		}
		schedule = append(schedule, d)
	}
	return schedule
}

func (c *checker) rate(name string) float64 {
	rate, err := strconv.ParseFloat(c.values[name], 64)
	if err != nil || !(rate > 0 && rate <= 10_000) {
		c.problem(name, fmt.Sprintf("%q is no number of requests per second above 0 and at most 10000", c.values[name]))
	}
	return rate
}

func (c *checker) count(name string) int {
	n, err := strconv.Atoi(c.values[name])
	if err != nil || n < 1 {
		c.problem(name, fmt.Sprintf("%q is no whole number above 0", c.values[name]))
	}
	return n
}

func (c *checker) address(name string) string {
	_, port, err := net.SplitHostPort(c.values[name])
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		c.problem(name, fmt.Sprintf("%q is no address; want HOST:PORT or :PORT", c.values[name]))
	}
	return c.values[name]
}

// webURL checks an absolute http(s) URL that carries nothing but a place.
func (c *checker) webURL(name, text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		c.problem(name, fmt.Sprintf("%q is no http or https URL", text))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		c.problem(name, "must not carry a user, a query or a fragment")
	}
	return strings.TrimSuffix(text, "/")
}

func (c *checker) dollrURL(name string) string {
	text := c.webURL(name, c.values[name])
	if u, err := url.Parse(text); err == nil && u.Scheme == "http" && u.Hostname() != "localhost" {
		if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
			c.problem(name, "plain http is for loopback only: the client secret and the truth would travel unprotected")
		}
	}
	if strings.HasSuffix(text, "/v1") {
		c.problem(name, "leave out /v1; the relay adds it")
	}
	return text
}

func (c *checker) publicURL(name string) *url.URL {
	u, err := url.Parse(c.webURL(name, c.values[name]))
	if err != nil {
		return &url.URL{} // webURL has complained
	}
	return u
}

func (c *checker) database(name string) secret.Value {
	text := c.values[name]
	if path, ok := strings.CutPrefix(text, "sqlite:"); !ok || path == "" {
		c.problem(name, "want sqlite:PATH")
	}
	return secret.New(text)
}

func (c *checker) origins(name string) []api.Origin {
	var origins []api.Origin
	for _, text := range c.list(name) {
		origin, err := api.ParseOrigin(text)
		if err != nil {
			c.problem(name, err.Error())
			continue
		}
		origins = append(origins, origin)
	}
	return origins
}

func (c *checker) networks(name string) []netip.Prefix {
	var networks []netip.Prefix
	for _, text := range c.list(name) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			c.problem(name, fmt.Sprintf("%q is no CIDR such as 10.0.0.0/8", text))
			continue
		}
		networks = append(networks, prefix)
	}
	return networks
}

func (c *checker) callbackURLs(name string) []string {
	urls := c.list(name)
	for _, text := range urls {
		if u, err := url.Parse(text); err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
			c.problem(name, fmt.Sprintf("%q is no http or https URL", text))
		}
	}
	return urls
}

func (c *checker) callbackSecrets(name string) []callback.Secret {
	var secrets []callback.Secret
	for i, text := range c.list(name) {
		s, err := callback.ParseSecret(text)
		if err != nil {
			c.problem(name, fmt.Sprintf("number %d: %v", i+1, err))
			continue
		}
		secrets = append(secrets, s)
	}
	return secrets
}

func (c *checker) level(name string) slog.Level {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[c.values[name]]
	if !ok {
		c.problem(name, fmt.Sprintf("%q is none of debug, info, warn, error", c.values[name]))
	}
	return level
}
