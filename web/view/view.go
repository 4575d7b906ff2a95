// Package view renders the status page that needs no JavaScript: what <dollr-status> shows, as a page of its own that
// loads itself again until the payment is final.
//
// Start at [Of], which decides what to say, and [Views.Render], which says it.
package view

import (
	"crypto/sha256"
	_ "embed" // texts, template and style
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"io"
	"net/url"
	"strings"

	"golang.org/x/text/language"
)

//go:embed texts.json
var textsJSON []byte

//go:embed view.html
var pageTemplate string

//go:embed view.css
var pageStyle string

// Views renders status pages. It is safe for concurrent use.
type Views struct {
	texts     map[string]map[string]string // by language and key
	languages []string
	matcher   language.Matcher
	page      *template.Template
	policy    string
}

// New reads the embedded texts and the template.
func New() (*Views, error) {
	v := &Views{languages: []string{"en", "fr", "pt", "sw", "ar"}} // the first is for everybody else
	if err := json.Unmarshal(textsJSON, &v.texts); err != nil {
		return nil, fmt.Errorf("read texts of the status page: %w", err)
	}
	tags := make([]language.Tag, len(v.languages))
	for i, name := range v.languages {
		tags[i] = language.Make(name)
	}
	v.matcher = language.NewMatcher(tags)
	var err error
	if v.page, err = template.New("view").Parse(pageTemplate); err != nil {
		return nil, fmt.Errorf("read template of the status page: %w", err)
	}
	sum := sha256.Sum256([]byte(pageStyle))
	v.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return v, nil
}

// Policy is the Content-Security-Policy of every page: its own style, and nothing else at all.
func (v *Views) Policy() string { return v.policy }

// Language chooses a language by wishes in order of weight, each a BCP 47 tag or an Accept-Language header; what cannot
// be read is no wish. English is for everybody whose wishes cannot be fulfilled.
func (v *Views) Language(wishes ...string) string {
	_, i := language.MatchStrings(v.matcher, wishes...)
	return v.languages[i]
}

// link is a link as the template shows it.
type link struct {
	Link, Text, Language string
	Current              bool
}

// address is where a page is, in a language. It is relative, so that it holds under whatever path a proxy puts the relay.
func address(token, lang string) string { return "?token=" + url.QueryEscape(token) + "&lang=" + lang }

// Render writes a page in a language that [Views.Language] chose. The token is that of its links; without one it has
// none and does not load itself again.
func (v *Views) Render(w io.Writer, p Page, lang, token string) error {
	say := v.texts[lang]
	data := struct {
		Language, Direction, Sign, Title, Note, Aside string
		State                                         State
		Refresh                                       template.HTMLAttr
		Style                                         template.CSS
		Check                                         *link
		Languages                                     []link
	}{
		Language: lang, Direction: "ltr", State: p.State, Sign: signs()[p.State], Title: say[string(p.State)],
		Style: template.CSS(pageStyle), //nolint:gosec // our own file
	}
	if lang == "ar" {
		data.Direction = "rtl"
	}
	var notes []string
	for _, key := range p.Notes {
		notes = append(notes, say[key])
	}
	data.Note = strings.Join(notes, " ")
	if p.State == Trouble { // nothing is known of the payment: the note says what to do
		data.Title = say["degraded"]
	}
	if p.Aside != "" {
		data.Aside = say[p.Aside]
	}
	if token != "" {
		for _, other := range v.languages {
			data.Languages = append(data.Languages, link{address(token, other), v.texts[other]["language"], other, other == lang})
		}
		if !p.Settled() {
			data.Check = &link{Link: address(token, lang), Text: say["check"]}
		}
		if p.After > 0 {
			data.Refresh = template.HTMLAttr(fmt.Sprintf(`content="%d; url=%s"`, int(p.After.Seconds()), html.EscapeString(address(token, lang)))) //nolint:gosec // escaped
		}
	}
	if err := v.page.Execute(w, data); err != nil {
		return fmt.Errorf("render status page: %w", err)
	}
	return nil
}
