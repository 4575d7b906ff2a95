package app

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// scrapeTimeout bounds what a scrape may ask the database.
const scrapeTimeout = 2 * time.Second

// gauges are read from the parts at each scrape.
type gauges struct {
	app *App

	pages, payments, sockets, channels, callbacks *prometheus.Desc
}

func newGauges(a *App) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prefix+name, help, labels, nil)
	}
	return &gauges{
		app:       a,
		pages:     desc("pages", "Open pages.", "transport"),
		payments:  desc("payments", "Open payments by how the relay hears of them.", "link"),
		sockets:   desc("upstream_sockets", "Open sockets to Supabase Realtime."),
		channels:  desc("upstream_channels", "Realtime channels by state.", "state"),
		callbacks: desc("callbacks", "Callbacks by state.", "state"),
	}
}

// Describe implements [prometheus.Collector].
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{g.pages, g.payments, g.sockets, g.channels, g.callbacks} {
		out <- desc
	}
}

// Collect implements [prometheus.Collector].
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value int, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	for transport, n := range g.app.api.OpenPages() {
		gauge(g.pages, n, transport)
	}
	for link, n := range g.app.relay.Links() {
		gauge(g.payments, n, string(link))
	}
	channels := map[string]int{"minting": 0, "queued": 0, "joining": 0, "joined": 0, "live": 0, "waiting": 0}
	sockets := 0
	if g.app.feed != nil {
		stats := g.app.feed.Stats()
		sockets = stats.Sockets
		maps.Copy(channels, stats.Channels)
	}
	gauge(g.sockets, sockets)
	for state, n := range channels {
		gauge(g.channels, n, state)
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	callbacks, err := g.app.store.CallbackCounts(ctx)
	if err != nil {
		g.app.log.WarnContext(ctx, "callbacks not counted", slog.Any("err", err))
		return // the other gauges are true all the same
	}
	for state, n := range callbacks {
		gauge(g.callbacks, n, string(state))
	}
}
