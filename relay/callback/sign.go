package callback

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// The headers of a callback (Standard Webhooks, "Webhook headers").
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp" // Unix seconds of this attempt
	HeaderSignature = "webhook-signature" // "v1,<base64>", one per secret, space separated
)

const (
	secretPrefix   = "whsec_"
	minSecretBytes = 24
	maxSecretBytes = 64
)

// Secret is a symmetric signing key. It prints as "[secret]".
type Secret struct {
	secret.Value // the key's bytes, decoded
}

// ParseSecret reads "whsec_<base64>" with 24 to 64 bytes, as the specification and its official libraries have it.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return Secret{}, errors.New("callback secret: does not begin with whsec_")
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Secret{}, errors.New("callback secret: what follows whsec_ is not base64") // the cause would quote it
	}
	if len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return Secret{}, fmt.Errorf("callback secret: holds %d bytes, want %d to %d", len(key), minSecretBytes, maxSecretBytes)
	}
	return Secret{secret.New(string(key))}, nil
}

// NewSecretText makes a fresh secret in the form that [ParseSecret] reads.
func NewSecretText() string {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// Sign returns the value of the webhook-signature header: a v1 signature of this very id, time and body by each
// secret, so that a receiver that knows any of them accepts it (that is how a secret is rotated).
func Sign(id string, at time.Time, body []byte, secrets []Secret) string {
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		sum := mac(s, id, strconv.FormatInt(at.Unix(), 10), body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(sum)
	}
	return strings.Join(signatures, " ")
}

// mac is HMAC-SHA256 over "id.timestamp.body".
func mac(s Secret, id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(s.Reveal()))
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}
