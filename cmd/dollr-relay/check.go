package main

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/app"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

const minSecret = 32

// unreadable stands for a secret whose file has been complained about, so that it is not called
// missing as well. It is no secret: a configuration with a complaint is never used.
const unreadable = "\x00"

// usageError is a wrong configuration: every problem, each naming its variable.
type usageError struct{ problems []string }

func (e *usageError) Error() string {
	return "dollr-relay: the configuration is wrong:\n  " + strings.Join(e.problems, "\n  ")
}

// checker reads settings one by one and keeps what is wrong with them.
type checker struct {
	values   map[string]string // by variable
	getenv   func(string) string
	problems []string
}

// newChecker collects the settings' values: a flag wins over its variable, a variable over the
// default; a secret may come from the file that NAME_FILE names. An empty variable counts as unset.
func newChecker(s settings, getenv func(string) string) *checker {
	c := &checker{values: map[string]string{}, getenv: getenv}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name, value := tag.Get("env"), v.Field(i).String()
		if _, isSecret := tag.Lookup("secret"); isSecret {
			value = c.fromFile(name, value)
		} else if getenv(name+"_FILE") != "" {
			c.problem(name+"_FILE", "only secrets can come from a file; set "+name)
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
	variable := c.getenv(name)
	path := c.getenv(name + "_FILE")
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
	value = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	switch {
	case err != nil:
		c.problem(name+"_FILE", "cannot be read: "+err.Error())
	case value == "":
		c.problem(name+"_FILE", "the file is empty")
	default:
		return value
	}
	return unreadable
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
		PageTokenTTL:      c.duration("RELAY_PAGE_TOKEN_TTL", time.Second, 30*24*time.Hour),
		MaxPages:          c.count("RELAY_MAX_PAGES"),
		TrustedProxies:    c.networks("RELAY_TRUSTED_PROXIES"),
		CallbackURLs:      c.callbackURLs("RELAY_CALLBACK_URLS"),
		CallbackSecrets:   c.callbackSecrets("RELAY_CALLBACK_SECRETS"),
		CallbackSchedule:  c.schedule("RELAY_CALLBACK_SCHEDULE"),
		WatchFor:          c.duration("RELAY_WATCH_FOR", time.Second, 720*time.Hour),
		ReconcileEvery:    c.duration("RELAY_RECONCILE_EVERY", time.Second, 24*time.Hour),
		PollMin:           c.duration("RELAY_POLL_MIN", 500*time.Millisecond, time.Hour),
		PollMax:           c.duration("RELAY_POLL_MAX", 500*time.Millisecond, 24*time.Hour),
		AuditEvery:        c.duration("RELAY_AUDIT_EVERY", 500*time.Millisecond, 24*time.Hour),
		RealtimeWindow:    c.duration("RELAY_REALTIME_WINDOW", time.Second, 24*time.Hour),
		ShutdownGrace:     c.duration("RELAY_SHUTDOWN_GRACE", time.Second, time.Hour),
		Version:           version,
	}
	if c.values["RELAY_RETAIN"] != "" {
		config.Retain = c.duration("RELAY_RETAIN", time.Second, 100*365*24*time.Hour)
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
	if listen := c.values["RELAY_LISTEN"]; listen == c.values["RELAY_ADMIN_LISTEN"] && !strings.HasSuffix(listen, ":0") {
		c.problem("RELAY_ADMIN_LISTEN", "is the same address as RELAY_LISTEN; health, metrics and the console must not be public")
	}
	if config.PollMin > config.PollMax && config.PollMax > 0 {
		c.problem("RELAY_POLL_MIN", fmt.Sprintf("%s is above RELAY_POLL_MAX %s", config.PollMin, config.PollMax))
	}
	if c.values["RELAY_CALLBACK_URLS"] != "" && c.values["RELAY_CALLBACK_SECRETS"] == "" {
		c.problem("RELAY_CALLBACK_SECRETS", "is required with RELAY_CALLBACK_URLS; make one with: echo whsec_$(openssl rand -base64 32)")
	}
}
