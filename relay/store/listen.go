package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// newsChannel is where replicas tell each other what they have committed.
	newsChannel = "dollr_relay"
	// MaxNews is what one message may carry: PostgreSQL's limit is 8000 bytes.
	MaxNews = 7900

	// silence is after how long without news the server is asked whether it still is there, and patience how long it may
	// take to answer.
	silence  = 2 * time.Second
	patience = 3 * time.Second
)

// Tell sends a message to every process that listens, this one included. It is a hint and may be lost.
func (l Leases) Tell(ctx context.Context, message string) error {
	if err := l.exec(ctx, `SELECT pg_notify($1, $2)`, newsChannel, message); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// Listen hears what is told until ctx ends or the connection is lost, and returns why. ready is called when nothing that
// is told from then on is missed. The connection is one of its own.
func (l Leases) Listen(ctx context.Context, ready func(), heard func(message string)) error {
	engine, ok := l.store.engine.(*postgres)
	if !ok {
		return errors.New("listen: only PostgreSQL has news")
	}
	conn, err := pgx.ConnectConfig(ctx, engine.config.Copy())
	if err != nil {
		return fmt.Errorf("listen: %w", hidden(err))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		_ = conn.Close(ctx) // whatever it says, the connection is gone
	}()
	if _, err := conn.Exec(ctx, `LISTEN `+newsChannel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ready()
	for {
		message, err := next(ctx, conn)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		heard(message)
	}
}

// next waits for a message, and makes sure now and then that the server is still there.
func next(ctx context.Context, conn *pgx.Conn) (string, error) {
	for {
		wait, cancel := context.WithTimeout(ctx, silence)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			return n.Payload, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case wait.Err() == nil || conn.IsClosed():
			return "", err
		}
		ping, cancel := context.WithTimeout(ctx, patience)
		err = conn.Ping(ping)
		cancel()
		if err != nil {
			return "", err
		}
	}
}
