package dollr_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

const fuzzSecret = "the-client-secret-that-nobody-may-read"

// rawDollr answers every request with these bytes, and then hangs up or does not.
func rawDollr(answer []byte, hangsUp bool) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			request, err := http.ReadRequest(bufio.NewReader(server))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			_, _ = server.Write(answer)
			if !hangsUp {
				_, _ = io.Copy(io.Discard, server)
			}
		}()
		return client, nil
	}}}
}

// FuzzAnswer lets Dollr answer with any bytes, to the request for a token as well as to questions. Every call ends, in time,
// with an error of the known ones that tells no secret.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n" + `{"access_token":"t","expires_in":60}`,
		"HTTP/1.1 200 OK\r\n\r\n" + `{"reference_id":"` + ref + `","status":"COMPLETED"}`,
		"HTTP/1.1 429 Slow\r\nRetry-After: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 429 Slow\r\nDate: Fri, 31 Dec 1999 23:59:59 GMT\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n",
		"HTTP/1.1 401 No\r\n\r\n" + `{"detail":"` + fuzzSecret + ` is wrong"}`,
		"HTTP/1.1 422 No\r\n\r\n" + `{"detail":[{"loc":["body",1,null],"msg":"` + fuzzSecret + `"}]}`,
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /v1\r\n\r\n", "HTTP/1.1 204 \r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "HTTP/1.1 503 \r\nContent-Length: 9\r\n\r\n", "<html>", "",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, answer []byte, hangsUp bool) {
		synctest.Test(t, func(t *testing.T) {
			var log syncBuffer
			c, err := dollr.New(dollr.Options{
				BaseURL: "http://localhost", ClientID: "id", ClientSecret: secret.New(fuzzSecret), Rate: 1000,
				HTTPClient: rawDollr(answer, hangsUp), Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			_, err = c.Status(ctx, collection(), nil)
			failure, ok := errors.AsType[*dollr.Error](err)
			if !ok {
				t.Fatalf("%q makes %v, want a *dollr.Error", answer, err) // what is a token's answer is no payment's
			}
			switch failure.Reason() {
			case dollr.ReasonNotFound, dollr.ReasonRefused, dollr.ReasonRateLimited, dollr.ReasonUnreachable, dollr.ReasonUnreadable:
			default:
				t.Errorf("%q has the reason %q", answer, failure.Reason())
			}
			if took := time.Since(start); took > 35*time.Second { // a token and a question
				t.Errorf("%q takes %s", answer, took)
			}
			if failure.RetryAfter() < 0 || failure.RetryAfter() > 5*time.Minute || c.Held() > 5*time.Minute {
				t.Errorf("%q holds calls for %s and %s", answer, failure.RetryAfter(), c.Held())
			}
			if text := err.Error() + log.String(); strings.Contains(text, fuzzSecret) {
				t.Errorf("%q brings the secret out: %s", answer, text)
			}
		})
	})
}

// FuzzKey reads any body as a realtime key.
func FuzzKey(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"eyJ.a.b","expires_in":300}`, `{"data":{"access_token":"t","expires_in":"300.5"}}`, `{"access_token":"t","expires_in":1e99}`,
		`{"access_token":"a\r\nb","expires_in":1}`, `{"access_token":"t","expires_in":-1}`, `{"access_token":"t","expires_in":0.0000000001}`, `[]`,
	} {
		f.Add(seed)
	}
	var body string
	c, err := dollr.New(dollr.Options{
		ClientID: "id", ClientSecret: secret.New("s"), Rate: 1e6, Logger: slog.New(slog.DiscardHandler),
		HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			text := `{"access_token":"t","expires_in":60}`
			if strings.HasSuffix(r.URL.Path, "/realtime-keys/collection") {
				text = body
			}
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
		})},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		body = text
		key, err := c.RealtimeKey(t.Context(), dollr.KeyRequest{SessionID: 55, SourceType: "INVOICE", ReferenceID: ref}, dollr.NewTicket(dollr.UrgentYoung))
		if err != nil {
			wantReason(t, err, dollr.ReasonUnreadable)
			return
		}
		token := key.Token.Reveal()
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || key.ExpiresIn < 0 || key.ExpiresIn > 366*24*time.Hour {
			t.Errorf("%q is read as a key %q for %s", text, token, key.ExpiresIn)
		}
	})
}
