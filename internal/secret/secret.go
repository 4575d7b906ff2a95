// Package secret keeps credentials out of logs, errors and JSON: a [Value] prints as "[secret]"
// however it is formatted, and is read only by calling [Value.Reveal].
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// redacted is what every formatting of a secret shows.
const redacted = "[secret]"

// Value is a credential. Its zero value is the empty secret.
type Value struct {
	// A pointer, because fmt does not call Format on the unexported fields of others: there it
	// prints an address.
	text *string
}

// New wraps a credential.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{&text}
}

// Reveal returns the credential itself. Call it only where the bytes leave for their one purpose.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// IsZero reports whether no credential is held.
func (v Value) IsZero() bool { return v.text == nil }

// Equal compares in constant time.
func (v Value) Equal(other string) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(other)) == 1
}

// Format implements [fmt.Formatter], so that no verb, not even %#v or %q, shows the credential.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler] for JSON, XML and flag libraries.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer].
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }
