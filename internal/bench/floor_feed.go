package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/dollr-relay/dollr-relay/realtime"
)

const (
	floorChannels = 100 // on a socket, as many as the relay puts there
	floorJoinGap  = 12 * time.Millisecond
	floorBeat     = 20 * time.Second // Supabase closes a socket that says nothing for a minute
)

// follow is the least that a client of Supabase Realtime can do: a channel for each payment that is named on in, as "SESSION:REFERENCE",
// on sockets like the relay's, so that the same frames come the same way. It does not look at what the joins are answered, and
// returns when in ends.
func (f *floor) follow(ctx context.Context, in io.Reader) error {
	var conn *websocket.Conn
	lines := bufio.NewScanner(in)
	for n := 0; lines.Scan(); n++ {
		if n%floorChannels == 0 {
			var err error
			if conn, _, err = websocket.Dial(ctx, f.Upstream, nil); err != nil { //nolint:bodyclose // the library closes it
				return err
			}
			go f.hear(ctx, conn)
			go beat(ctx, conn)
		}
		_, reference, _ := strings.Cut(lines.Text(), ":")
		join := fmt.Sprintf(`["%d","%d","realtime:payment-intent:%s","phx_join",{"config":{"postgres_changes":[{"event":"*","schema":%q,"table":%q,"filter":"reference_id=eq.%s"}]}}]`,
			n, n, lines.Text(), realtime.Schema, realtime.Table, reference)
		if err := conn.Write(ctx, websocket.MessageText, []byte(join)); err != nil {
			return err
		}
		time.Sleep(floorJoinGap)
	}
	return lines.Err()
}

// hear shows every row change that a socket brings. Other frames have no record.
func (f *floor) hear(ctx context.Context, conn *websocket.Conn) {
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var payload struct {
			Data struct {
				Record struct {
					ReferenceID string `json:"reference_id"`
					Status      string
				}
			}
		}
		err = json.Unmarshal(data, &[]any{nil, nil, nil, nil, &payload})
		if err != nil {
			return
		}
		if row := payload.Data.Record; row.Status != "" && f.show(row.ReferenceID, row.Status) != nil {
			return
		}
	}
}

func beat(ctx context.Context, conn *websocket.Conn) {
	for conn.Write(ctx, websocket.MessageText, []byte(`[null,"beat","phoenix","heartbeat",{}]`)) == nil {
		pause(ctx, floorBeat)
	}
}
