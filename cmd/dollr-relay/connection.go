package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/apiclient"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

// connection is how the operator commands reach a relay.
type connection struct {
	RelayURL string `name:"relay-url" env:"RELAY_URL" default:"http://localhost:8080" help:"Base URL of the relay."`
	APIKey   string `name:"api-key" env:"RELAY_API_KEY" help:"One of the relay's RELAY_API_KEYS; also as RELAY_API_KEY_FILE."`
}

// client connects to the relay that flags and environment name.
func (f *connection) client(c *console, opts apiclient.Options) (*apiclient.Client, error) {
	check := &checker{getenv: os.Getenv}
	key := check.fromFile("RELAY_API_KEY", f.APIKey)
	if key == "" && len(check.problems) == 0 {
		check.problem("RELAY_API_KEY", "is required; it is one of the relay's RELAY_API_KEYS")
	}
	if opts.OnWait == nil {
		said := false
		opts.OnWait = func(err error) {
			if !said {
				_, _ = fmt.Fprintf(c.err, "%v\nTrying again.\n", err)
			}
			said = true
		}
	}
	client, err := apiclient.New(f.RelayURL, secret.New(key), opts)
	if err != nil {
		check.problem("RELAY_URL", err.Error())
	}
	if len(check.problems) > 0 {
		return nil, &usageError{check.problems}
	}
	return client, nil
}

// listOptions are the flags that lists have in common.
type listOptions struct {
	Limit int  `name:"limit" default:"50" help:"Newest entries to show; 0 for all."`
	JSON  bool `name:"json" help:"One JSON object a line, as the HTTP API has it."`
}

// printTable writes rows under a header, in columns.
func printTable(out io.Writer, header string, rows [][]string) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, strings.ReplaceAll(header, " ", "\t"))
	for _, row := range rows {
		_, _ = fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}

// printJSON writes a value of the API as it came, in one line.
func printJSON(out io.Writer, value json.RawMessage) error {
	_, err := fmt.Fprintf(out, "%s\n", strings.TrimSpace(string(value)))
	return err
}

// printList writes a list of the API: as JSON lines, or as a table with one row per entry.
func printList[T any](ctx context.Context, c *console, client *apiclient.Client, path string, query map[string][]string, opts listOptions, header string, row func(T) []string) error {
	if opts.JSON {
		for entry, err := range apiclient.List[json.RawMessage](ctx, client, path, query, opts.Limit) {
			if err != nil {
				return err
			}
			if err := printJSON(c.out, entry); err != nil {
				return err
			}
		}
		return nil
	}
	var rows [][]string
	for entry, err := range apiclient.List[T](ctx, client, path, query, opts.Limit) {
		if err != nil {
			return err
		}
		rows = append(rows, row(entry))
	}
	if len(rows) == 0 {
		c.printf("None.\n")
		return nil
	}
	if err := printTable(c.out, header, rows); err != nil {
		return err
	}
	if len(rows) == opts.Limit {
		c.printf("(the newest %d; --limit 0 shows all)\n", opts.Limit)
	}
	return nil
}

// local is a time for people: theirs.
func local(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// dash is a text of the API for people.
func dash(text *string) string {
	if text == nil || *text == "" {
		return "-"
	}
	return *text
}
