package main

// settings are the relay's configuration as flags of `serve`; each is also an environment variable,
// and those marked secret can be read from the file that NAME_FILE names. They are texts here, so
// that all that is wrong with them can be said at once; see check.go.
type settings struct {
	DollrBaseURL      string `name:"dollr-base-url" env:"DOLLR_BASE_URL" default:"https://api.heydollr.app" group:"Dollr" help:"Dollr API without /v1. Plain http only on loopback."`
	DollrClientID     string `name:"dollr-client-id" env:"DOLLR_CLIENT_ID" group:"Dollr" help:"Client id from the Dollr merchant portal. Required."`
	DollrClientSecret string `name:"dollr-client-secret" env:"DOLLR_CLIENT_SECRET" secret:"" group:"Dollr" help:"Client secret. Required."`
	DollrRate         string `name:"dollr-rate" env:"DOLLR_RATE" default:"10" group:"Dollr" help:"Requests per second to Dollr, everything together; bursts of twice that."`

	SupabaseURL     string `name:"supabase-url" env:"SUPABASE_URL" group:"Supabase Realtime" help:"Project URL from the merchant portal. Unset: polling only."`
	SupabaseAnonKey string `name:"supabase-anon-key" env:"SUPABASE_ANON_KEY" secret:"" group:"Supabase Realtime" help:"Anon key from the merchant portal."`

	Listen      string `name:"listen" env:"RELAY_LISTEN" default:":8080" group:"Relay" help:"Address for merchants and pages."`
	AdminListen string `name:"admin-listen" env:"RELAY_ADMIN_LISTEN" default:"127.0.0.1:9090" group:"Relay" help:"Address for health, metrics and the operator console. Never make it public."`
	PublicURL   string `name:"public-url" env:"RELAY_PUBLIC_URL" default:"http://localhost:8080" group:"Relay" help:"How pages reach the relay."`
	DatabaseURL string `name:"database-url" env:"RELAY_DATABASE_URL" fallback:"sqlite:relay.db" secret:"" group:"Relay" help:"sqlite:PATH (default sqlite:relay.db) or postgres://USER:PASSWORD@HOST/DATABASE, which one relay may use."`

	APIKeys        string `name:"api-keys" env:"RELAY_API_KEYS" secret:"" group:"Access" help:"Keys of your backends, comma separated, each at least 32 characters. Required."`
	PageSecrets    string `name:"page-secrets" env:"RELAY_PAGE_SECRETS" secret:"" group:"Access" help:"Secrets for page tokens, comma separated, each at least 32 characters; the first signs, all verify. Required."`
	AllowedOrigins string `name:"allowed-origins" env:"RELAY_ALLOWED_ORIGINS" group:"Access" help:"Origins of checkout pages, comma separated: https://shop.example or https://*.shop.example. None: pages of other origins are refused."`
	PageTokenTTL   string `name:"page-token-ttl" env:"RELAY_PAGE_TOKEN_TTL" default:"1h" group:"Access" help:"Life of a page token; an open connection gets fresh ones."`
	MaxPages       string `name:"max-pages" env:"RELAY_MAX_PAGES" default:"50000" group:"Access" help:"Open pages of this process; beyond it 503."`
	TrustedProxies string `name:"trusted-proxies" env:"RELAY_TRUSTED_PROXIES" group:"Access" help:"CIDRs of proxies whose X-Forwarded-For is believed, comma separated."`

	CallbackURLs     string `name:"callback-urls" env:"RELAY_CALLBACK_URLS" group:"Callbacks" help:"Where your backend takes callbacks, comma separated; the first is the default. Unset: backends read the event feed."`
	CallbackSecrets  string `name:"callback-secrets" env:"RELAY_CALLBACK_SECRETS" secret:"" group:"Callbacks" help:"whsec_<base64>, comma separated; every callback is signed with all. Required with callback URLs."`
	CallbackSchedule string `name:"callback-schedule" env:"RELAY_CALLBACK_SCHEDULE" default:"0s,5s,30s,5m,30m,2h,5h,10h,14h,20h,24h" group:"Callbacks" help:"Delay before each attempt."`

	WatchFor       string `name:"watch-for" env:"RELAY_WATCH_FOR" default:"72h" group:"Watching" help:"How long a payment without a terminal status is watched; at least 1s."`
	ReconcileEvery string `name:"reconcile-every" env:"RELAY_RECONCILE_EVERY" default:"5m" group:"Watching" help:"Sweep over all open payments, and over settled ones 1 h and 24 h after."`
	PollMin        string `name:"poll-min" env:"RELAY_POLL_MIN" default:"2s" group:"Watching" help:"Shortest poll interval while realtime is not live; at least 500ms."`
	PollMax        string `name:"poll-max" env:"RELAY_POLL_MAX" default:"5m" group:"Watching" help:"Longest poll interval; it grows with the payment's age."`
	AuditEvery     string `name:"audit-every" env:"RELAY_AUDIT_EVERY" default:"30s" group:"Watching" help:"Poll interval while realtime is live, to catch what it missed."`
	RealtimeWindow string `name:"realtime-window" env:"RELAY_REALTIME_WINDOW" default:"10m" group:"Watching" help:"How long after registration (and while a page is open) a payment has a realtime channel."`
	Retain         string `name:"retain" env:"RELAY_RETAIN" group:"Watching" help:"Settled payments older than this are deleted. Unset: nothing is."`

	ShutdownGrace string `name:"shutdown-grace" env:"RELAY_SHUTDOWN_GRACE" default:"20s" group:"Running" help:"Time for a graceful stop after SIGTERM; a second signal ends at once."`
	Log           string `name:"log" env:"RELAY_LOG" default:"info" group:"Running" help:"debug, info, warn or error. JSON lines on stderr, text on a terminal."`
}

// Help implements [kong.HelpProvider]: what stands above the list of flags.
func (settings) Help() string {
	return `Each flag is also the environment variable that is named beside it; a flag wins over its variable, and an
empty variable counts as unset. Secrets (client secret, anon key, API keys, page and callback secrets, database
URL) can come from a file: DOLLR_CLIENT_SECRET_FILE=/run/secrets/dollr, without the variable itself. A trailing
newline is dropped. Command lines can be seen by others: give secrets by variable or file, not by flag.

Lists are comma separated. Durations are written as 500ms, 30s, 5m or 72h. Everything is checked before the
start; all that is wrong is said at once, and the exit code is 2.

Required are DOLLR_CLIENT_ID, DOLLR_CLIENT_SECRET, RELAY_API_KEYS and RELAY_PAGE_SECRETS, and
RELAY_CALLBACK_SECRETS where RELAY_CALLBACK_URLS is set. The smallest useful start:

  export DOLLR_CLIENT_ID=… DOLLR_CLIENT_SECRET=…
  export SUPABASE_URL=https://….supabase.co SUPABASE_ANON_KEY=…
  export RELAY_API_KEYS=$(openssl rand -hex 32) RELAY_PAGE_SECRETS=$(openssl rand -hex 32)
  export RELAY_PUBLIC_URL=https://relay.shop.example RELAY_ALLOWED_ORIGINS=https://shop.example
  export RELAY_CALLBACK_URLS=https://shop.example/hooks/dollr
  export RELAY_CALLBACK_SECRETS=whsec_$(openssl rand -base64 32)
  dollr-relay serve

OpenTelemetry traces are off unless OTEL_EXPORTER_OTLP_ENDPOINT is set (http/protobuf; the usual OTEL_* variables).

GET /docs on the relay describes the API. SIGTERM stops it gracefully within the shutdown grace.`
}
