package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// floor is the least that a hub can do: it hears of changes on a WebSocket and writes each to the pages of that payment. No
// tokens, no database, no pings, no limits, no truth.
type floor struct {
	Upstream string `arg:"" help:"WebSocket that brings the changes."`

	mu    sync.Mutex
	pages map[string]map[chan []byte]struct{}
}

// change is what the floor's upstream says, and page its message.
type change struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

type pageMessage struct {
	Type    string    `json:"type"`
	ID      string    `json:"id"`
	Version int       `json:"version"`
	Status  string    `json:"status"`
	At      time.Time `json:"at"`
}

// Run serves until its standard input ends.
func (f *floor) Run(ctx context.Context) error {
	f.pages = map[string]map[chan []byte]struct{}{}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	upstream, answer, err := websocket.Dial(ctx, f.Upstream, nil)
	if err != nil {
		return err
	}
	if answer.Body != nil {
		_ = answer.Body.Close()
	}
	defer func() { _ = upstream.CloseNow() }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(f.page), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	go f.hear(ctx, upstream)
	fmt.Printf("{\"msg\":\"relay is up\",\"listen\":%q}\n", listener.Addr())
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	return nil
}

func (f *floor) hear(ctx context.Context, upstream *websocket.Conn) {
	for {
		_, data, err := upstream.Read(ctx)
		var seen change
		if err != nil || json.Unmarshal(data, &seen) != nil {
			return
		}
		message, err := json.Marshal(pageMessage{Type: "status", ID: seen.ID, Version: 1, Status: seen.Status, At: time.Now()})
		if err != nil {
			return
		}
		f.mu.Lock()
		for page := range f.pages[seen.ID] {
			page <- message
		}
		f.mu.Unlock()
	}
}

// page is the handler that one writes first: it stays for as long as the page is open. Its token is the payment's id.
func (f *floor) page(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	id, messages := strings.TrimPrefix(r.Header.Get("Sec-WebSocket-Protocol"), subprotocol+", bearer."), make(chan []byte, 4)
	f.mu.Lock()
	if f.pages[id] == nil {
		f.pages[id] = map[chan []byte]struct{}{}
	}
	f.pages[id][messages] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.pages[id], messages)
		f.mu.Unlock()
	}()
	ctx := conn.CloseRead(r.Context())
	if conn.Write(ctx, websocket.MessageText, []byte(`{"type":"status","status":"PENDING"}`)) != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case message := <-messages:
			if conn.Write(ctx, websocket.MessageText, message) != nil {
				return
			}
		}
	}
}
