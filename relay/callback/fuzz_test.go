package callback_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// FuzzAnswer lets a backend answer with any bytes. Only a 2xx status line acknowledges, only a 410 ends a callback, and nothing
// puts the next try off by more than an hour.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 299 \r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
		"HTTP/1.1 429 Slow Down\r\nRetry-After: 99999\r\n\r\n",
		"HTTP/1.1 503 Later\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 503 Later\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n",
		"HTTP/1.1 429 Slow\r\nRetry-After: -5\r\nRetry-After: 10\r\n\r\n",
		"HTTP/1.1 410 Gone\r\n\r\n",
		"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere.example/\r\n\r\n",
		"HTTP/1.1 500 Oops\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\xff\x00\xfe",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"HTTP/1.1 99999 x\r\n\r\n", "HTTP/1.1 000 x\r\n\r\n", "<html>", "", "\x00\xff",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, answer []byte, hangsUp bool) {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			tries := 0
			opts := b.options()
			opts.Transport = &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
				tries++
				client, server := net.Pipe()
				go answerRaw(server, answer, hangsUp)
				return client, nil
			}}
			var results []callback.Result
			opts.OnResult = func(_ callback.Delivery, r callback.Result) { results = append(results, r) }
			b.queue("cb_1", "pay_1", shop)
			_, stop := b.run(b.box, opts)
			time.Sleep(20 * time.Second) // the first attempt, and perhaps the second
			stop()
			if tries == 0 || len(results) == 0 {
				t.Fatalf("%d tries and %d results, want at least one", tries, len(results))
			}
			checkResult(t, answer, results[0])
		})
	})
}

// answerRaw reads a request and writes these bytes.
func answerRaw(conn net.Conn, answer []byte, hangsUp bool) {
	defer func() { _ = conn.Close() }()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, request.Body)
	_, _ = conn.Write(answer)
	if !hangsUp {
		_, _ = io.Copy(io.Discard, conn) // until the sender has had enough
	}
}

func checkResult(t *testing.T, answer []byte, r callback.Result) {
	t.Helper()
	acknowledged := r.Code >= 200 && r.Code <= 299
	if (r.State == callback.Delivered) != acknowledged || acknowledged && !strings.HasPrefix(string(answer), "HTTP/") {
		t.Errorf("%q makes %+v", answer, r)
	}
	if (r.State == callback.Dead) != (r.Code == http.StatusGone) {
		t.Errorf("%q ends the callback as %s", answer, r.State)
	}
	ended := r.At.Add(r.Duration)
	if r.State == callback.Pending && (r.NextAt.Before(ended) || r.NextAt.After(ended.Add(time.Hour))) {
		t.Errorf("%q puts the next try off by %s", answer, r.NextAt.Sub(ended))
	}
	if r.Duration > 16*time.Second {
		t.Errorf("%q takes %s", answer, r.Duration)
	}
	if len(r.Response) > 1024 || !utf8.ValidString(r.Response) || strings.ContainsRune(r.Response, 0) || len(r.Err) > 256 || !utf8.ValidString(r.Err) {
		t.Errorf("%q is kept as %q, %q", answer, r.Response, r.Err)
	}
	switch r.Reason {
	case callback.Acknowledged, callback.Refused, callback.Redirected, callback.Gone, callback.Timeout, callback.Unreachable:
	case callback.Stopped:
		if r.Attempted {
			t.Errorf("%q makes %+v", answer, r)
		}
	default:
		t.Errorf("%q has the reason %q", answer, r.Reason)
	}
}
