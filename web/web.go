// Package web holds what browsers get: the page scripts, built from web/snippet into web/dist and embedded here.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"strings"
)

//go:generate go run ./build

//go:embed dist
var dist embed.FS

// A Script is one file of the page scripts. It serves itself.
type Script struct {
	// Name is the last part of its path: relay.js (classic, global DollrRelay), relay.mjs (module) or relay.d.ts (types).
	Name        string
	ContentType string
	Content     []byte
	// ETag is quoted and names the content.
	ETag string
	// Integrity is the subresource integrity hash for a script tag, "sha384-…".
	Integrity string

	gzipped []byte
}

// Scripts returns the page scripts. The API serves each at /v1/ and its name.
func Scripts() ([]Script, error) {
	types := map[string]string{
		".js":  "text/javascript; charset=utf-8",
		".mjs": "text/javascript; charset=utf-8",
		".ts":  "text/plain; charset=utf-8", // text/typescript is unknown to browsers, which would offer to save it
	}
	entries, err := dist.ReadDir("dist")
	if err != nil {
		return nil, fmt.Errorf("read page scripts: %w", err)
	}
	scripts := make([]Script, 0, len(entries))
	for _, entry := range entries {
		content, err := dist.ReadFile("dist/" + entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read page scripts: %w", err)
		}
		gzipped, err := compress(content)
		if err != nil {
			return nil, fmt.Errorf("compress %s: %w", entry.Name(), err)
		}
		sum := sha512.Sum384(content)
		hash := base64.StdEncoding.EncodeToString(sum[:])
		scripts = append(scripts, Script{
			Name:        entry.Name(),
			ContentType: types[path.Ext(entry.Name())],
			Content:     content,
			ETag:        `"` + hash[:22] + `"`,
			Integrity:   "sha384-" + hash,
			gzipped:     gzipped,
		})
	}
	return scripts, nil
}

func compress(content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ServeHTTP answers with the script, compressed where the browser takes it and not at all where it has it. Any page of
// any origin may load it, also with subresource integrity; it is fresh for an hour.
func (s Script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Content-Type", s.ContentType)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	// Weak, because the compressed answer has other bytes.
	h.Set("ETag", "W/"+s.ETag)
	if strings.Contains(r.Header.Get("If-None-Match"), s.ETag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := s.Content
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = s.gzipped
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a browser that has left does not matter
	}
}
