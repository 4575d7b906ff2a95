package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"

	"github.com/dollr-relay/dollr-relay/internal/doctor"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/tracing"
)

// doctorCommand examines what the relay depends on, with the same settings as serve.
type doctorCommand struct {
	settings

	JSON bool `name:"json" help:"One JSON object a line: check, ok, saw, means, do."`
}

var errUnwell = errors.New("something is wrong, see above")

// Run implements the command.
func (d *doctorCommand) Run(ctx context.Context, c *console) error {
	quiet := slog.New(slog.DiscardHandler)
	config, _, err := newChecker(d.settings, os.Getenv).config(version().text)
	traces, badTraces := tracing.New(ctx, tracing.Options{Getenv: os.Getenv, Logger: quiet})
	if err := allProblems(err, badTraces); err != nil {
		return err
	}
	options := doctor.Options{
		Dollr: dollr.Options{
			BaseURL: config.DollrBaseURL, ClientID: config.DollrClientID, ClientSecret: config.DollrClientSecret,
			Rate: config.DollrRate, Logger: quiet,
		},
		SupabaseURL: config.SupabaseURL, SupabaseAnonKey: config.SupabaseAnonKey,
		DatabaseURL: config.DatabaseURL, CallbackURLs: config.CallbackURLs,
	}
	if traces != nil {
		options.Traces = traces.Probe
		defer func() { _ = traces.Shutdown(ctx) }() // it has made no span
	}
	d.tell(c, doctor.Finding{Name: "configuration", OK: true, Saw: "complete and without contradictions"})
	if !doctor.Examine(ctx, options, func(f doctor.Finding) { d.tell(c, f) }) {
		return errUnwell
	}
	return nil
}

// tell writes a finding in one line.
func (d *doctorCommand) tell(c *console, f doctor.Finding) {
	if d.JSON {
		line, _ := json.Marshal(f)
		c.printf("%s\n", line)
		return
	}
	word, rest := "ok  ", ""
	if !f.OK {
		word = "FAIL"
	}
	if f.Means != "" {
		rest += " | " + f.Means
	}
	if f.Do != "" {
		rest += " → " + f.Do
	}
	c.printf("%s  %s: %s%s\n", word, f.Name, f.Saw, rest)
}
