package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
)

// FuzzSettings reads any texts as settings: either all is within bounds, or each complaint is one line that begins with its variable.
func FuzzSettings(f *testing.F) {
	f.Add("0s,5s,30s", "72h", "2s", "5m", "10", "https://shop.example,https://*.shop.example:8443", "https://shop.example/hook", "10.0.0.0/8", ":8080")
	f.Add("", "1us", "-1ns", "1e3s", "NaN", "*", "ftp://x", "::/0", ":99999")
	f.Add("1h,,2h", "2562047h47m16.854775807s", "9999999999h", ".5s", "0x1p-2", "https://*", "https://u:p@h/?q#f", "1.2.3.4", "[::1]:80")
	f.Add("\n", "\x00", "１s", "5m\n", "1e-320", "https://a,", "http://[::1", "fe80::%1/64", "a:b:c")
	line := regexp.MustCompile(`^[A-Z][A-Z_]+(, [A-Z_]+)*: [^\n]+$`)
	f.Fuzz(func(t *testing.T, schedule, watch, least, most, rate, origins, hooks, proxies, listen string) {
		s := settings{
			DollrBaseURL: "https://api.heydollr.app", DollrClientID: "id", DollrClientSecret: "s", DollrRate: rate, Listen: listen,
			APIKeys: strings.Repeat("k", 32), PageSecrets: strings.Repeat("p", 32), AllowedOrigins: origins, TrustedProxies: proxies,
			CallbackURLs: hooks, CallbackSecrets: "whsec_" + strings.Repeat("A", 36), CallbackSchedule: schedule,
			WatchFor: watch, PollMin: least, PollMax: most, AuditEvery: least, ReconcileEvery: watch, RealtimeWindow: watch, Retain: watch,
		}
		config, _, err := newChecker(s, func(string) string { return "" }).config("v")
		if err != nil {
			wrong, ok := errors.AsType[*usageError](err)
			if !ok {
				t.Fatalf("error %v, want a usage error", err)
			}
			for _, problem := range wrong.problems {
				if !line.MatchString(problem) {
					t.Errorf("the problem %q is not one line that begins with a variable", problem)
				}
			}
			return
		}
		for i, wait := range config.CallbackSchedule {
			if wait < 0 || wait > 7*24*time.Hour {
				t.Errorf("schedule %q waits %s before attempt %d", schedule, wait, i+1)
			}
		}
		if len(config.CallbackSchedule) == 0 {
			t.Errorf("schedule %q is empty", schedule)
		}
		if config.PollMin < 500*time.Millisecond || config.PollMin > config.PollMax || config.WatchFor < time.Second || config.WatchFor > 720*time.Hour {
			t.Errorf("%q, %q, %q make polls from %s to %s for %s", least, most, watch, config.PollMin, config.PollMax, config.WatchFor)
		}
		if !(config.DollrRate > 0 && config.DollrRate <= 10_000) {
			t.Errorf("%q makes a rate of %v", rate, config.DollrRate)
		}
		for _, url := range config.CallbackURLs {
			if !strings.HasPrefix(strings.ToLower(url), "http") {
				t.Errorf("%q names the callback URL %q", hooks, url)
			}
		}
	})
}
