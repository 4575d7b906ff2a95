package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/dollr-relay/dollr-relay/internal/doctor"
	"github.com/dollr-relay/dollr-relay/internal/dollr"
)

// doctorCommand examines what the relay depends on, with the same settings as serve.
type doctorCommand struct {
	settings
}

var errUnwell = errors.New("something is wrong, see above")

// Run implements the command.
func (d *doctorCommand) Run(ctx context.Context, c *console) error {
	config, _, err := newChecker(d.settings, os.Getenv).config(version().text)
	if err != nil {
		return err
	}
	c.printf("ok    configuration: complete and without contradictions\n")
	fine := doctor.Examine(ctx, doctor.Options{
		Dollr: dollr.Options{
			BaseURL: config.DollrBaseURL, ClientID: config.DollrClientID, ClientSecret: config.DollrClientSecret,
			Rate: config.DollrRate, Logger: slog.New(slog.DiscardHandler),
		},
		SupabaseURL: config.SupabaseURL, SupabaseAnonKey: config.SupabaseAnonKey,
		DatabaseURL: config.DatabaseURL, CallbackURLs: config.CallbackURLs,
	}, func(f doctor.Finding) {
		word, advice := "ok  ", ""
		if !f.OK {
			word = "FAIL"
		}
		if f.Do != "" {
			advice = " → " + f.Do
		}
		c.printf("%s  %s: %s%s\n", word, f.Name, f.Saw, advice)
	})
	if !fine {
		return errUnwell
	}
	return nil
}
