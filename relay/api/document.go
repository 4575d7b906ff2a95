package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the document
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
	"github.com/pb33f/go-yaml"
)

//go:embed openapi.yaml
var openAPI []byte

// documents are what is made of openapi.yaml.
type documents struct {
	asJSON, page []byte
	policy       string // the page's Content-Security-Policy
}

// scriptTagPlace stands in the page where each server shows its own tag.
const scriptTagPlace = "THE-SCRIPT-TAG"

// makeDocuments reads the embedded document once for all servers: it costs more than the rest of a server's start.
var makeDocuments = sync.OnceValues(func() (d documents, err error) { //nolint:gochecknoglobals // always the same value
	var root yaml.Node
	if err := yaml.Unmarshal(openAPI, &root); err != nil {
		return d, fmt.Errorf("read openapi.yaml: %w", err)
	}
	var asJSON bytes.Buffer
	if err := writeJSON(&asJSON, &root); err != nil {
		return d, fmt.Errorf("convert openapi.yaml: %w", err)
	}
	d.asJSON = asJSON.Bytes()
	if d.page, d.policy, err = docsPage(&root); err != nil {
		return d, fmt.Errorf("make docs page: %w", err)
	}
	return d, nil
})

// document serves the OpenAPI document and the page made of it.
func (s *Server) document(e *echo.Echo) error {
	d, err := makeDocuments()
	if err != nil {
		return err
	}
	e.GET("/openapi.json", fixed("application/json", "default-src 'none'", d.asJSON))
	e.GET("/docs", fixed("text/html; charset=utf-8", d.policy, bytes.Replace(d.page, []byte(scriptTagPlace), []byte(html.EscapeString(s.ScriptTag)), 1)))
	return nil
}

// fixed answers with content that does not change while this process runs.
func fixed(contentType, policy string, content []byte) echo.HandlerFunc {
	sum := sha256.Sum256(content)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return func(c echo.Context) error {
		if err := readQuery(c).finish(); err != nil {
			return err
		}
		h := c.Response().Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("Content-Security-Policy", policy+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("ETag", etag)
		if strings.Contains(c.Request().Header.Get("If-None-Match"), etag) {
			return c.NoContent(http.StatusNotModified)
		}
		return c.Blob(http.StatusOK, contentType, content)
	}
}

// writeJSON writes a YAML node as JSON, with its keys in their order: it is a text for people, too.
func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.DocumentNode:
		return writeJSON(out, n.Content[0])
	case yaml.AliasNode:
		return writeJSON(out, n.Alias)
	case yaml.MappingNode:
		out.WriteByte('{')
		for i := 0; i < len(n.Content); i += 2 {
			if i > 0 {
				out.WriteByte(',')
			}
			key, err := json.Marshal(n.Content[i].Value)
			if err != nil {
				return err
			}
			out.Write(append(key, ':'))
			if err := writeJSON(out, n.Content[i+1]); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	case yaml.SequenceNode:
		out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := writeJSON(out, item); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	default:
		var value any
		if err := n.Decode(&value); err != nil {
			return err
		}
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		out.Write(text)
	}
	return nil
}
