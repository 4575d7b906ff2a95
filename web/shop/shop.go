// Package shop is the demo's shop: a product page, a checkout and a backend, as a merchant would write them against the
// relay's HTTP API. It knows the relay by its URL, its API key and its callback secret, and nothing of its insides.
//
// The merchant's part is small: [Shop.checkout] registers a payment, the order page shows <dollr-status>, and
// [Shop.receive] fulfils the order when the verified callback comes. The rest plays customer and weather by the controls
// of the sandbox, and shows what happens.
package shop

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

//go:embed pages
var pages embed.FS

//go:embed assets
var assets embed.FS

// Options configure a Shop. All but Logger are required.
type Options struct {
	// RelayURL is the relay's public URL.
	RelayURL string
	APIKey   secret.Value
	// SandboxURL is where the stand-ins' controls are, without /_sandbox/.
	SandboxURL string
	// CallbackSecret is the relay's callback secret, whsec_….
	CallbackSecret string
	// Logger defaults to none.
	Logger *slog.Logger
}

// Shop is the demo shop.
type Shop struct {
	relay    *client
	sandbox  *client
	verifier *callback.Verifier
	orders   *orderBook
	pages    *template.Template
	policy   string
	log      *slog.Logger
}

// New checks the options and makes a Shop without orders.
func New(opts Options) (*Shop, error) {
	var problems []error
	relay, err := origin(opts.RelayURL)
	if err != nil {
		problems = append(problems, fmt.Errorf("RelayURL: %w", err))
	}
	if _, err := origin(opts.SandboxURL); err != nil {
		problems = append(problems, fmt.Errorf("SandboxURL: %w", err))
	}
	if opts.APIKey.IsZero() {
		problems = append(problems, errors.New("APIKey: is required"))
	}
	whsec, err := callback.ParseSecret(opts.CallbackSecret)
	if err != nil {
		problems = append(problems, fmt.Errorf("CallbackSecret: %w", err))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("shop: %w", errors.Join(problems...))
	}
	verifier, err := callback.NewVerifier([]callback.Secret{whsec}, nil)
	if err != nil {
		return nil, fmt.Errorf("shop: %w", err)
	}
	templates, err := template.ParseFS(pages, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("shop: %w", err)
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Shop{
		relay:    newClient(opts.RelayURL, opts.APIKey),
		sandbox:  newClient(opts.SandboxURL, secret.Value{}),
		verifier: verifier,
		orders:   newOrderBook(),
		pages:    templates,
		policy:   contentPolicy(relay),
		log:      log,
	}, nil
}

// Handler serves the shop below /demo/.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /demo", http.RedirectHandler("/demo/", http.StatusMovedPermanently))
	mux.HandleFunc("GET /demo/{$}", s.showProduct)
	mux.HandleFunc("POST /demo/checkout", s.checkout)
	mux.HandleFunc("GET /demo/orders/{number}", s.showOrder)
	mux.HandleFunc("GET /demo/orders/{number}/events", s.streamOrder)
	mux.HandleFunc("POST /demo/hooks/dollr", s.receive)
	mux.HandleFunc("POST /demo/orders/{number}/customer", s.playCustomer)
	mux.HandleFunc("POST /demo/weather", s.playWeather)
	mux.Handle("GET /demo/assets/", http.StripPrefix("/demo", http.FileServerFS(assets)))
	mux.HandleFunc("/demo/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusNotFound, "There is nothing here.", nil)
	})
	return s.secure(http.NewCrossOriginProtection().Handler(mux))
}

// secure sets the headers of every answer.
func (s *Shop) secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", s.policy)
		h.Set("Cache-Control", "no-cache")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		next.ServeHTTP(w, r)
	})
}

// contentPolicy allows the shop's own files and the relay's script and connections, nothing inline. This is all that a
// merchant's policy needs for the relay.
func contentPolicy(relay string) string {
	return strings.Join([]string{
		"default-src 'self'",
		"script-src 'self' " + relay,
		"connect-src 'self' " + relay + " " + strings.Replace(relay, "http", "ws", 1),
		"object-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
		"require-trusted-types-for 'script'", "trusted-types 'none'",
	}, "; ")
}

// origin returns the origin of an absolute http or https URL.
func origin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("want an absolute http or https URL")
	}
	return u.Scheme + "://" + u.Host, nil
}

// show renders a page.
func (s *Shop) show(w http.ResponseWriter, r *http.Request, code int, page string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	if err := s.pages.ExecuteTemplate(w, page, data); err != nil {
		s.log.WarnContext(r.Context(), "demo page was not sent", slog.String("page", page), slog.Any("err", err))
	}
}

// fail tells a person what went wrong, and the log why.
func (s *Shop) fail(w http.ResponseWriter, r *http.Request, code int, what string, err error) {
	if err != nil {
		s.log.WarnContext(r.Context(), "demo request failed", slog.String("what", what), slog.Any("err", err))
	}
	s.show(w, r, code, "problem.html", what)
}
