package main_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestServe_sendsTracesWhereTheEnvironmentSays(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var all []byte
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path != "/v1/traces" || r.Header.Get("Api-Key") != "k" {
			t.Errorf("spans came to %s with api-key %q, want /v1/traces with the configured one", r.URL.Path, r.Header.Get("Api-Key"))
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, body...)
	}))
	t.Cleanup(collector.Close)
	env := good(t)
	env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_EXPORTER_OTLP_HEADERS"], env["OTEL_SERVICE_NAME"] = collector.URL, "api-key=k", "relay-of-the-shop"
	env["OTEL_BSP_SCHEDULE_DELAY"] = "50" // ms
	relay := launch(t, env, "serve")
	code, answer := relay.call(t, http.MethodPost, relay.public+"/v1/payments", env["RELAY_API_KEYS"], `{"operation":"collection","reference_id":"550e8400-e29b-41d4-a716-446655440000"}`)
	if code != http.StatusCreated {
		t.Fatalf("registration = %d %s", code, answer)
	}
	for _, want := range []string{"register", "commit", "relay-of-the-shop", "pay_"} {
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			arrived := bytes.Contains(all, []byte(want))
			mu.Unlock()
			if arrived {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the spans lack %q", want)
			}
		}
	}
	if code := relay.stop(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(string(all), "550e8400") {
		t.Error("the spans hold Dollr's reference id")
	}
}
