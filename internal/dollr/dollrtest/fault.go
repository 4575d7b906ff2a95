package dollrtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Kinds of faults.
const (
	FaultCode      = "code"       // answers with Code, with Dollr's error body for it
	FaultHTML      = "html"       // a page of some proxy, with Code (200 if unset)
	FaultEmpty     = "empty"      // no body, with Code (200 if unset)
	FaultSlow      = "slow"       // the answer comes after Delay
	FaultHang      = "hang"       // never answers
	FaultDrop      = "drop"       // closes the connection without an answer
	FaultTruncated = "truncated"  // half of the body
	FaultOversize  = "oversize"   // a body of over 1 MiB
	FaultRedirect  = "redirect"   // sends the client to Location with Code (302 if unset)
	FaultWrap      = "wrap"       // {"data":{…}} around the body, which Dollr may do
	FaultStrings   = "strings"    // numbers as strings, which Dollr may do
	FaultAnotherID = "another_id" // an answer about another payment
	FaultNoID      = "no_id"      // an answer without the payment's id
	FaultNoStatus  = "no_status"  // an answer without a status
	FaultSplit     = "split"      // the status in one object, the id in the one around it
	FaultTwice     = "twice"      // the status twice in one object, with different words
	FaultBody      = "body"       // Body as it is, with Code (200 if unset)
)

// Fault is something that goes wrong with requests.
type Fault struct {
	Kind        string        `json:"kind"`
	Endpoint    string        `json:"endpoint,omitempty"`     // which; "status" for all five of those, "" for all
	ReferenceID string        `json:"reference_id,omitempty"` // only requests with this in their path
	Times       int           `json:"times,omitempty"`        // how many requests; 0 until [Server.ClearFaults]
	Code        int           `json:"code,omitempty"`
	RetryAfter  string        `json:"retry_after,omitempty"` // sent as it is
	Delay       time.Duration `json:"-"`                     // before whatever happens; in JSON "delay", such as "3s"
	Location    string        `json:"location,omitempty"`
	Body        string        `json:"body,omitempty"`
}

// plainFault is a Fault as encoding/json sees it by itself.
type plainFault Fault

// MarshalJSON implements [json.Marshaler].
func (f Fault) MarshalJSON() ([]byte, error) {
	delay := ""
	if f.Delay > 0 {
		delay = f.Delay.String()
	}
	return json.Marshal(struct {
		plainFault

		Delay string `json:"delay,omitempty"`
	}{plainFault(f), delay})
}

// UnmarshalJSON implements [json.Unmarshaler]. It refuses unknown fields, which would be faults that do not happen.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var read struct {
		plainFault

		Delay string `json:"delay"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&read); err != nil {
		return fmt.Errorf("dollrtest: fault: %w", err)
	}
	*f = Fault(read.plainFault)
	if read.Delay == "" {
		return nil
	}
	delay, err := time.ParseDuration(read.Delay)
	if err != nil || delay < 0 {
		return fmt.Errorf("dollrtest: delay: %q is no duration such as 3s", read.Delay)
	}
	f.Delay = delay
	return nil
}

// AddFault switches a fault on. Of several that fit a request the first one happens. It refuses unknown kinds.
func (s *Server) AddFault(f Fault) error {
	kinds := []string{
		FaultCode, FaultHTML, FaultEmpty, FaultSlow, FaultHang, FaultDrop, FaultTruncated, FaultOversize, FaultRedirect,
		FaultWrap, FaultStrings, FaultAnotherID, FaultNoID, FaultNoStatus, FaultSplit, FaultTwice, FaultBody,
	}
	if !slices.Contains(kinds, f.Kind) {
		return fmt.Errorf("dollrtest: kind: %q is none of %s", f.Kind, strings.Join(kinds, ", "))
	}
	if f.Kind == FaultCode && (f.Code < 200 || f.Code > 599) {
		return fmt.Errorf("dollrtest: code: %d is no HTTP status of an answer", f.Code)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, f)
	return nil
}

// ClearFaults switches all faults off.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Faults returns the faults that are switched on.
func (s *Server) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

// nextFault returns the fault that happens to a request, and uses it up by one.
func (s *Server) nextFault(name string, r *http.Request) (Fault, bool) {
	if s.opts.Fault != nil {
		return s.opts.Fault(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !matches(f.Endpoint, name) || !strings.Contains(r.URL.Path, strings.ToLower(f.ReferenceID)) {
			continue
		}
		switch f.Times {
		case 0:
		case 1:
			s.faults = slices.Delete(s.faults, i, i+1)
		default:
			s.faults[i].Times--
		}
		return f, true
	}
	return Fault{}, false
}

// before does what happens before an answer. It reports whether there will be one.
func (f Fault) before(ctx context.Context) bool {
	if f.Kind == FaultHang {
		<-ctx.Done()
	}
	return sleep(ctx, f.Delay) && f.Kind != FaultDrop
}

// answers reports whether the fault replaces the answer, whatever it would have been.
func (f Fault) answers() bool {
	return slices.Contains([]string{FaultCode, FaultHTML, FaultEmpty, FaultOversize, FaultRedirect, FaultBody}, f.Kind)
}

func (f Fault) answer() answer {
	code := f.Code
	if code == 0 {
		code = http.StatusOK
	}
	a := answer{code: code, header: http.Header{}}
	if f.RetryAfter != "" {
		a.header.Set("Retry-After", f.RetryAfter)
	}
	switch f.Kind {
	case FaultCode:
		a.value = map[string]any{"detail": detailFor(code)}
	case FaultHTML:
		a.header.Set("Content-Type", "text/html; charset=utf-8")
		a.raw = "<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>Please wait</h1></body></html>"
	case FaultOversize:
		a.raw = `{"padding":"` + strings.Repeat("x", 1<<20) + `"}`
	case FaultRedirect:
		if f.Code == 0 {
			a.code = http.StatusFound
		}
		a.header.Set("Location", f.Location)
	case FaultBody:
		a.header.Set("Content-Type", "application/json")
		a.raw = f.Body
	}
	return a
}

// detailFor is the detail that Dollr's documentation shows for a code.
func detailFor(code int) any {
	switch code {
	case http.StatusUnauthorized:
		return "Could not validate credentials"
	case http.StatusUnprocessableEntity:
		return []any{map[string]any{"loc": []string{"body", "currency"}, "msg": "field required", "type": "value_error.missing"}}
	}
	return http.StatusText(code)
}

// anotherID is the id that answers about another payment carry.
const anotherID = "99999999-9999-4999-8999-999999999999"

// twist changes a true answer.
func (f Fault) twist(a answer) answer {
	fields, _ := a.value.(map[string]any)
	if a.code != http.StatusOK || fields == nil {
		return a
	}
	switch f.Kind {
	case FaultWrap:
		a.value = map[string]any{"data": fields}
	case FaultStrings:
		for name, value := range fields {
			if n, isNumber := value.(json.Number); isNumber {
				fields[name] = n.String()
			}
		}
	case FaultAnotherID:
		if _, isSource := fields["source_id"]; isSource {
			fields["source_id"] = 999_999_999
		} else {
			fields["reference_id"] = anotherID
		}
	case FaultNoID:
		delete(fields, "reference_id")
		delete(fields, "source_id")
	case FaultNoStatus:
		delete(fields, "status")
	case FaultSplit:
		a.value = map[string]any{
			"reference_id": fields["reference_id"], "source_id": fields["source_id"], "source_type": fields["source_type"],
			"data": map[string]any{"status": fields["status"]},
		}
	case FaultTwice, FaultTruncated:
		body, err := json.Marshal(fields)
		if err != nil {
			return a
		}
		a.raw = `{"status":"COMPLETED",` + string(body[1:])
		if f.Kind == FaultTruncated {
			a.raw = string(body[:len(body)/2])
		}
	}
	return a
}
