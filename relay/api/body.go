package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// maxBody bounds request bodies. The largest sensible registration is 16 pairs of metadata.
const maxBody = 64 << 10

// object is a JSON object or a query being read field by field: every complaint is kept, so that a
// client hears of all at once, and fields that nobody asked for are complaints too.
type object struct {
	fields map[string]json.RawMessage
	errs   []fieldError
}

// readBody reads the request's JSON object. What is no JSON object is 400.
func readBody(c echo.Context) (*object, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, refuse(http.StatusRequestEntityTooLarge, "The body is larger than 64 KiB.")
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "The body could not be read.")
	}
	o, err := readObject(raw)
	if err != nil {
		return nil, &problem{Status: http.StatusBadRequest, Detail: "The body must be one JSON object: " + err.Error() + ".", cause: err}
	}
	return o, nil
}

// readObject reads one JSON object, refusing repeated keys: which one would count is a guess.
func readObject(raw []byte) (*object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("it is not one")
	}
	o := &object{fields: map[string]json.RawMessage{}}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errors.New("it is malformed")
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("it is malformed")
		}
		if _, ok := o.fields[name]; ok {
			return nil, errors.New("it names " + strconv.Quote(name) + " twice")
		}
		o.fields[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("it is malformed")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows it")
	}
	return o, nil
}

func (o *object) complain(field, message string) {
	o.errs = append(o.errs, fieldError{field, message})
}

// take removes a field and returns its value; null counts as left out.
func (o *object) take(name string) (json.RawMessage, bool) {
	raw, ok := o.fields[name]
	delete(o.fields, name)
	return raw, ok && string(raw) != "null"
}

func (o *object) text(name string) string {
	raw, ok := o.take(name)
	if !ok {
		return ""
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		o.complain(name, "must be a string")
	}
	return text
}

// integer reads a whole number above zero, also as a string of digits if digits are allowed.
func (o *object) integer(name string, digits bool) int64 {
	raw, ok := o.take(name)
	if !ok {
		return 0
	}
	literal, want := string(raw), "must be an integer above zero"
	if digits {
		want += ", or a string of its digits"
		literal = strings.Trim(literal, `"`)
	}
	n, err := strconv.ParseInt(literal, 10, 64)
	if err != nil || n <= 0 || strings.HasPrefix(literal, "+") {
		o.complain(name, want)
		return 0
	}
	return n
}

// finish complains about what is left over, and returns all complaints.
func (o *object) finish() error {
	var left []string
	for name := range o.fields {
		left = append(left, name)
	}
	slices.Sort(left)
	for _, name := range left {
		o.complain(name, "is not a field of this request")
	}
	if len(o.errs) > 0 {
		return invalid(o.errs...)
	}
	return nil
}

// query reads a request's query parameters, likewise.
type query struct {
	values map[string][]string
	errs   []fieldError
}

func readQuery(c echo.Context) *query { return &query{values: c.QueryParams()} }

func (q *query) take(name string) string {
	values := q.values[name]
	delete(q.values, name)
	if len(values) > 1 {
		q.errs = append(q.errs, fieldError{name, "is given more than once"})
	}
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// oneOf reads a parameter that must be one of some words, or left out.
func (q *query) oneOf(name string, words ...string) string {
	text := q.take(name)
	if text != "" && !slices.Contains(words, text) {
		q.errs = append(q.errs, fieldError{name, "must be one of " + strings.Join(words, ", ")})
	}
	return text
}

func (q *query) number(name string, otherwise, low, high int64) int64 {
	text := q.take(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		q.errs = append(q.errs, fieldError{name, "must be an integer from " + strconv.FormatInt(low, 10) + " to " + strconv.FormatInt(high, 10)})
		return otherwise
	}
	return n
}

// maxWait is the longest that a request is held; asking for more is asking for this.
const maxWait = 60 * time.Second

func (q *query) wait() time.Duration {
	text := q.take("wait")
	if text == "" {
		return 0
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		q.errs = append(q.errs, fieldError{"wait", "must be a duration such as 25s"})
		return 0
	}
	return min(wait, maxWait)
}

func (q *query) finish() error {
	var left []string
	for name := range q.values {
		left = append(left, name)
	}
	slices.Sort(left)
	for _, name := range left {
		q.errs = append(q.errs, fieldError{name, "is not a parameter of this request"})
	}
	if len(q.errs) > 0 {
		return invalid(q.errs...)
	}
	return nil
}
