// Package shop is the demo shop: a merchant's website and backend as a merchant would write them. It
// talks to the relay over HTTP only, and knows nothing of it but its public documentation.
//
// Start at [Shop.Handler]. The line that matters is in hook.go: an order is fulfilled by a verified
// callback and by nothing else.
package shop

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

//go:embed assets
var assets embed.FS

// Options configure a [Shop]. All but Logger are required.
type Options struct {
	RelayURL   string // the relay's public URL
	APIKey     secret.Value
	SandboxURL string // the stand-ins', whose controls play customer and weather
	// CallbackSecret (whsec_…) verifies what the relay sends.
	CallbackSecret string
	Logger         *slog.Logger
}

// Shop is the website and the backend of the demo shop. Orders live in memory.
type Shop struct {
	relay, sandbox *client
	verifier       *callback.Verifier
	orders         *orders
	pages          *template.Template
	log            *slog.Logger
}

// New checks the options and reads the pages.
func New(opts Options) (*Shop, error) {
	if opts.RelayURL == "" || opts.SandboxURL == "" || opts.APIKey.IsZero() {
		return nil, errors.New("shop: RelayURL, SandboxURL and APIKey are required")
	}
	signing, err := callback.ParseSecret(opts.CallbackSecret)
	if err != nil {
		return nil, fmt.Errorf("shop: CallbackSecret: %w", err)
	}
	verifier, err := callback.NewVerifier([]callback.Secret{signing}, nil)
	if err != nil {
		return nil, fmt.Errorf("shop: %w", err)
	}
	pages, err := template.ParseFS(assets, "assets/*.html")
	if err != nil {
		return nil, fmt.Errorf("shop: read pages: %w", err)
	}
	return &Shop{
		relay: newClient(opts.RelayURL, opts.APIKey), sandbox: newClient(opts.SandboxURL, secret.Value{}),
		verifier: verifier, orders: newOrders(), pages: pages, log: cmp.Or(opts.Logger, slog.Default()),
	}, nil
}

// Handler serves everything under /demo/.
func (s *Shop) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /demo/{$}", s.showProducts)
	mux.HandleFunc("POST /demo/checkout", s.checkout)
	mux.HandleFunc("GET /demo/orders/{number}", s.showOrder)
	mux.HandleFunc("GET /demo/orders/{number}/events", s.followOrder)
	mux.HandleFunc("GET /demo/orders/{number}/timeline", s.showTimeline)
	mux.HandleFunc("GET /demo/orders/{number}/token", s.freshToken)
	mux.HandleFunc("POST /demo/orders/{number}/customer", s.playCustomer)
	mux.HandleFunc("GET /demo/weather", s.showWeather)
	mux.HandleFunc("PUT /demo/weather", s.changeWeather)
	mux.HandleFunc("POST /demo/hooks/dollr", s.receive)
	files, _ := fs.Sub(assets, "assets") // a constant path of an embedded folder
	mux.Handle("GET /demo/assets/", http.StripPrefix("/demo/assets/", http.FileServerFS(files)))
	return protected(sameSite(mux))
}

// protected sets what a careful shop sends with every page: scripts and styles are files of its own.
func protected(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// sameSite refuses what other websites post here.
func sameSite(next http.Handler) http.Handler { return http.NewCrossOriginProtection().Handler(next) }

func (s *Shop) render(w http.ResponseWriter, page string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := s.pages.ExecuteTemplate(w, page, data); err != nil {
		s.log.Warn("page not rendered", slog.String("page", page), slog.Any("err", err))
	}
}

// fail answers a request that could not be served.
func (s *Shop) fail(w http.ResponseWriter, r *http.Request, code int, err error) {
	s.log.WarnContext(r.Context(), "shop request failed", slog.String("path", r.URL.Path), slog.Any("err", err))
	http.Error(w, err.Error(), code)
}
