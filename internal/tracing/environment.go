package tracing

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// The prefix of the exporter's variables; each may be given for traces alone, which wins.
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/
const (
	general = "OTEL_EXPORTER_OTLP_"
	special = "OTEL_EXPORTER_OTLP_TRACES_"
)

// environment reads the variables and keeps what is wrong with them.
type environment struct {
	get      func(string) string
	problems []error
}

func (e *environment) problem(name, format string, args ...any) {
	e.problems = append(e.problems, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
}

// either is a variable of the exporter and its name.
func (e *environment) either(name string) (value, where string) {
	if value = e.get(special + name); value != "" {
		return value, special + name
	}
	return e.get(general + name), general + name
}

// off reports whether no traces are wanted.
func (e *environment) off() bool {
	endpoint, _ := e.either("ENDPOINT")
	return endpoint == "" || strings.EqualFold(e.get("OTEL_SDK_DISABLED"), "true") || e.get("OTEL_TRACES_EXPORTER") == "none"
}

// collector reads where the spans go and how.
func (e *environment) collector(log *slog.Logger) *collector {
	if name := e.get("OTEL_TRACES_EXPORTER"); name != "" && name != "otlp" {
		e.problem("OTEL_TRACES_EXPORTER", "%q is not known; want otlp or none", name)
	}
	if protocol, where := e.either("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		e.problem(where, "%q is not spoken here; want http/protobuf, usually on port 4318", protocol)
	}
	c := &collector{endpoint: e.endpoint(), headers: e.headers(), timeout: e.timeout(), log: log}
	switch compression, where := e.either("COMPRESSION"); compression {
	case "gzip":
		c.gzip = true
	case "", "none":
	default:
		e.problem(where, "%q is not known; want gzip or none", compression)
	}
	c.client = &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: e.tls(), IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

func (e *environment) endpoint() string {
	text, where := e.either("ENDPOINT")
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		e.problem(where, "is no http or https URL, such as http://localhost:4318")
		return ""
	}
	if where == general+"ENDPOINT" {
		u = u.JoinPath("v1", "traces")
	}
	return u.String()
}

// headers are name=value pairs, comma separated, the values percent-encoded.
func (e *environment) headers() http.Header {
	text, where := e.either("HEADERS")
	headers := http.Header{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || strings.TrimSpace(name) == "" {
			e.problem(where, "want name=value pairs, comma separated, values percent-encoded")
			continue
		}
		headers.Set(strings.TrimSpace(name), value)
	}
	return headers
}

func (e *environment) timeout() time.Duration {
	text, where := e.either("TIMEOUT")
	if text == "" {
		return 10 * time.Second
	}
	ms, err := strconv.Atoi(text)
	if err != nil || ms < 1 {
		e.problem(where, "%q is no number of milliseconds", text)
	}
	return time.Duration(ms) * time.Millisecond
}

// tls trusts the given certificate authority, and shows the given client certificate.
func (e *environment) tls() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if path, where := e.either("CERTIFICATE"); path != "" {
		config.RootCAs = x509.NewCertPool()
		text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err == nil && !config.RootCAs.AppendCertsFromPEM(text) {
			err = errors.New("holds no certificate in PEM")
		}
		if err != nil {
			e.problem(where, "%v", err)
		}
	}
	certificate, where := e.either("CLIENT_CERTIFICATE")
	key, _ := e.either("CLIENT_KEY")
	if certificate != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			e.problem(where, "with CLIENT_KEY: %v", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// sampler is what decides by the trace id which payments are traced. There is never a parent from elsewhere, so
// parentbased_ makes no difference.
func (e *environment) sampler() sdk.Sampler {
	switch name := strings.TrimPrefix(e.get("OTEL_TRACES_SAMPLER"), "parentbased_"); name {
	case "", "always_on":
		return sdk.AlwaysSample()
	case "always_off":
		return sdk.NeverSample()
	case "traceidratio":
		text := e.get("OTEL_TRACES_SAMPLER_ARG")
		if text == "" {
			return sdk.AlwaysSample()
		}
		share, err := strconv.ParseFloat(text, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			e.problem("OTEL_TRACES_SAMPLER_ARG", "%q is no share between 0 and 1", text)
		}
		return sdk.TraceIDRatioBased(share)
	default:
		e.problem("OTEL_TRACES_SAMPLER", "%q is not known; want always_on, always_off, traceidratio, or one of them with parentbased_ before it", name)
		return sdk.NeverSample()
	}
}
