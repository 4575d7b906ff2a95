package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	dialTimeout = 15 * time.Second // refusals are held back 2 s (§1.1)
	frameLimit  = 4 << 20          // bytes; a larger frame closes the socket
)

// UpgradeError is a refused upgrade.
type UpgradeError struct {
	Status int    // HTTP status
	Text   string // the service's `error`, "" if it gave none
}

// Error implements error.
func (e *UpgradeError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("realtime: upgrade refused with status %d", e.Status)
	}
	return fmt.Sprintf("realtime: upgrade refused with status %d: %s", e.Status, e.Text)
}

// Misconfigured reports whether only another configuration helps, so that trying again fast is no use (C2).
func (e *UpgradeError) Misconfigured() bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return false
}

// endpoint derives the socket's URL from the project's, as the official client does (§1).
func endpoint(project, anonKey string) (string, error) {
	u, err := url.Parse(project)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("realtime: URL is not an http or https URL")
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/realtime/v1/websocket"
	u.RawQuery = url.Values{"apikey": {anonKey}, "vsn": {"2.0.0"}}.Encode()
	u.Fragment, u.User = "", nil
	return u.String(), nil
}

// dial opens a socket. Its errors never hold the URL, which carries the anon key.
func dial(ctx context.Context, client *http.Client, endpoint string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, endpoint, &websocket.DialOptions{HTTPClient: client, CompressionMode: websocket.CompressionDisabled}) //nolint:bodyclose // the library closes it
	if err == nil {
		conn.SetReadLimit(frameLimit)
		return conn, nil
	}
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, &UpgradeError{Status: resp.StatusCode, Text: errorText(resp.Body)}
	}
	if withURL, ok := errors.AsType[*url.Error](err); ok {
		err = withURL.Err
	}
	return nil, fmt.Errorf("dial realtime: %w", err)
}

func errorText(body io.Reader) string {
	if body == nil {
		return ""
	}
	var answer struct {
		Error string `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(body, 1024)).Decode(&answer) != nil {
		return ""
	}
	return clip(answer.Error)
}

// clip bounds what a stranger can write into a log line.
func clip(text string) string {
	const most = 300
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
