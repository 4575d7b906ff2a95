package console

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/relay/store"
)

// view makes a page of a request. A live stream makes it again and again.
type view func(r *http.Request) (page, error)

// page is what the frame around every page needs, and what is in it.
type page struct {
	Template string
	Title    string
	Section  string // of the menu
	Search   string // what stands in the search field
	Data     any
	Said     Remark // what came of a button; none if it has no text
	// Elsewhere is the page that is shown instead; a live stream stays where it is.
	Elsewhere string

	// Filled in by render.
	Headline Remark
	CSRF     string
	Version  string
	Path     string // of the live stream
}

// Errors that are answers.
var (
	errNoPage    = errors.New("no such page")
	errStaleForm = errors.New("the form's token is not of this process")
)

// nothingHere is the title of a page that will never be there.
const nothingHere = "Nothing here"

// show answers with a whole page.
func (c *Console) show(v view) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := v(r)
		if err != nil {
			c.trouble(w, r, err)
			return
		}
		if p.Elsewhere != "" {
			http.Redirect(w, r, p.Elsewhere, http.StatusSeeOther)
			return
		}
		c.write(w, r, http.StatusOK, p)
	}
}

// trouble answers with a page that says what is wrong.
func (c *Console) trouble(w http.ResponseWriter, r *http.Request, err error) {
	code, p := c.explain(r.Context(), err)
	c.write(w, r, code, p)
}

// explain says in words why a page cannot be shown. What went wrong inside goes to the log.
func (c *Console) explain(ctx context.Context, err error) (code int, p page) {
	say := func(code int, title, text string) (int, page) {
		return code, page{Template: "trouble", Title: title, Data: text}
	}
	switch {
	case errors.Is(err, errNoPage):
		return say(http.StatusNotFound, nothingHere, "There is no page at this address.")
	case errors.Is(err, relay.ErrNotFound):
		return say(http.StatusNotFound, "No such payment", "This relay does not know a payment of this id. It may have been deleted after RELAY_RETAIN, or it was never registered here.")
	case errors.Is(err, store.ErrNoCallback):
		return say(http.StatusNotFound, "No such callback", "This relay does not know a callback of this id.")
	case errors.Is(err, errStaleForm):
		return say(http.StatusForbidden, "This page was out of date", "Nothing was done. The relay has restarted since the page was loaded: go back, reload it and press the button again.")
	}
	if ctx.Err() == nil {
		c.Logger.WarnContext(ctx, "console page not made", slog.Any("err", err))
	}
	return say(http.StatusServiceUnavailable, "The database does not answer", "The page cannot be shown now. It comes back by itself as soon as the database does; the relay's log says what is wrong.")
}

func (c *Console) write(w http.ResponseWriter, r *http.Request, code int, p page) {
	body, err := c.render(r, "frame", p)
	if err != nil {
		c.Logger.ErrorContext(r.Context(), "console page not rendered", slog.String("page", p.Template), slog.Any("err", err))
		http.Error(w, "This page cannot be rendered; the relay's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(body) //nolint:gosec // html/template has made it; a browser that has left does not matter
}

// render makes the HTML of a page, whole ("frame") or its living part only ("live").
func (c *Console) render(r *http.Request, name string, p page) ([]byte, error) {
	p.CSRF, p.Version = c.csrf, c.Version
	if p.Section != "" || p.Template == "trouble" && r.Method == http.MethodGet && p.Title != nothingHere {
		p.Path = r.URL.RequestURI()
	}
	if p.Headline.Text == "" {
		p.Headline = Words(c.System.Health(r.Context()))[0]
	}
	var out bytes.Buffer
	err := c.templates.ExecuteTemplate(&out, name, p)
	return out.Bytes(), err
}
