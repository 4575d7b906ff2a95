package app

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// prefix of every metric (contract, section 8).
const prefix = "dollr_relay_"

// metrics counts what an operator wants to see. No label ever holds an id.
type metrics struct {
	registry *prometheus.Registry

	outcomes        *prometheus.CounterVec
	unknownStatus   prometheus.Counter
	realtimeMissed  prometheus.Counter
	hintToPage      prometheus.Histogram
	dollrRequests   *prometheus.CounterVec
	dollrWait       prometheus.Histogram
	breakers        *prometheus.GaugeVec
	attempts        *prometheus.CounterVec
	db              *prometheus.HistogramVec
	upstreamRejoins *prometheus.CounterVec
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	histogram := func(name, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0001, 3, 13)}
	}
	m := &metrics{
		registry:        prometheus.NewRegistry(),
		outcomes:        counter("outcomes_total", "Reported outcomes.", "outcome"),
		unknownStatus:   prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "unknown_status_total", Help: "Status words of Dollr that the operation does not have."}),
		realtimeMissed:  prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "realtime_missed_total", Help: "Changes that an audit saw before realtime did."}),
		hintToPage:      prometheus.NewHistogram(histogram("hint_to_page_seconds", "From a realtime frame to the hub of the pages.")),
		dollrRequests:   counter("dollr_requests_total", "Requests to Dollr.", "endpoint", "result"),
		dollrWait:       prometheus.NewHistogram(histogram("dollr_wait_seconds", "Waiting for the budget of requests to Dollr.")),
		breakers:        prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "breaker_state", Help: "0 closed, 1 half-open, 2 open."}, []string{"name"}),
		attempts:        counter("callback_attempts_total", "Attempts to deliver callbacks.", "result"),
		db:              prometheus.NewHistogramVec(histogram("db_seconds", "Database operations."), []string{"op"}),
		upstreamRejoins: counter("upstream_rejoins_total", "Realtime channels joined again.", "reason"),
	}
	m.registry.MustRegister(m.outcomes, m.unknownStatus, m.realtimeMissed, m.hintToPage, m.dollrRequests, m.dollrWait,
		m.breakers, m.attempts, m.db, m.upstreamRejoins, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, outcome := range relay.Outcomes()[1:] {
		m.outcomes.WithLabelValues(string(outcome))
	}
	m.breaker("status", fallback.Closed)
	m.breaker("realtime_key", fallback.Closed)
	return m
}

// watch adds the gauges that are read from the parts.
func (m *metrics) watch(a *App) {
	m.registry.MustRegister(&gauges{
		app:      a,
		payments: prometheus.NewDesc(prefix+"payments", "Open payments by how the relay hears of them.", []string{"link"}, nil),
		pages:    prometheus.NewDesc(prefix+"pages", "Open pages.", nil, nil),
		sockets:  prometheus.NewDesc(prefix+"upstream_sockets", "Open sockets to Supabase Realtime.", nil, nil),
		channels: prometheus.NewDesc(prefix+"upstream_channels", "Realtime channels by state.", []string{"state"}, nil),
	})
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Outcome implements [relay.Monitor].
func (m *metrics) Outcome(o relay.Outcome) { m.outcomes.WithLabelValues(string(o)).Inc() }

// UnknownWord implements [relay.Monitor].
func (m *metrics) UnknownWord(relay.Operation, string) { m.unknownStatus.Inc() }

// MissedByRealtime implements [relay.Monitor].
func (m *metrics) MissedByRealtime() { m.realtimeMissed.Inc() }

// HintToPage implements [relay.Monitor].
func (m *metrics) HintToPage(took time.Duration) { m.hintToPage.Observe(took.Seconds()) }

func (m *metrics) dollrRequest(o dollr.Observation) {
	m.dollrRequests.WithLabelValues(o.Endpoint, o.Result).Inc()
	m.dollrWait.Observe(o.Wait.Seconds())
}

func (m *metrics) breaker(name string, s fallback.State) {
	m.breakers.WithLabelValues(name).Set(float64(s))
}

func (m *metrics) callbackAttempt(_ callback.Delivery, r callback.Result) {
	if !r.Attempted {
		return
	}
	result := string(r.Reason)
	if r.Reason == callback.Acknowledged {
		result = "acknowledged"
	}
	m.attempts.WithLabelValues(result).Inc()
}

func (m *metrics) database(op string, took time.Duration) {
	m.db.WithLabelValues(op).Observe(took.Seconds())
}

func (m *metrics) realtimeHooks() realtime.Hooks {
	return realtime.Hooks{Rejoin: func(reason string) { m.upstreamRejoins.WithLabelValues(reason).Inc() }}
}

// gauges are read from the parts at each scrape.
type gauges struct {
	app                                *App
	payments, pages, sockets, channels *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	out <- g.payments
	out <- g.pages
	out <- g.sockets
	out <- g.channels
}

// Collect implements [prometheus.Collector].
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value int, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	for link, n := range g.app.relay.Links() {
		gauge(g.payments, n, string(link))
	}
	gauge(g.pages, g.app.relay.Hub().Open())
	if g.app.feed != nil {
		stats := g.app.feed.Stats()
		gauge(g.sockets, stats.Sockets)
		for state, n := range stats.Channels {
			gauge(g.channels, n, state)
		}
	}
}
