package console

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

const (
	// maxStreams bounds the live pages of this process: each renders its page once a second.
	maxStreams = 24
	renderPace = time.Second
	// quietPings is after how many seconds without news a stream says that it is alive.
	quietPings     = 10
	streamPatience = 10 * time.Second
)

// follow streams a page as server-sent events: its living part, whenever it has changed. A view's errors are pages, too, so
// that a page comes back with the database.
func (c *Console) follow(v view) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case c.streams <- struct{}{}:
			defer func() { <-c.streams }()
		default:
			http.Error(w, "Too many open consoles.", http.StatusServiceUnavailable)
			return
		}
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/live")
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		if err := c.stream(w, r, v); err != nil {
			c.Logger.DebugContext(r.Context(), "live page ended", slog.Any("err", err))
		}
	}
}

func (c *Console) stream(w http.ResponseWriter, r *http.Request, v view) error {
	out := http.NewResponseController(w)
	tick := time.NewTicker(renderPace)
	defer tick.Stop()
	var last []byte
	for quiet := 0; ; quiet++ {
		now, err := c.living(r, v)
		if err != nil {
			return err
		}
		event := ""
		switch {
		case !bytes.Equal(now, last):
			event = "event: page\n" + data(now) + "\n"
			last, quiet = now, 0
		case quiet >= quietPings:
			event = "event: ping\ndata\n\n"
			quiet = 0
		}
		if event != "" {
			if err := send(out, w, event); err != nil {
				return err
			}
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// living renders the living part of a page.
func (c *Console) living(r *http.Request, v view) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), streamPatience)
	defer cancel()
	r = r.WithContext(ctx)
	p, err := v(r)
	if err != nil {
		_, p = c.explain(ctx, err)
	}
	return c.render(r, "live", p)
}

func send(out *http.ResponseController, w http.ResponseWriter, event string) error {
	if err := out.SetWriteDeadline(time.Now().Add(streamPatience)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := w.Write([]byte(event)); err != nil {
		return err
	}
	return out.Flush()
}

// data makes the data lines of an event.
func data(text []byte) string {
	var out strings.Builder
	for line := range bytes.Lines(bytes.ReplaceAll(text, []byte("\r"), nil)) {
		out.WriteString("data:")
		out.Write(bytes.TrimRight(line, "\n"))
		out.WriteString("\n")
	}
	return out.String()
}
