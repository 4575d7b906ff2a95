// Command go serves the documentation's handler for Go to the tests of docs/callbacks: it prints its
// port, then a line for each thing that the shop does.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	if err := serve(context.Background()); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	verifier, err := standardwebhooks.NewWebhook(os.Getenv("DOLLR_CALLBACK_SECRET"))
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	_, _ = fmt.Println("listening", port)
	server := &http.Server{Handler: dollrCallback(verifier, &ledger{known: map[string]bool{}}), ReadHeaderTimeout: time.Second}
	return server.Serve(listener)
}

// ledger is a shop that remembers and prints.
type ledger struct {
	mu    sync.Mutex
	known map[string]bool
}

func (l *ledger) Fulfil(webhookID, order string) error { return l.once(webhookID, "fulfilled", order) }

func (l *ledger) NotPaid(webhookID, order string) error { return l.once(webhookID, "unpaid", order) }

func (l *ledger) AskPerson(webhookID, order string) error { return l.once(webhookID, "asked", order) }

func (l *ledger) once(webhookID, what, order string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := what + " " + order
	if !l.known[webhookID] && (what != "fulfilled" || !l.known[line]) {
		_, _ = fmt.Println(line)
	}
	l.known[webhookID], l.known[line] = true, true
	return nil
}
