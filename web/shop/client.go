package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// client speaks JSON over HTTP to one service.
type client struct {
	base string
	key  secret.Value
	http *http.Client
}

func newClient(base string, key secret.Value) *client {
	return &client{base: strings.TrimSuffix(base, "/"), key: key, http: &http.Client{Timeout: 10 * time.Second}}
}

// call sends in as JSON, or nothing if it is nil, and reads a 2xx answer into out, unless that is nil. Any other answer
// is an error.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !c.key.IsZero() {
		request.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: answer %d: %s", method, path, answer.StatusCode, content[:min(len(content), 300)])
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(content, out); err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return nil
}
