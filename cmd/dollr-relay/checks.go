package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

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
		if text == unreadable {
			continue
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			c.problem(name, fmt.Sprintf("number %d holds a space or a character that no HTTP header can carry", i+1))
			continue
		}
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
	case d < least:
		c.problem(name, fmt.Sprintf("%s is too short, at least %s", d, least))
	case d > most:
		c.problem(name, fmt.Sprintf("%s is too long, at most %s", d, most))
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
		c.problem(name, fmt.Sprintf("%q is no http or https URL", shown(text)))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		c.problem(name, "must not carry a user, a query or a fragment")
	}
	return strings.TrimSuffix(text, "/")
}

// shown is a URL as a message may quote it: without what is often a secret.
func shown(text string) string {
	text, _, _ = strings.Cut(text, "?")
	if before, after, has := strings.Cut(text, "@"); has {
		scheme, _, _ := strings.Cut(before, "://")
		return scheme + "://…@" + after
	}
	return text
}

func (c *checker) dollrURL(name string) string {
	text := c.webURL(name, c.values[name])
	if u, err := url.Parse(text); err == nil && u.Scheme == "http" && !strings.EqualFold(u.Hostname(), "localhost") {
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
	scheme, rest, _ := strings.Cut(text, ":")
	switch {
	case text == unreadable:
	case scheme == "sqlite" && rest != "":
	case (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(rest, "//") && len(rest) > 2:
	default: // not quoted: it may hold a password
		c.problem(name, "is no database URL; want sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE")
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
			c.problem(name, fmt.Sprintf("%q is no CIDR such as 10.0.0.0/8, or 10.0.0.1/32 for one address", text))
			continue
		}
		networks = append(networks, prefix)
	}
	return networks
}

func (c *checker) callbackURLs(name string) []string {
	urls := c.list(name)
	for i, text := range urls {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
			c.problem(name, fmt.Sprintf("%q is no http or https URL", shown(text)))
		case u.User != nil || u.Fragment != "":
			c.problem(name, fmt.Sprintf("number %d must not carry a user or a fragment; callbacks are signed, that is their proof", i+1))
		case slices.Contains(urls[:i], text):
			c.problem(name, fmt.Sprintf("%q is named twice", shown(text)))
		}
	}
	return urls
}

func (c *checker) callbackSecrets(name string) []callback.Secret {
	var secrets []callback.Secret
	for i, text := range c.list(name) {
		if text == unreadable {
			continue
		}
		s, err := callback.ParseSecret(text)
		if err != nil {
			c.problem(name, fmt.Sprintf("number %d: %s; make one with: echo whsec_$(openssl rand -base64 32)", i+1, strings.TrimPrefix(err.Error(), "callback secret: ")))
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
