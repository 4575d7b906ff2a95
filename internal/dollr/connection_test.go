package dollr_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

func TestStatus_followsNoRedirect(t *testing.T) {
	t.Parallel()
	elsewhere := dollrtest.Listen(t, dollrtest.Options{})
	srv := dollrtest.Listen(t, dollrtest.Options{})
	addFault(t, srv, dollrtest.Fault{
		Kind: dollrtest.FaultRedirect, Endpoint: dollrtest.AnyStatus, Location: elsewhere.URL + "/v1/status/collection/" + ref,
	})
	_, err := newClient(t, srv, nil).Status(t.Context(), collection(), nil)
	wantReason(t, err, dollr.ReasonUnreadable)
	if n := elsewhere.Count(""); n != 0 {
		t.Errorf("the target of the redirect saw %d requests, want 0", n)
	}
}

func TestStatus_timeOuts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		headers bool // they come, the body does not
		stopped bool // this process is, meanwhile
		want    time.Duration
	}{
		{"headers", false, false, 10 * time.Second},
		{"body", true, false, 15 * time.Second},
		{"headers, stopped for 13 s", false, true, 13 * time.Second},
		{"body, stopped for a minute", true, true, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				opts := dollr.Options{ClientID: "id", ClientSecret: secret.New("s"), Logger: slog.New(slog.DiscardHandler)}
				opts.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPost {
						return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(`{"access_token":"t","expires_in":60}`))}, nil
					}
					if tt.stopped {
						time.Sleep(tt.want)
					}
					if !tt.headers {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					return &http.Response{StatusCode: 200, Body: io.NopCloser(contextReader{r.Context()})}, nil
				})}
				c, err := dollr.New(opts)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err = c.Status(t.Context(), collection(), nil)
				if failure := wantError(t, err, dollr.ReasonUnreachable); failure.CountsForBreaker() == tt.stopped {
					t.Errorf("CountsForBreaker() = %v, want %v", tt.stopped, !tt.stopped)
				}
				if got := time.Since(start); got != tt.want {
					t.Errorf("gave up after %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// contextReader is a body that does not come before its request is given up.
type contextReader struct{ ctx context.Context } //nolint:containedctx // it plays a connection, which ends with the request

func (r contextReader) Read([]byte) (int, error) {
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

func TestStatus_ownCancellationIsNeutral(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultHang, Endpoint: dollrtest.AnyStatus})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := newClient(t, srv, nil).Status(ctx, collection(), nil)
		failure := wantError(t, err, "")
		if failure.CountsForBreaker() {
			t.Error("CountsForBreaker() = true for our own cancellation, want false")
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v does not match context.DeadlineExceeded", err)
		}
	})
}

func TestClient_reusesConnectionsOverASocket(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Listen(t, dollrtest.Options{})
	put(t, srv, "COMPLETED")
	c := newClient(t, srv, func(o *dollr.Options) { o.HTTPClient = nil }) // the transport that production uses
	for range 5 {
		if got, err := c.Status(t.Context(), collection(), nil); err != nil || got.Word != "COMPLETED" {
			t.Fatalf("Status() = %+v, %v, want COMPLETED", got, err)
		}
	}
	if n := srv.Connections(); n != 1 {
		t.Errorf("5 questions and a token took %d connections, want 1", n)
	}
}

func TestStatus_N1_noConnectionOrAForgedCertificate(t *testing.T) {
	t.Parallel()
	stand := dollrtest.New(dollrtest.Options{})
	forged := httptest.NewTLSServer(stand) // its certificate is signed by nobody we trust
	forged.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer forged.Close()
	closed := httptest.NewServer(stand)
	closed.Close()
	for _, url := range []string{forged.URL, closed.URL} {
		c, err := dollr.New(dollr.Options{
			BaseURL: url, ClientID: dollrtest.ClientID, ClientSecret: secret.New(dollrtest.ClientSecret), Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Status(t.Context(), dollr.Subject{Operation: dollr.Source, SourceType: "INVOICE", SourceID: 4711}, nil)
		if !wantError(t, err, dollr.ReasonUnreachable).CountsForBreaker() {
			t.Error("CountsForBreaker() = false without a connection, want true")
		}
		if strings.Contains(err.Error(), "4711") || strings.Contains(err.Error(), "/v1/") {
			t.Errorf("error %q shows the URL", err)
		}
	}
	if n := stand.Count(""); n != 0 {
		t.Errorf("%d requests went through a forged certificate, want 0", n)
	}
}

func TestStatus_overHTTP2(t *testing.T) {
	t.Parallel()
	stand := dollrtest.New(dollrtest.Options{})
	if err := stand.Put(dollrtest.Payment{Operation: dollrtest.Collection, ReferenceID: ref, Status: "COMPLETED"}); err != nil {
		t.Fatal(err)
	}
	proto := ""
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto = r.Proto
		stand.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	c, err := dollr.New(dollr.Options{
		BaseURL: srv.URL, ClientID: dollrtest.ClientID, ClientSecret: secret.New(dollrtest.ClientSecret), HTTPClient: srv.Client(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Status(t.Context(), collection(), nil); err != nil || got.Word != "COMPLETED" || proto != "HTTP/2.0" {
		t.Errorf("Status() = %+v, %v over %s, want COMPLETED over HTTP/2.0", got, err, proto)
	}
}
