package main

import (
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

// floor is the least that a hub can do: it hears the same frames from the same Supabase as the relay, see [floor.follow], and writes
// each change to the pages of that payment. No tokens, no database, no pings, no limits, no truth.
type floor struct {
	Upstream string `arg:"" help:"URL of the WebSocket that brings the changes."`

	mu    sync.Mutex
	pages map[string]map[chan []byte]struct{}
}

// pageMessage is what its pages are told.
type pageMessage struct {
	Type    string    `json:"type"`
	ID      string    `json:"id"`
	Version int       `json:"version"`
	Status  string    `json:"status"`
	At      time.Time `json:"at"`
}

// Run serves until its standard input ends, and follows the payments that it reads there.
func (f *floor) Run(ctx context.Context) error {
	f.pages = map[string]map[chan []byte]struct{}{}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(f.page), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	fmt.Printf("{\"msg\":\"relay is up\",\"listen\":%q}\n", listener.Addr())
	return f.follow(ctx, os.Stdin)
}

// show writes a status to the payment's pages.
func (f *floor) show(reference, status string) error {
	message, err := json.Marshal(pageMessage{Type: "status", ID: reference, Version: 1, Status: status, At: time.Now()})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for page := range f.pages[reference] {
		page <- message
	}
	return nil
}

// page is the handler that one writes first: it stays for as long as the page is open. Its token is the payment's reference.
func (f *floor) page(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	reference, messages := strings.TrimPrefix(r.Header.Get("Sec-WebSocket-Protocol"), subprotocol+", bearer."), make(chan []byte, 4)
	f.mu.Lock()
	if f.pages[reference] == nil {
		f.pages[reference] = map[chan []byte]struct{}{}
	}
	f.pages[reference][messages] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.pages[reference], messages)
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
