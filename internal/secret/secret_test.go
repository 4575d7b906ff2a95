package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

func TestValue_isNeverPrinted(t *testing.T) {
	t.Parallel()
	const credential = "correct-horse-battery-staple"
	v := secret.New(credential)
	holder := struct{ Key secret.Value }{v}
	hidden := struct{ key secret.Value }{v} // fmt cannot call methods on unexported fields

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", v)
		fmt.Fprintf(&out, verb+"\n", &v)
		fmt.Fprintf(&out, verb+"\n", holder)
		fmt.Fprintf(&out, verb+"\n", hidden)
		fmt.Fprintf(&out, verb+"\n", &hidden)
	}
	if err := json.NewEncoder(&out).Encode(holder); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("started", "key", v, "holder", holder)
	slog.New(slog.NewTextHandler(&out, nil)).Info("started", "key", v, "holder", holder)

	hex := fmt.Sprintf("%x", credential)
	if got := out.String(); strings.Contains(got, credential) || strings.Contains(got, hex) {
		t.Errorf("a formatting shows the secret:\n%s", got)
	}
	if v.Reveal() != credential || !v.Equal(credential) || v.Equal("other") || v.IsZero() {
		t.Error("Reveal, Equal or IsZero disagree with the wrapped text")
	}
}
