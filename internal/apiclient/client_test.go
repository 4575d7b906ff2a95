package apiclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dollr-relay/dollr-relay/internal/apiclient"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// serve answers like a relay and returns a client of it.
func serve(t *testing.T, handler http.HandlerFunc, opts apiclient.Options) *apiclient.Client {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return newClient(t, srv.URL, opts)
}

func newClient(t *testing.T, url string, opts apiclient.Options) *apiclient.Client {
	t.Helper()
	c, err := apiclient.New(url, secret.New("the-key"), opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClient_asksAgainWhileTheRelayStops(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer the-key" {
			t.Errorf("Authorization = %q, want the key", got)
		}
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"id":"pay_1"}`))
	}, apiclient.Options{})
	var p apiclient.Payment
	if err := c.Get(t.Context(), "/v1/payments/pay_1", nil, &p); err != nil || p.ID != "pay_1" {
		t.Errorf("Get() = %+v, %v; want pay_1 from the second answer", p, err)
	}
}

func TestClient_waitsForARelayThatStarts(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }))
	t.Cleanup(srv.Close)
	started := false
	c := newClient(t, "http://"+address, apiclient.Options{OnWait: func(error) {
		if started {
			return
		}
		started = true
		if srv.Listener, err = net.Listen("tcp", address); err != nil {
			t.Fatal(err)
		}
		srv.Start()
	}})
	if err := c.Post(t.Context(), "/v1/reconcile", &struct{}{}); err != nil || !started {
		t.Errorf("Post() = %v after the relay started: %t; want nil once it has", err, started)
	}
}

// A request whose answer was lost may have been carried out.
func TestClient_neverPostsTwice(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	c := serve(t, func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}, apiclient.Options{})
	err := c.Post(t.Context(), "/v1/payments/pay_1/verify", &struct{}{})
	var lost *apiclient.UnreachableError
	if !errors.As(err, &lost) || asked.Load() != 1 {
		t.Errorf("Post() = %v after %d requests, want an UnreachableError after one", err, asked.Load())
	}
}

func TestClient_stopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := newClient(t, "http://127.0.0.1:1", apiclient.Options{Patience: -1, OnWait: func(error) { cancel() }})
	if err := c.Get(ctx, "/", nil, &struct{}{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Get() = %v, want the context's end", err)
	}
}

func TestClient_errorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		code   int
		body   string
		phrase string
	}{
		{"a field", 422, `{"title":"x","detail":"No.","errors":[{"field":"state","message":"must be one of pending, dead"}]}`, "state: must be one of pending, dead"},
		{"a wrong key", 401, `{"title":"Unauthorized","detail":"No."}`, "RELAY_API_KEY"},
		{"not a relay", 404, `<html>nginx</html>`, "RELAY_URL"},
		{"a broken relay", 500, `{"title":"x","detail":"Broken.","request_id":"req_7"}`, "req_7"},
		{"no JSON", 200, `<html>welcome</html>`, "is "},
		{"a redirect", 302, ``, "302"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v1/x" {
					t.Errorf("the key was carried to %s", r.URL.Path)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.code)
				_, _ = w.Write([]byte(tt.body))
			}, apiclient.Options{})
			err := c.Get(t.Context(), "/v1/x", nil, &struct{}{})
			if err == nil || !strings.Contains(err.Error(), tt.phrase) {
				t.Errorf("Get() = %v, want an error with %q", err, tt.phrase)
			}
		})
	}
	for _, url := range []string{"localhost:8080", "", "ftp://relay"} {
		if _, err := apiclient.New(url, secret.New("k"), apiclient.Options{}); err == nil {
			t.Errorf("New(%q) = nil, want an error", url)
		}
	}
}

func TestList_walksThroughPages(t *testing.T) {
	t.Parallel()
	var limits []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		limits = append(limits, r.URL.Query().Get("limit"))
		if r.URL.Query().Get("state") != "dead" {
			t.Errorf("query %s lacks the filter", r.URL.RawQuery)
		}
		switch r.URL.Query().Get("cursor") {
		case "":
			_, _ = fmt.Fprint(w, `{"data":[{"id":"a"},{"id":"b"}],"next_cursor":"7"}`)
		case "7":
			_, _ = fmt.Fprint(w, `{"data":[{"id":"c"}],"next_cursor":null}`)
		}
	}, apiclient.Options{})
	query := url.Values{"state": {"dead"}}
	var ids []string
	for cb, err := range apiclient.List[apiclient.Callback](t.Context(), c, "/v1/callbacks", query, 0) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, cb.ID)
	}
	if !slices.Equal(ids, []string{"a", "b", "c"}) || len(query) != 1 {
		t.Errorf("List() = %v with query %v, want a b c and the caller's query as it was", ids, query)
	}
	limits = nil
	n := 0
	for _, err := range apiclient.List[json.RawMessage](t.Context(), c, "/v1/callbacks", query, 2) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 || !slices.Equal(limits, []string{"2"}) {
		t.Errorf("List(limit 2) brought %d entries by limits %v, want 2 by one request", n, limits)
	}
}
