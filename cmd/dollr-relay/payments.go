package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/apiclient"
)

// paymentsCommand is what an operator does with payments.
type paymentsCommand struct {
	List      paymentsListCommand      `cmd:"" help:"Watched payments, newest first."`
	Show      paymentsShowCommand      `cmd:"" help:"One payment with its timeline."`
	Verify    paymentsVerifyCommand    `cmd:"" help:"Ask Dollr about a payment now."`
	Reconcile paymentsReconcileCommand `cmd:"" help:"Ask Dollr about all open payments and those settled lately, and report what was found."`
}

// paymentsListCommand lists payments.
type paymentsListCommand struct {
	connection
	listOptions

	Outcome     string `name:"outcome" enum:",pending,succeeded,failed,canceled,mismatch,expired" default:"" help:"Only those with this outcome: pending, succeeded, failed, canceled, mismatch or expired."`
	Operation   string `name:"operation" enum:",collection,payout,transfer,refund,source" default:"" help:"Only this operation: collection, payout, transfer, refund or source."`
	ReferenceID string `name:"reference-id" help:"Only those with this reference id of Dollr."`
}

// Run implements the command.
func (l *paymentsListCommand) Run(ctx context.Context, c *console) error {
	client, err := l.client(c, apiclient.Options{})
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"outcome": l.Outcome, "operation": l.Operation, "reference_id": l.ReferenceID} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return printList(ctx, c, client, "/v1/payments", query, l.listOptions,
		"ID OPERATION REFERENCE STATUS OUTCOME LINK CREATED", paymentRow)
}

func paymentRow(p apiclient.Payment) []string {
	return []string{p.ID, p.Operation, reference(p), dash(p.Status), outcome(p), dash(p.Link), local(&p.CreatedAt)}
}

// reference is what a payment is called at Dollr.
func reference(p apiclient.Payment) string {
	if p.ReferenceID == nil && p.SourceType != nil && p.SourceID != nil {
		return fmt.Sprintf("%s %d", *p.SourceType, *p.SourceID)
	}
	return dash(p.ReferenceID)
}

// outcome is the outcome with what must not be overlooked.
func outcome(p apiclient.Payment) string {
	text := p.Outcome
	if p.Late {
		text += " (late, after " + dash(p.PreviousOutcome) + ")"
	}
	if p.Contradicted {
		text += " (CONTRADICTED)"
	}
	return text
}

// onePayment names a payment.
type onePayment struct {
	connection

	ID   string `arg:"" help:"Id of the payment (pay_…)."`
	JSON bool   `name:"json" help:"The payment as the HTTP API has it."`
}

func (o *onePayment) path() string { return "/v1/payments/" + url.PathEscape(o.ID) }

// print writes the payment of an answer.
func (o *onePayment) print(c *console, answer json.RawMessage) error {
	if o.JSON {
		return printJSON(c.out, answer)
	}
	var p apiclient.Payment
	if err := json.Unmarshal(answer, &p); err != nil {
		return fmt.Errorf("read the payment: %w", err)
	}
	rows := [][]string{
		{"operation", p.Operation},
		{"reference", reference(p)},
		{"outcome", outcome(p)},
		{"verified", verified(p)},
		{"status", dash(p.Status)},
		{"amounts", pairs(p.Amounts)},
		{"expected", pairs(p.Expected)},
		{"link", dash(p.Link)},
		{"created", local(&p.CreatedAt)},
		{"watched until", local(&p.WatchUntil)},
		{"last checked", local(p.LastCheckedAt)},
		{"last error", dash(p.LastError)},
		{"metadata", pairs(p.Metadata)},
	}
	if len(p.Siblings) > 0 {
		rows = append(rows, []string{"siblings", strings.Join(p.Siblings, " ") + "  (also paid: refund what was paid twice)"})
	}
	return printTable(c.out, p.ID, rows)
}

func verified(p apiclient.Payment) string {
	if !p.Verified {
		return "no"
	}
	if p.VerifiedAt == nil {
		return "yes"
	}
	return "yes, " + local(p.VerifiedAt)
}

// pairs writes a small object in the order of its names.
func pairs(values map[string]string) string {
	if len(values) == 0 {
		return "-"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		parts = append(parts, name+"="+values[name])
	}
	return strings.Join(parts, " ")
}

// paymentsShowCommand shows one payment.
type paymentsShowCommand struct{ onePayment }

// Run implements the command.
func (s *paymentsShowCommand) Run(ctx context.Context, c *console) error {
	client, err := s.client(c, apiclient.Options{})
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := client.Get(ctx, s.path(), nil, &answer); err != nil {
		return err
	}
	if err := s.print(c, answer); err != nil || s.JSON {
		return err
	}
	var timeline struct {
		Data []apiclient.TimelineEntry `json:"data"`
	}
	if err := client.Get(ctx, s.path()+"/events", nil, &timeline); err != nil {
		return err
	}
	rows := make([][]string, len(timeline.Data))
	for i, e := range timeline.Data {
		rows[i] = []string{local(&e.At), e.Via, e.Outcome, e.Detail}
	}
	c.printf("\n")
	return printTable(c.out, "AT VIA OUTCOME DETAIL", rows)
}

// paymentsVerifyCommand asks Dollr now.
type paymentsVerifyCommand struct{ onePayment }

// Run implements the command.
func (v *paymentsVerifyCommand) Run(ctx context.Context, c *console) error {
	client, err := v.client(c, apiclient.Options{})
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := client.Post(ctx, v.path()+"/verify", &answer); err != nil {
		return err
	}
	return v.print(c, answer)
}

// sweepPoll is how often a running sweep is looked at.
const sweepPoll = 500 * time.Millisecond

// paymentsReconcileCommand sweeps and waits for the end.
type paymentsReconcileCommand struct {
	connection

	JSON bool `name:"json" help:"The report as the HTTP API has it."`
}

// Run implements the command.
func (r *paymentsReconcileCommand) Run(ctx context.Context, c *console) error {
	client, err := r.client(c, apiclient.Options{})
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := client.Post(ctx, "/v1/reconcile", &answer); err != nil {
		return err
	}
	said := time.Now()
	for {
		var sweep apiclient.Sweep
		if err := json.Unmarshal(answer, &sweep); err != nil {
			return fmt.Errorf("read the report: %w", err)
		}
		if sweep.EndedAt != nil {
			if r.JSON {
				return printJSON(c.out, answer)
			}
			return printSweep(c, sweep)
		}
		if time.Since(said) > 2*time.Second {
			said = time.Now()
			_, _ = fmt.Fprintf(c.err, "%d payments asked about so far\n", sweep.Asked)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the sweep goes on without being watched: %w", ctx.Err())
		case <-time.After(sweepPoll):
		}
		if err := client.Get(ctx, "/v1/reconcile", nil, &answer); err != nil {
			return err
		}
	}
}

func printSweep(c *console, s apiclient.Sweep) error {
	row := func(name string, n int, hint string) []string { return []string{name, fmt.Sprint(n), hint} }
	return printTable(c.out, "FOUND PAYMENTS", [][]string{
		row("asked about", s.Asked, ""),
		row("without an answer", s.Failed, "asked again later"),
		row("settled late", s.FoundLate, "after another outcome had been reported"),
		row("missed by realtime", s.MissedByRealtime, ""),
		row("mismatched", s.Mismatched, "payments list --outcome mismatch"),
		row("contradicted", s.Contradicted, "a person must look"),
	})
}
