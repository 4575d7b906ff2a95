package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// maxWait bounds one wait between two tries. The SDK gives a batch 30 s in all.
const maxWait = 10 * time.Second

// collector posts spans by OTLP over HTTP with protobuf bodies (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
// It implements otlptrace.Client. The library's own client does the same and brings gRPC with it: 69 packages and 5 MB.
type collector struct {
	endpoint string
	headers  http.Header
	timeout  time.Duration // of one request
	gzip     bool
	client   *http.Client
	log      *slog.Logger

	lost atomic.Bool // the last batch was not taken, and that was said
}

// Start implements otlptrace.Client.
func (c *collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. A batch that is not taken is dropped and said once, until one is
// taken again: traces are never worth an error to anybody but the operator.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	err := c.deliver(ctx, spans)
	switch {
	case err == nil && c.lost.Swap(false):
		c.log.InfoContext(ctx, "traces are delivered again")
	case err != nil && !c.lost.Swap(true):
		c.log.WarnContext(ctx, "traces are dropped: the collector does not take them", slog.Any("err", err))
	}
	return nil
}

// encode makes the body of a request. The request message of the trace service has the one field of TracesData, too.
func (c *collector) encode(spans []*tracepb.ResourceSpans) ([]byte, error) {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil || !c.gzip {
		return body, err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(body)
	err = errors.Join(err, w.Close())
	return packed.Bytes(), err
}

func (c *collector) deliver(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := c.encode(spans)
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	for pause := time.Second; ; pause = min(2*pause, maxWait) {
		wait, err := c.post(ctx, body)
		var temporary *busyError
		if err == nil || !errors.As(err, &temporary) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(max(pause, min(wait, maxWait))):
		}
	}
}

// busyError is an answer after which the same request may succeed.
type busyError struct{ code int }

func (e *busyError) Error() string { return fmt.Sprintf("the collector answers %d", e.code) }

// post sends one request. With a busyError it also tells how long the collector wants to be left alone.
func (c *collector) post(ctx context.Context, body []byte) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header = c.headers.Clone()
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("User-Agent", "dollr-relay")
	if c.gzip {
		request.Header.Set("Content-Encoding", "gzip")
	}
	answer, err := c.client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which may hold a token
		}
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return 0, nil
	case code == http.StatusTooManyRequests, code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		return time.Duration(seconds) * time.Second, &busyError{code}
	default:
		return 0, fmt.Errorf("the collector answers %d", code)
	}
}
