// Package web holds what browsers get: the page scripts, built from web/snippet into web/dist and embedded here.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"strings"
)

// A Script is one file of the page scripts. It serves itself.
type Script struct {
	// Name is the last part of its path: relay.js (classic, global DollrRelay), relay.mjs (module), relay.d.ts (types),
	// and the first two under the name of each version, relay-1.0.0.js.
	Name        string
	ContentType string
	Content     []byte
	// ETag is quoted and names the content.
	ETag string
	// Integrity is the subresource integrity hash for a script tag, "sha384-…".
	Integrity string
	// Versioned says that this name never stands for other content, so that browsers need not ask again.
	Versioned bool

	gzipped []byte
}

// newScript prepares a file to be served under a name.
func newScript(name string, content []byte, versioned bool) (Script, error) {
	gzipped, err := compress(content)
	if err != nil {
		return Script{}, fmt.Errorf("compress %s: %w", name, err)
	}
	sum := sha512.Sum384(content)
	hash := base64.StdEncoding.EncodeToString(sum[:])
	contentType := "text/javascript; charset=utf-8"
	if path.Ext(name) == ".ts" {
		contentType = "text/plain; charset=utf-8" // text/typescript is unknown to browsers, which would offer to save it
	}
	return Script{
		Name: name, ContentType: contentType, Content: content, Versioned: versioned,
		ETag: `"` + hash[:22] + `"`, Integrity: "sha384-" + hash, gzipped: gzipped,
	}, nil
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
// any origin may load it, also with subresource integrity. It is fresh for an hour, a versioned one forever.
func (s Script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "public, max-age=3600")
	if s.Versioned {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
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
