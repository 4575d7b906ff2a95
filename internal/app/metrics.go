package app

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dollr-relay/dollr-relay/fallback"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/api"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// prefix of every metric (contract, section 8).
const prefix = "dollr_relay_"

// metrics counts what an operator wants to see. No label ever holds an id, and every series with
// words that are known beforehand is there from the start, so that a rate over it is right.
type metrics struct {
	registry     *prometheus.Registry
	onBreaker    func(name string, s fallback.State) // for the console; may be nil
	endpointName map[string]string                   // breaker name of a callback URL, which may hold what is not for a label

	pageMessages    *prometheus.CounterVec
	pageCloses      *prometheus.CounterVec
	hintToPage      prometheus.Histogram
	eventToCallback prometheus.Histogram
	outcomes        *prometheus.CounterVec
	truthAge        *prometheus.HistogramVec
	upstreamJoins   prometheus.Counter
	upstreamRejoins *prometheus.CounterVec
	upstreamCloses  *prometheus.CounterVec
	upstreamIgnored *prometheus.CounterVec
	upstreamBeat    prometheus.Histogram
	realtimeMissed  prometheus.Counter
	dollrRequests   *prometheus.CounterVec
	dollrWait       prometheus.Histogram
	breakers        *prometheus.GaugeVec
	unknownStatus   prometheus.Counter
	attempts        *prometheus.CounterVec
	db              *prometheus.HistogramVec
}

// Buckets in seconds: fast things from 0.1 ms to a minute, slow ones from a second to some days.
func fastBuckets() []float64 { return prometheus.ExponentialBuckets(0.0001, 3, 13) }
func slowBuckets() []float64 { return prometheus.ExponentialBuckets(1, 3, 12) }

func newMetrics(callbackURLs []string) *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
		registry.MustRegister(vec)
		return vec
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
		registry.MustRegister(vec)
		return vec
	}
	single := func(name, help string) prometheus.Histogram {
		one := prometheus.NewHistogram(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: fastBuckets()})
		registry.MustRegister(one)
		return one
	}
	breakers := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + "breaker_state", Help: "0 closed, 1 half-open, 2 open."}, []string{"name"})
	registry.MustRegister(breakers)
	m := &metrics{
		registry: registry, endpointName: map[string]string{}, breakers: breakers,
		pageMessages:    counter("page_messages_total", "Messages written to pages.", "type"),
		pageCloses:      counter("page_closes_total", "Ends of pages' connections.", "reason"),
		hintToPage:      single("hint_to_page_seconds", "From a realtime frame to the hub of the pages."),
		eventToCallback: single("event_to_callback_seconds", "From an outcome to the first attempt at its callback."),
		outcomes:        counter("outcomes_total", "Reported outcomes.", "outcome"),
		truthAge:        histogram("truth_age_seconds", "How old the last answer about a payment was when the next one came.", slowBuckets(), "priority"),
		upstreamJoins:   counter("upstream_joins_total", "Joins sent to Supabase Realtime.").WithLabelValues(),
		upstreamCloses:  counter("upstream_closes_total", "Sockets to Supabase Realtime that ended or could not be opened.", "reason"),
		upstreamIgnored: counter("upstream_ignored_total", "Frames of Supabase Realtime that did not count.", "what"),
		upstreamBeat:    single("upstream_heartbeat_seconds", "Round trip of heartbeats to Supabase Realtime."),
		upstreamRejoins: counter("upstream_rejoins_total", "Realtime channels that failed and are joined again.", "reason"),
		realtimeMissed:  counter("realtime_missed_total", "Changes that an audit saw and live realtime had not told.").WithLabelValues(),
		dollrRequests:   counter("dollr_requests_total", "Requests to Dollr.", "endpoint", "result"),
		dollrWait:       single("dollr_wait_seconds", "Waiting for the budget of requests to Dollr."),
		unknownStatus:   counter("unknown_status_total", "Status words of Dollr that the operation does not have.").WithLabelValues(),
		attempts:        counter("callback_attempts_total", "Attempts to deliver callbacks.", "result"),
		db:              histogram("db_seconds", "Database operations, waiting included.", fastBuckets(), "op"),
	}
	m.prepare(callbackURLs)
	return m
}

// prepare makes the series whose words are known.
func (m *metrics) prepare(callbackURLs []string) {
	for _, kind := range api.MessageKinds() {
		m.pageMessages.WithLabelValues(kind)
	}
	for _, reason := range api.CloseReasons() {
		m.pageCloses.WithLabelValues(reason)
	}
	for _, outcome := range relay.Outcomes()[1:] {
		m.outcomes.WithLabelValues(string(outcome))
	}
	m.outcomes.WithLabelValues("contradicted")
	for _, u := range dollr.Urgencies() {
		m.truthAge.WithLabelValues(u.String())
	}
	for _, reason := range append(realtime.Reasons(), missed) {
		m.upstreamRejoins.WithLabelValues(reason)
	}
	m.upstreamCloses.WithLabelValues("connection")
	for _, what := range realtime.Ignorable() {
		m.upstreamIgnored.WithLabelValues(what)
	}
	for _, endpoint := range []string{"token", "realtime_key", dollr.Collection, dollr.Payout, dollr.Transfer, dollr.Refund, dollr.Source} {
		for _, result := range []string{"ok", "canceled", dollr.ReasonNotFound, dollr.ReasonRefused, dollr.ReasonRateLimited, dollr.ReasonUnreachable, dollr.ReasonUnreadable} {
			m.dollrRequests.WithLabelValues(endpoint, result)
		}
	}
	for _, reason := range []callback.Reason{callback.Acknowledged, callback.Refused, callback.Redirected, callback.Gone, callback.Timeout, callback.Unreachable} {
		m.attempts.WithLabelValues(attemptResult(reason))
	}
	for _, op := range []string{"register", "apply", "find", "claim", "finish"} {
		m.db.WithLabelValues(op)
	}
	m.breaker("status", fallback.Closed)
	m.breaker("realtime_key", fallback.Closed)
	for i, url := range callbackURLs {
		m.endpointName[url] = "callback_" + strconv.Itoa(i+1) // in the order of RELAY_CALLBACK_URLS
		m.callbackBreaker(url, fallback.Closed.String())
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// PageMessage implements [api.Monitor].
func (m *metrics) PageMessage(kind string) { m.pageMessages.WithLabelValues(kind).Inc() }

// PageClosed implements [api.Monitor].
func (m *metrics) PageClosed(reason string) { m.pageCloses.WithLabelValues(reason).Inc() }

// Reported implements [relay.Monitor].
func (m *metrics) Reported(what string) { m.outcomes.WithLabelValues(what).Inc() }

// UnknownWord implements [relay.Monitor].
func (m *metrics) UnknownWord(relay.Operation, string) { m.unknownStatus.Inc() }

// MissedByRealtime implements [relay.Monitor].
func (m *metrics) MissedByRealtime() { m.realtimeMissed.Inc() }

// HintToPage implements [relay.Monitor].
func (m *metrics) HintToPage(took time.Duration) { m.hintToPage.Observe(took.Seconds()) }

// truth takes note of an answer about a payment that was last known at since.
func (m *metrics) truth(u dollr.Urgency, since, now time.Time) {
	m.truthAge.WithLabelValues(u.String()).Observe(max(0, now.Sub(since).Seconds()))
}

func (m *metrics) dollrRequest(o dollr.Observation) {
	m.dollrRequests.WithLabelValues(o.Endpoint, o.Result).Inc()
	m.dollrWait.Observe(o.Wait.Seconds())
}

func (m *metrics) breaker(name string, s fallback.State) {
	m.breakers.WithLabelValues(name).Set(float64(s))
	if m.onBreaker != nil {
		m.onBreaker(name, s)
	}
}

func (m *metrics) callbackBreaker(url, state string) {
	for _, s := range []fallback.State{fallback.Closed, fallback.HalfOpen, fallback.Open} {
		if s.String() == state {
			m.breaker(m.endpointName[url], s)
		}
	}
}

func (m *metrics) callbackAttempt(d callback.Delivery, r callback.Result) {
	if !r.Attempted {
		return
	}
	m.attempts.WithLabelValues(attemptResult(r.Reason)).Inc()
	if d.Attempt == 1 {
		m.eventToCallback.Observe(max(0, r.At.Sub(d.QueuedAt).Seconds()))
	}
}

func attemptResult(reason callback.Reason) string {
	if reason == callback.Acknowledged {
		return "acknowledged"
	}
	return string(reason)
}

func (m *metrics) database(op string, took time.Duration) {
	m.db.WithLabelValues(op).Observe(took.Seconds())
}

func (m *metrics) realtimeHooks() realtime.Hooks {
	return realtime.Hooks{
		Join:      m.upstreamJoins.Inc,
		Rejoin:    func(reason string) { m.upstreamRejoins.WithLabelValues(reason).Inc() },
		Closed:    func(reason string) { m.upstreamCloses.WithLabelValues(reason).Inc() },
		Heartbeat: func(round time.Duration) { m.upstreamBeat.Observe(round.Seconds()) },
		Ignored:   func(what string) { m.upstreamIgnored.WithLabelValues(what).Inc() },
	}
}
