package app

import (
	"net/netip"
	"net/url"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// Config is everything a relay can be told, already checked. Durations and numbers have no
// defaults here; they come with the flags of `serve`.
type Config struct {
	DollrBaseURL      string
	DollrClientID     string
	DollrClientSecret secret.Value
	DollrRate         float64

	SupabaseURL     string // empty: polling only
	SupabaseAnonKey secret.Value

	Listen      string
	AdminListen string
	PublicURL   *url.URL
	DatabaseURL secret.Value // may hold a password

	APIKeys        []secret.Value
	PageSecrets    []secret.Value
	AllowedOrigins []api.Origin
	PageTokenTTL   time.Duration
	MaxPages       int
	TrustedProxies []netip.Prefix

	CallbackURLs     []string
	CallbackSecrets  []callback.Secret
	CallbackSchedule []time.Duration

	WatchFor       time.Duration
	ReconcileEvery time.Duration
	PollMin        time.Duration
	PollMax        time.Duration
	AuditEvery     time.Duration
	RealtimeWindow time.Duration
	Retain         time.Duration // 0: nothing is deleted
	ShutdownGrace  time.Duration

	Version string
}
