package dollr_test

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

func TestStatus_everyOperationByItsEndpoint(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	c := newClient(t, srv, nil)
	execution := map[string]string{
		"payer_amount": "255.00", "payer_currency": "USD", "payee_amount": "250.00", "payee_currency": "USD",
	}
	for _, operation := range []string{dollr.Collection, dollr.Payout, dollr.Transfer, dollr.Refund} {
		p := dollrtest.Payment{
			Operation: operation, ReferenceID: ref, Status: "COMPLETED",
			PayerAmount: "255.00", PayerCurrency: "USD", PayeeAmount: "250.00", PayeeCurrency: "USD",
		}
		if err := srv.Put(p); err != nil {
			t.Fatal(err)
		}
		got, err := c.Status(t.Context(), dollr.Subject{Operation: operation, ReferenceID: strings.ToUpper(ref)}, nil)
		if err != nil || got.Word != "COMPLETED" || !maps.Equal(got.Amounts, execution) {
			t.Errorf("Status(%s) = %+v, %v, want COMPLETED with %v", operation, got, err, execution)
		}
		if n := srv.Count(operation); n != 1 {
			t.Errorf("endpoint %s saw %d requests, want 1", operation, n)
		}
	}

	err := srv.Put(dollrtest.Payment{
		Operation: dollrtest.Source, SourceType: "ORDER", SourceID: 101, Status: "PAID", TotalAmount: "5000", Currency: "UGX",
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Status(t.Context(), dollr.Subject{Operation: dollr.Source, SourceType: "ORDER", SourceID: 101}, nil)
	want := map[string]string{"total_amount": "5000", "currency": "UGX"}
	if err != nil || got.Word != "PAID" || !maps.Equal(got.Amounts, want) {
		t.Errorf("Status(source) = %+v, %v, want PAID with %v", got, err, want)
	}
}

const anyToken = `{"access_token":"t","expires_in":60}`

// bodyClient answers every status request with a body, and every token request properly, without a network.
func bodyClient(tb testing.TB, log io.Writer, body func() string) *dollr.Client {
	tb.Helper()
	return transportClient(tb, log, func(r *http.Request) (*http.Response, error) {
		text := anyToken
		if r.Method == http.MethodGet {
			text = body()
		}
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
	})
}

// transportClient is a client whose network is a function.
func transportClient(tb testing.TB, log io.Writer, network roundTrip) *dollr.Client {
	tb.Helper()
	c, err := dollr.New(dollr.Options{
		ClientID: "id", ClientSecret: secret.New("s"), Rate: 1e6, Logger: slog.New(slog.NewTextHandler(log, nil)),
		HTTPClient: &http.Client{Transport: network},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestStatus_readsWhatDollrMaySend(t *testing.T) {
	t.Parallel()
	id := `"reference_id":"` + ref + `"`
	tests := []struct {
		name    string
		body    string
		word    string
		amounts map[string]string
	}{
		{"plain", `{` + id + `,"status":"PROCESSING"}`, "PROCESSING", nil},
		{"wrapped", `{"data":{` + id + `,"status":"COMPLETED"}}`, "COMPLETED", nil},
		{"wrapped beside a status of the wrapper", `{"status":"success","data":{` + id + `,"status":"PENDING"}}`, "PENDING", nil},
		{"plain beside a data field", `{` + id + `,"status":"PENDING","data":null}`, "PENDING", nil},
		{"id in upper case", `{"reference_id":"` + strings.ToUpper(ref) + `","status":"FAILED"}`, "FAILED", nil},
		{"operation in lower case", `{` + id + `,"status":"FAILED","operation_type":"collection"}`, "FAILED", nil},
		{"operation null", `{` + id + `,"status":"FAILED","operation_type":null}`, "FAILED", nil},
		{"U14 unknown word", `{` + id + `,"status":"REVERSED_BY_BANK"}`, "REVERSED_BY_BANK", nil},
		{"word in lower case stays", `{` + id + `,"status":"completed"}`, "completed", nil},
		{"space around", " \n{" + id + `,"status":"PENDING"}` + "\r\n", "PENDING", nil},
		{
			"U18 amounts as numbers keep their digits", `{` + id + `,"status":"COMPLETED","payee_amount":250.00,"payee_currency":"USD"}`,
			"COMPLETED",
			map[string]string{"payee_amount": "250.00", "payee_currency": "USD"},
		},
		{
			"U18 amounts as strings", `{` + id + `,"status":"COMPLETED","payee_amount":"250.00","payee_currency":"usd"}`,
			"COMPLETED",
			map[string]string{"payee_amount": "250.00", "payee_currency": "USD"},
		},
		{
			"U18 amounts that no float could hold", `{` + id + `,"status":"COMPLETED","payee_amount":12345678901234567890.12,"payer_amount":0.1}`,
			"COMPLETED",
			map[string]string{"payee_amount": "12345678901234567890.12", "payer_amount": "0.1"},
		},
		{
			"exponents are written out", `{` + id + `,"status":"COMPLETED","payee_amount":2.5e2,"payer_amount":"25500E-2"}`,
			"COMPLETED",
			map[string]string{"payee_amount": "250", "payer_amount": "255.00"},
		},
		{
			"what is no amount is left out",
			`{` + id + `,"status":"COMPLETED","payee_amount":"1,000.00","payer_amount":1e999,"total_amount":{},"payee_currency":"$","payer_currency":7}`,
			"COMPLETED", nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := bodyClient(t, io.Discard, func() string { return tt.body })
			got, err := c.Status(t.Context(), collection(), nil)
			if err != nil || got.Word != tt.word || !maps.Equal(got.Amounts, tt.amounts) {
				t.Errorf("Status() = %+v, %v, want %q with %v", got, err, tt.word, tt.amounts)
			}
		})
	}
}

func TestStatus_U13_U19_refusesWhatIsNoAnswerToTheQuestion(t *testing.T) {
	t.Parallel()
	id := `"reference_id":"` + ref + `"`
	source := `"source_id":101,"source_type":"INVOICE"`
	invoice := dollr.Subject{Operation: dollr.Source, SourceType: "INVOICE", SourceID: 101}
	tests := []struct {
		name     string
		subject  dollr.Subject
		body     string
		security bool // about another payment: said in the log
	}{
		{"empty", collection(), "", false},
		{"HTML", collection(), "<html><body>" + ref + " COMPLETED</body></html>", false},
		{"array", collection(), `[{` + id + `,"status":"COMPLETED"}]`, false},
		{"truncated", collection(), `{` + id + `,"status":"COMPLETED"`, false},
		{"text after it", collection(), `{` + id + `,"status":"COMPLETED"} {}`, false},
		{"brace after it", collection(), `{` + id + `,"status":"COMPLETED"}}`, false},
		{"no id", collection(), `{"status":"COMPLETED"}`, false},
		{"id null", collection(), `{"reference_id":null,"status":"COMPLETED"}`, false},
		{"no status", collection(), `{` + id + `}`, false},
		{"status a number", collection(), `{` + id + `,"status":1}`, false},
		{"status empty", collection(), `{` + id + `,"status":""}`, false},
		{"status no word", collection(), `{` + id + `,"status":"<script>"}`, false},
		{"status endless", collection(), `{` + id + `,"status":"` + strings.Repeat("A", 65) + `"}`, false},
		{"status and id in two objects", collection(), `{` + id + `,"data":{"status":"COMPLETED"}}`, false},
		{"id and status in two objects", collection(), `{"status":"COMPLETED","data":{` + id + `}}`, false},
		{"two answers", collection(), `{` + id + `,"status":"PENDING","data":{` + id + `,"status":"COMPLETED"}}`, false},
		{"status twice", collection(), `{` + id + `,"status":"PENDING","status":"COMPLETED"}`, false},
		{"status twice in data", collection(), `{"data":{` + id + `,"status":"PENDING","status":"COMPLETED"}}`, false},
		{"another id", collection(), `{"reference_id":"99999999-9999-4999-8999-999999999999","status":"COMPLETED"}`, true},
		{"id no UUID", collection(), `{"reference_id":"1","status":"COMPLETED"}`, true},
		{"id a number", collection(), `{"reference_id":1,"status":"COMPLETED"}`, true},
		{"another operation", collection(), `{` + id + `,"status":"COMPLETED","operation_type":"REFUND"}`, true},
		{"operation a number", collection(), `{` + id + `,"status":"COMPLETED","operation_type":1}`, true},
		{"source for an execution", collection(), `{` + source + `,"status":"PAID"}`, false},
		{"source without type", invoice, `{"source_id":101,"status":"PAID"}`, false},
		{"source without id", invoice, `{"source_type":"INVOICE","status":"PAID"}`, false},
		{"another source", invoice, `{"source_id":102,"source_type":"INVOICE","status":"PAID"}`, true},
		{"another source type", invoice, `{"source_id":101,"source_type":"ORDER","status":"PAID"}`, true},
		{"source id a fraction", invoice, `{"source_id":101.5,"source_type":"INVOICE","status":"PAID"}`, true},
		{"nested without end", collection(), strings.Repeat(`{"data":`, 100_000), false},
		{"over 1 MiB", collection(), `{` + id + `,"status":"COMPLETED","x":"` + strings.Repeat("x", 1<<20) + `"}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := &syncBuffer{}
			c := bodyClient(t, log, func() string { return tt.body })
			got, err := c.Status(t.Context(), tt.subject, nil)
			failure := wantError(t, err, dollr.ReasonUnreadable)
			if !failure.CountsForBreaker() {
				t.Error("CountsForBreaker() = false, want true: whatever answers there is not Dollr in good health")
			}
			if got.Word != "" || got.Amounts != nil {
				t.Errorf("Status() = %+v beside an error, want nothing", got)
			}
			if said := strings.Contains(log.String(), "security=true"); said != tt.security {
				t.Errorf("security event in the log: %t, want %t; log: %s", said, tt.security, log)
			}
		})
	}
}

func TestStatus_sourceIDMayBeAString(t *testing.T) {
	t.Parallel()
	c := bodyClient(t, io.Discard, func() string { return `{"source_id":"101","source_type":"invoice","status":"PAID"}` })
	got, err := c.Status(t.Context(), dollr.Subject{Operation: dollr.Source, SourceType: "INVOICE", SourceID: 101}, nil)
	if err != nil || got.Word != "PAID" {
		t.Errorf("Status() = %+v, %v, want PAID", got, err)
	}
}

func TestStatus_asksNothingAboutABadSubject(t *testing.T) {
	t.Parallel()
	srv := dollrtest.Start(t, dollrtest.Options{})
	c := newClient(t, srv, nil)
	for _, s := range []dollr.Subject{
		{},
		{Operation: "chargeback", ReferenceID: ref},
		{Operation: dollr.Collection, ReferenceID: "../source"},
		{Operation: dollr.Source, SourceID: 1},
	} {
		if _, err := c.Status(t.Context(), s, nil); err == nil {
			t.Errorf("Status(%+v) = nil error, want ErrBadSubject", s)
		}
	}
	if n := srv.Count(""); n != 0 {
		t.Errorf("Dollr saw %d requests, want 0", n)
	}
}

func FuzzStatus(f *testing.F) {
	id := `"reference_id":"` + ref + `"`
	f.Add(`{` + id + `,"status":"COMPLETED","payee_amount":2.5e2,"payee_currency":"USD"}`)
	f.Add(`{"data":{` + id + `,"status":"PENDING"}}`)
	f.Add(`{"detail":[{"loc":["body","currency"],"msg":"field required"}]}`)
	f.Add(`<html>`)
	var body string
	c := bodyClient(f, io.Discard, func() string { return body })
	f.Fuzz(func(t *testing.T, text string) {
		body = text
		got, err := c.Status(t.Context(), collection(), nil)
		if err != nil {
			wantReason(t, err, dollr.ReasonUnreadable)
			return
		}
		if got.Word == "" || len(got.Word) > 64 {
			t.Errorf("Status() = %+v for %q, want a word of 1 to 64 bytes", got, text)
		}
		for name, value := range got.Amounts {
			if value == "" || strings.ContainsAny(value, "eE") && strings.HasSuffix(name, "amount") {
				t.Errorf("%s = %q, want a written out decimal", name, value)
			}
		}
	})
}
