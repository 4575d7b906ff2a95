package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// record is what was measured of the relay over time.
type record struct {
	mu      sync.Mutex
	began   time.Time
	samples []sample
	trouble string
}

type sample struct {
	at                                      time.Duration
	resident, goroutines, pages, cpu, heaps float64 // MB, count, count, share of a core, MB
	trouble                                 string
}

func (r *record) mark(trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = trouble
}

// sample measures until ctx ends.
func (r *record) sample(ctx context.Context, relay *process, every time.Duration) {
	r.began = time.Now()
	computed, _ := relay.cpu()
	for {
		pause(ctx, every)
		if ctx.Err() != nil {
			return
		}
		resident, err := relay.resident()
		values, err2 := relay.metrics(ctx)
		cpu, err3 := relay.cpu()
		if errors.Join(err, err2, err3) != nil {
			continue
		}
		r.mu.Lock()
		r.samples = append(r.samples, sample{
			at: time.Since(r.began), resident: float64(resident) / 1e6, heaps: values["go_memstats_heap_inuse_bytes"] / 1e6, goroutines: values["go_goroutines"],
			pages: values[`dollr_relay_pages{transport="websocket"}`], cpu: float64(cpu-computed) / float64(every), trouble: r.trouble,
		})
		r.mu.Unlock()
		computed = cpu
	}
}

// leaks compares the calm parts of the second and the last quarter.
func (r *record) leaks() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.samples)
	if n < 16 {
		return nil
	}
	early, late := r.samples[n/4:n/2], r.samples[n-n/4:]
	var errs []error
	for _, what := range []struct {
		name string
		of   func(sample) float64
		room float64
	}{
		{"memory in MB", func(s sample) float64 { return s.resident }, 20},
		{"goroutines", func(s sample) float64 { return s.goroutines }, 100},
	} {
		before, after := least(early, what.of), least(late, what.of)
		if after > before*1.25+what.room {
			errs = append(errs, fmt.Errorf("%s grew from %.0f to %.0f", what.name, before, after))
		}
	}
	return errors.Join(errs...)
}

func least(all []sample, of func(sample) float64) float64 {
	low := math.Inf(1)
	for _, s := range all {
		low = min(low, of(s))
	}
	return low
}

func (r *record) markdown() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	b.WriteString("| minute | memory | heap in use | goroutines | open pages | processor | trouble |\n|---:|---:|---:|---:|---:|---:|---|\n")
	step := max(len(r.samples)/12, 1)
	for i := step - 1; i < len(r.samples); i += step {
		s := r.samples[i]
		fmt.Fprintf(&b, "| %.1f | %.0f MB | %.0f MB | %.0f | %.0f | %.0f %% | %s |\n", s.at.Minutes(), s.resident, s.heaps, s.goroutines, s.pages, s.cpu*100, s.trouble)
	}
	return b.String()
}

// svg plots memory, goroutines and pages, each on its own strip from zero up; trouble is shaded.
func (r *record) svg() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	const width, strip, left, gap = 860.0, 110.0, 120.0, 26.0
	if len(r.samples) == 0 {
		return ""
	}
	end := r.samples[len(r.samples)-1].at
	x := func(at time.Duration) float64 { return left + (width-left-20)*float64(at)/float64(end) }
	strips := []struct {
		name, unit, color string
		of                func(sample) float64
	}{
		{"memory", " MB", "#1d4ed8", func(s sample) float64 { return s.resident }},
		{"goroutines", "", "#b45309", func(s sample) float64 { return s.goroutines }},
		{"open pages", "", "#15803d", func(s sample) float64 { return s.pages }},
		{"processor", " %", "#7e22ce", func(s sample) float64 { return s.cpu * 100 }},
	}
	height := 30 + float64(len(strips))*(strip+gap) + 20
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui, sans-serif" font-size="12"><title>The soak: memory, goroutines, pages and processor over time; trouble is shaded</title><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", width, height)
	for i, s := range r.samples {
		if s.trouble != "" {
			from := x(s.at)
			if i > 0 {
				from = x(r.samples[i-1].at)
			}
			fmt.Fprintf(&b, `<rect x="%.1f" y="20" width="%.1f" height="%.1f" fill="#fde8e8"><title>%s</title></rect>`+"\n", from, x(s.at)-from, height-40, s.trouble)
		}
	}
	for i, s := range strips {
		top := 30 + float64(i)*(strip+gap)
		most := 0.0
		for _, sample := range r.samples {
			most = max(most, s.of(sample))
		}
		most = max(most, 1)
		fmt.Fprintf(&b, `<text x="10" y="%.1f" font-weight="600">%s</text><text x="%.1f" y="%.1f" text-anchor="end" fill="#555">%.0f%s</text><text x="%.1f" y="%.1f" text-anchor="end" fill="#555">0</text>`+"\n",
			top+strip/2, s.name, left-6, top+10, most, s.unit, left-6, top+strip)
		fmt.Fprintf(&b, `<path d="M%.1f %.1fV%.1fH%.1f" fill="none" stroke="#999"/>`+"\n", left, top, top+strip, width-20)
		points := make([]string, len(r.samples))
		for j, sample := range r.samples {
			points[j] = fmt.Sprintf("%.1f,%.1f", x(sample.at), top+strip-strip*s.of(sample)/most)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(points, " "), s.color)
	}
	for minute := 0.0; minute <= end.Minutes(); minute += max(1, math.Round(end.Minutes()/10)) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#555">%.0f min</text>`+"\n", x(time.Duration(minute*float64(time.Minute))), height-6, minute)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
