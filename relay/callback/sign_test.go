package callback_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// The vector of the Standard Webhooks specification, as its official libraries test it.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime      = 1614265330
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func mustSecret(tb testing.TB, text string) callback.Secret {
	tb.Helper()
	s, err := callback.ParseSecret(text)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestSign_goldenVector(t *testing.T) {
	t.Parallel()
	got := callback.Sign(vectorID, time.Unix(vectorTime, 0), []byte(vectorBody), []callback.Secret{mustSecret(t, vectorSecret)})
	if got != vectorSignature {
		t.Errorf("Sign = %s, want %s", got, vectorSignature)
	}
}

func TestSign_everySecretSigns(t *testing.T) {
	t.Parallel()
	other := mustSecret(t, callback.NewSecretText())
	got := callback.Sign(vectorID, time.Unix(vectorTime, 0), []byte(vectorBody), []callback.Secret{other, mustSecret(t, vectorSecret)})
	parts := strings.Fields(got)
	if len(parts) != 2 || parts[1] != vectorSignature || !strings.HasPrefix(parts[0], "v1,") || parts[0] == parts[1] {
		t.Errorf("Sign with two secrets = %q, want two different signatures, the second %s", got, vectorSignature)
	}
}

func TestParseSecret(t *testing.T) {
	t.Parallel()
	bytes := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	tests := []struct {
		name, text, wantErr string
	}{
		{"shortest", bytes(24), ""},
		{"longest", bytes(64), ""},
		{"too short", bytes(23), "holds 23 bytes"},
		{"too long", bytes(65), "holds 65 bytes"},
		{"no prefix", strings.TrimPrefix(vectorSecret, "whsec_"), "whsec_"},
		{"not base64", "whsec_!!!!not-base64!!!!", "not base64"},
		{"empty", "", "whsec_"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := callback.ParseSecret(tt.text)
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("ParseSecret error = %v, want one with %q", err, tt.wantErr)
			}
			if key := strings.TrimPrefix(tt.text, "whsec_"); err != nil && key != "" && strings.Contains(err.Error(), key) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestSecret_isNeverPrinted(t *testing.T) {
	t.Parallel()
	s := mustSecret(t, vectorSecret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		holder := struct{ Secrets []callback.Secret }{[]callback.Secret{s}}
		if got := fmt.Sprintf(verb, holder); strings.Contains(got, s.Reveal()) || strings.Contains(got, fmt.Sprintf("%x", s.Reveal())) {
			t.Errorf("%s prints the secret: %s", verb, got)
		}
	}
}

func TestVerifier(t *testing.T) {
	t.Parallel()
	at := time.Unix(vectorTime, 0)
	stranger := callback.Sign(vectorID, at, []byte(vectorBody), []callback.Secret{mustSecret(t, callback.NewSecretText())})
	compactSignature := callback.Sign(vectorID, at, []byte(`{"test":1}`), []callback.Secret{mustSecret(t, vectorSecret)})
	tests := []struct {
		name                           string
		id, timestamp, signature, body string
		clock                          time.Duration // of the receiver, ahead of the sender
		want                           error
	}{
		{name: "genuine"},
		{name: "one of many signatures", signature: stranger + " v1a,abc " + vectorSignature},
		{name: "clock just within", clock: 5 * time.Minute},
		{name: "clock behind just within", clock: -5 * time.Minute},
		{name: "replayed later", clock: 5*time.Minute + time.Second, want: callback.ErrTimestamp},
		{name: "from the future", clock: -5*time.Minute - time.Second, want: callback.ErrTimestamp},
		{name: "other id", id: "msg_other", want: callback.ErrSignature},
		{name: "other timestamp", timestamp: "1614265331", want: callback.ErrSignature},
		{name: "other body", body: `{"test": 1}`, want: callback.ErrSignature},
		{name: "stranger's signature", signature: stranger, want: callback.ErrSignature},
		{name: "other version only", signature: strings.Replace(vectorSignature, "v1,", "v2,", 1), want: callback.ErrSignature},
		{name: "signature is not base64", signature: "v1,%%%", want: callback.ErrSignature},
		{name: "JSON written again", body: "{\n  \"test\": 1\n}", signature: compactSignature, want: callback.ErrReserialized},
		{name: "no id", id: "-", want: callback.ErrHeaders},
		{name: "no timestamp", timestamp: "-", want: callback.ErrHeaders},
		{name: "no signature", signature: "-", want: callback.ErrHeaders},
		{name: "timestamp is no number", timestamp: "yesterday", want: callback.ErrHeaders},
		{name: "timestamp beyond all time", timestamp: "9223372036854775807", want: callback.ErrTimestamp},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			set := func(name, value, standard string) {
				switch value {
				case "":
					h.Set(name, standard)
				case "-": // left out
				default:
					h.Set(name, value)
				}
			}
			set(callback.HeaderID, tt.id, vectorID)
			set(callback.HeaderTimestamp, tt.timestamp, fmt.Sprint(vectorTime))
			set(callback.HeaderSignature, tt.signature, vectorSignature)
			body := tt.body
			if body == "" {
				body = vectorBody
			}
			v, err := callback.NewVerifier([]callback.Secret{mustSecret(t, vectorSecret)}, func() time.Time { return at.Add(tt.clock) })
			if err != nil {
				t.Fatal(err)
			}
			msg, err := v.Verify(h, []byte(body))
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify error = %v, want %v", err, tt.want)
			}
			if err == nil && (msg.ID != vectorID || string(msg.Body) != vectorBody || !msg.Time.Equal(at)) {
				t.Errorf("Verify = %+v, want the callback's id, time and bytes", msg)
			}
			if err != nil && msg.ID != "" {
				t.Errorf("Verify returned %+v with an error, want nothing", msg)
			}
		})
	}
}

func TestVerifier_needsASecret(t *testing.T) {
	t.Parallel()
	if _, err := callback.NewVerifier(nil, nil); err == nil {
		t.Error("NewVerifier without a secret gave no error")
	}
}

func TestVerifier_refusesHugeBodies(t *testing.T) {
	t.Parallel()
	v, err := callback.NewVerifier([]callback.Secret{mustSecret(t, vectorSecret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 1<<20+1)))
	if _, err := v.Read(r); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("Read of a body over 1 MiB: error = %v, want one about its size", err)
	}
}

func FuzzVerifier(f *testing.F) {
	secret, err := callback.ParseSecret(vectorSecret)
	if err != nil {
		f.Fatal(err)
	}
	v, err := callback.NewVerifier([]callback.Secret{secret}, func() time.Time { return time.Unix(vectorTime, 0) })
	if err != nil {
		f.Fatal(err)
	}
	f.Add(vectorID, fmt.Sprint(vectorTime), vectorSignature, []byte(vectorBody))
	f.Add("", "-1", "v1, v1,=", []byte(nil))
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{}
		h.Set(callback.HeaderID, id)
		h.Set(callback.HeaderTimestamp, timestamp)
		h.Set(callback.HeaderSignature, signature)
		if _, err := v.Verify(h, body); err != nil {
			return
		}
		want := callback.Sign(id, time.Unix(vectorTime, 0), body, []callback.Secret{secret})
		if timestamp == fmt.Sprint(vectorTime) && !strings.Contains(signature, want) {
			t.Errorf("accepted %q over %q, want it refused", signature, body)
		}
	})
}

// A backend's handler: verify the raw bytes first, drop what was handled already, then act.
func ExampleVerifier() {
	secret, _ := callback.ParseSecret(vectorSecret)
	verifier, _ := callback.NewVerifier([]callback.Secret{secret}, nil)
	handled := map[string]bool{} // in a database, with a unique key
	handler := func(w http.ResponseWriter, r *http.Request) {
		msg, err := verifier.Read(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		if !handled[msg.ID] {
			handled[msg.ID] = true
			fmt.Printf("fulfil the order of %s\n", msg.Body)
		}
		w.WriteHeader(http.StatusNoContent)
	}

	send := func(signature string) int {
		r := httptest.NewRequest(http.MethodPost, "/hooks/dollr", strings.NewReader(`{"type":"payment.succeeded"}`))
		r.Header.Set(callback.HeaderID, "cb_1")
		r.Header.Set(callback.HeaderTimestamp, fmt.Sprint(time.Now().Unix()))
		r.Header.Set(callback.HeaderSignature, signature)
		w := httptest.NewRecorder()
		handler(w, r)
		return w.Code
	}
	genuine := callback.Sign("cb_1", time.Now(), []byte(`{"type":"payment.succeeded"}`), []callback.Secret{secret})
	fmt.Println(send(genuine))
	fmt.Println(send(genuine)) // comes twice: acknowledged, not handled again
	fmt.Println(send("v1,Zm9yZ2Vk"))
	// Output:
	// fulfil the order of {"type":"payment.succeeded"}
	// 204
	// 204
	// 401
}
