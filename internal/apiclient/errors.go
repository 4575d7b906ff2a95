package apiclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ProblemError is an answer that says no: RFC 9457 problem details, in words that say what to do.
type ProblemError struct {
	Status    int          `json:"status"`
	Title     string       `json:"title"`
	Detail    string       `json:"detail"`
	RequestID string       `json:"request_id"` // what to look for in the relay's log
	Errors    []FieldError `json:"errors"`
}

// FieldError says what is wrong with one field or query parameter.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// readProblem reads an error answer; one that comes from something before the relay keeps its code.
func readProblem(answer *http.Response, body []byte) *ProblemError {
	p := &ProblemError{}
	if json.Unmarshal(body, p) != nil {
		p = &ProblemError{}
	}
	p.Status = answer.StatusCode
	return p
}

// Temporary reports whether the same request may succeed later.
func (p *ProblemError) Temporary() bool {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		return false
	}
}

func (p *ProblemError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "the relay answers %d %s", p.Status, http.StatusText(p.Status))
	if p.Detail != "" {
		text.WriteString(": " + p.Detail)
	}
	for _, e := range p.Errors {
		fmt.Fprintf(&text, "\n  %s: %s", e.Field, e.Message)
	}
	switch {
	case p.Status == http.StatusUnauthorized:
		text.WriteString("\n  RELAY_API_KEY must be one of the relay's RELAY_API_KEYS.")
	case p.Title == "" && p.Detail == "":
		text.WriteString(", and not as a relay would: check RELAY_URL and what stands before the relay.")
	case p.Status >= http.StatusInternalServerError && p.RequestID != "":
		text.WriteString("\n  The relay's log says more about request " + p.RequestID + ".")
	}
	return text.String()
}

// UnreachableError reports that no answer came: check that the relay runs and RELAY_URL names it.
type UnreachableError struct {
	URL string // the relay's base URL
	Err error

	unsent bool // the connection was never made
}

func (e *UnreachableError) Error() string {
	cause := e.Err
	if wrapped, ok := errors.AsType[*url.Error](cause); ok { // it repeats the URL
		cause = wrapped.Err
	}
	return fmt.Sprintf("the relay at %s cannot be reached: %v\n  Is it running, and is RELAY_URL right?", e.URL, cause)
}

func (e *UnreachableError) Unwrap() error { return e.Err }
