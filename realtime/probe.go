package realtime

import (
	"context"
	"fmt"
	"net/http"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// Probe opens a socket, exchanges one heartbeat, and closes it: whether this project can be reached
// with this key. It says nothing about any subscription. The error is an [*UpgradeError] if the
// project refused the socket.
func Probe(ctx context.Context, project string, anonKey secret.Value, client *http.Client) error {
	address, err := endpoint(project, anonKey.Reveal())
	if err != nil {
		return err
	}
	conn, err := dial(ctx, noRedirects(client), address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	beat, err := Frame{Ref: "1", Topic: "phoenix", Event: "heartbeat"}.Encode()
	if err != nil {
		return err
	}
	if err := conn.Write(ctx, websocket.MessageText, beat); err != nil {
		return fmt.Errorf("send heartbeat: %w", err)
	}
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("wait for the heartbeat's answer: %w", err)
		}
		frame, err := DecodeFrame(data)
		if kind == websocket.MessageText && err == nil && frame.Ref == "1" && frame.Event == "phx_reply" {
			_ = conn.Close(websocket.StatusNormalClosure, "") // it has answered; how it says goodbye does not matter
			return nil
		}
	}
}
