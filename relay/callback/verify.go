package callback

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tolerance is how far a callback's timestamp may be from the receiver's clock, so that a recorded callback
// cannot be replayed later (Standard Webhooks, "Verifying signatures").
const Tolerance = 5 * time.Minute

// maxCallbackBytes bounds what a receiver reads. Callbacks are a few KiB.
const maxCallbackBytes = 1 << 20

// Why a callback was refused. Answer each with 401 or 400 and do nothing else with it; the text says what to mend.
var (
	ErrHeaders = errors.New("callback: a webhook header is missing or malformed")
	// ErrTimestamp is a replay, or one of the two clocks is wrong.
	ErrTimestamp = errors.New("callback: timestamp is more than 5 minutes from this clock")
	// ErrSignature is a forgery, another secret, or a body that is not the bytes as received.
	ErrSignature = errors.New("callback: no signature matches: not our secret, or the body is not the raw bytes as they were received")
	// ErrReserialized is a genuine callback whose body was parsed and written again before it was verified.
	ErrReserialized = errors.New("callback: the signature matches only without the white space: the JSON was parsed and written again; verify the raw bytes as they were received, before any JSON middleware")
)

// Message is a verified callback.
type Message struct {
	ID   string    // drop a message whose ID was handled already: callbacks come at least once
	Time time.Time // of the attempt
	Body []byte    // the raw bytes
}

// Verifier verifies received callbacks. It is safe for concurrent use.
type Verifier struct {
	secrets []Secret
	now     func() time.Time
}

// NewVerifier makes a Verifier that accepts any of the secrets; at least one is needed. A nil now is time.Now.
func NewVerifier(secrets []Secret, now func() time.Time) (*Verifier, error) {
	if len(secrets) == 0 {
		return nil, errors.New("callback verifier: no secret")
	}
	if now == nil {
		now = time.Now
	}
	return &Verifier{secrets: secrets, now: now}, nil
}

// Read reads a request's body and verifies it. On an error nothing in the request may be believed.
func (v *Verifier) Read(r *http.Request) (Message, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxCallbackBytes+1))
	if err != nil {
		return Message{}, fmt.Errorf("read callback: %w", err)
	}
	if len(body) > maxCallbackBytes {
		return Message{}, fmt.Errorf("read callback: body is over %d bytes", maxCallbackBytes)
	}
	return v.Verify(r.Header, body)
}

// Verify checks the headers and signature of a callback over the raw bytes of its body, in constant time.
func (v *Verifier) Verify(h http.Header, body []byte) (Message, error) {
	id, timestamp, signatures := h.Get(HeaderID), h.Get(HeaderTimestamp), h.Get(HeaderSignature)
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		if h.Get(name) == "" {
			return Message{}, fmt.Errorf("%w: %s", ErrHeaders, name)
		}
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %s is not Unix seconds", ErrHeaders, HeaderTimestamp)
	}
	at := time.Unix(seconds, 0)
	if v.now().Sub(at).Abs() > Tolerance {
		return Message{}, ErrTimestamp
	}
	if !v.match(id, timestamp, signatures, body) {
		var compact bytes.Buffer
		if json.Compact(&compact, body) == nil && v.match(id, timestamp, signatures, compact.Bytes()) {
			return Message{}, ErrReserialized
		}
		return Message{}, ErrSignature
	}
	return Message{ID: id, Time: at, Body: body}, nil
}

// match reports whether any v1 signature in the header is by any of the secrets. Other versions are skipped.
func (v *Verifier) match(id, timestamp, signatures string, body []byte) bool {
	matched := false
	for _, s := range v.secrets {
		want := base64.StdEncoding.EncodeToString(mac(s, id, timestamp, body)) // compared as text: one signature has one spelling
		for signature := range strings.FieldsSeq(signatures) {
			encoded, ok := strings.CutPrefix(signature, "v1,")
			if !ok {
				continue
			}
			if hmac.Equal([]byte(encoded), []byte(want)) {
				matched = true
			}
		}
	}
	return matched
}
