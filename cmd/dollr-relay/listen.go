package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/apiclient"
	"github.com/dollr-relay/dollr-relay/internal/forward"
	"github.com/dollr-relay/dollr-relay/relay/callback"
)

// feedWait is how long the relay holds the question for new events.
const feedWait = "25s"

// forwarding is where the developer's commands post to.
type forwarding struct {
	Forward string `name:"forward" required:"" placeholder:"URL" help:"Your backend on this machine, such as http://localhost:3000/hook."`
}

// target opens the target and says which secret it verifies with.
func (f *forwarding) target(c *console, folder string) (*forward.Target, error) {
	text, path, err := forward.Secret(folder)
	if err != nil {
		return nil, err
	}
	secret, err := callback.ParseSecret(text)
	if err != nil {
		return nil, err
	}
	target, err := forward.NewTarget(f.Forward, secret)
	if err != nil {
		return nil, &usageError{[]string{"--forward: " + err.Error()}}
	}
	c.printf("Signed with %s\n(only for this; kept in %s)\n", text, path)
	return target, nil
}

// ownFolder is where the developer's commands keep what they need between runs.
func ownFolder() (string, error) {
	base, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no folder to keep the secret for forwarding in; set HOME or XDG_CONFIG_HOME: %w", err)
	}
	return filepath.Join(base, "dollr-relay"), nil
}

// callbacksListenCommand brings a relay's callbacks to a machine that the relay cannot reach.
type callbacksListenCommand struct {
	connection
	forwarding

	New bool `name:"new" help:"At the first run leave out what the relay has reported already."`
}

// Run implements the command.
func (l *callbacksListenCommand) Run(ctx context.Context, c *console) (err error) {
	say := func(format string, args ...any) {
		c.printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}
	lost := false
	client, err := l.client(c, apiclient.Options{Patience: -1, OnWait: func(err error) {
		if !lost {
			say("%v", err)
		}
		lost = true
	}})
	if err != nil {
		return err
	}
	folder, err := ownFolder()
	if err != nil {
		return err
	}
	target, err := l.target(c, folder)
	if err != nil {
		return err
	}
	journal, err := forward.OpenJournal(folder, strings.TrimSuffix(l.RelayURL, "/"), l.Forward)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	c.printf("Forwarding events of %s to %s. Stop with Ctrl+C; the next run goes on here.\n", l.RelayURL, l.Forward)
	listener := &forward.Listener{
		Events: func(ctx context.Context, after string, wait bool) (page apiclient.Events, err error) {
			query := url.Values{"limit": {"100"}}
			if wait {
				query.Set("wait", feedWait)
			}
			if after != "" {
				query.Set("after", after)
			}
			err = client.Get(ctx, "/v1/events", query, &page)
			if err == nil && lost {
				say("The relay is back.")
				lost = false
			}
			return page, err
		},
		Target: target, Journal: journal, SkipPresent: l.New, Say: say,
	}
	return listener.Run(ctx)
}

// callbacksTriggerCommand posts an event that never happened.
type callbacksTriggerCommand struct {
	forwarding

	Type string `arg:"" help:"Type of the event, such as payment.succeeded."`
}

// Run implements the command.
func (t *callbacksTriggerCommand) Run(ctx context.Context, c *console) error {
	id, body, err := forward.Invent(t.Type, time.Now())
	if _, ok := errors.AsType[*forward.UnknownTypeError](err); ok {
		return &usageError{[]string{"TYPE: " + err.Error()}}
	}
	if err != nil {
		return err
	}
	folder, err := ownFolder()
	if err != nil {
		return err
	}
	target, err := t.target(c, folder)
	if err != nil {
		return err
	}
	answer, err := target.Post(ctx, id, body)
	if err != nil {
		return fmt.Errorf("your backend cannot be reached: %w", err)
	}
	if !answer.Acknowledged() {
		return fmt.Errorf("your backend did not acknowledge %s: %s", id, answer.Complaint())
	}
	c.printf("%s %s -> %d (%s)\n", t.Type, id, answer.Code, answer.Took.Round(time.Millisecond))
	return nil
}
