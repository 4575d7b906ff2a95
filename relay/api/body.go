package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

const (
	// maxBody bounds request bodies. The largest sensible registration is 16 pairs of metadata.
	maxBody = 64 << 10
	// bodyTimeout bounds how long a client may take to send one.
	bodyTimeout = 10 * time.Second
)

// object is a JSON object being read field by field: every complaint is kept, so that a client hears
// of all at once, and fields that nobody asked for are complaints too.
type object struct {
	fields map[string]json.RawMessage
	errs   []fieldError
}

// readBody reads the request's JSON object. What is no JSON object is 400.
func readBody(c echo.Context) (*object, error) {
	raw, err := readAll(c)
	if err != nil {
		return nil, err
	}
	return parseBody(raw)
}

// readNothing checks a request that has no fields and no parameters; an empty object is as good as no body.
func readNothing(c echo.Context) error {
	if err := readQuery(c).finish(); err != nil {
		return err
	}
	raw, err := readAll(c)
	if err != nil || len(bytes.TrimSpace(raw)) == 0 {
		return err
	}
	o, err := parseBody(raw)
	if err != nil {
		return err
	}
	return o.finish()
}

func readAll(c echo.Context) ([]byte, error) {
	if c.Request().Body == http.NoBody {
		return nil, nil
	}
	control := http.NewResponseController(c.Response().Writer)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a server without deadlines has no slow clients either
	raw, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxBody))
	var (
		tooLarge *http.MaxBytesError
		late     net.Error
	)
	switch {
	case err == nil:
		_ = control.SetReadDeadline(time.Time{})
		return raw, nil
	case errors.As(err, &tooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, "The body is larger than 64 KiB.")
	case errors.As(err, &late) && late.Timeout():
		c.Response().Header().Set("Connection", "close")
		return nil, refuse(http.StatusRequestTimeout, "The body did not arrive within 10 s.")
	default:
		return nil, refuse(http.StatusBadRequest, "The body could not be read.")
	}
}

func parseBody(raw []byte) (*object, error) {
	o, err := readObject(raw)
	if err != nil {
		return nil, &problem{Status: http.StatusBadRequest, Detail: "The body must be one JSON object: " + err.Error() + ".", cause: err}
	}
	return o, nil
}

// readObject reads one JSON object, refusing repeated keys: which one would count is a guess.
func readObject(raw []byte) (*object, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("it is not UTF-8")
	}
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

// complain notes what is wrong with a field; the first complaint about it is the one that counts.
func (o *object) complain(field, message string) {
	if !slices.ContainsFunc(o.errs, func(e fieldError) bool { return e.Field == field }) {
		o.errs = append(o.errs, fieldError{field, message})
	}
}

// take removes a field and returns its value; null counts as left out.
func (o *object) take(name string) (json.RawMessage, bool) {
	raw, ok := o.fields[name]
	delete(o.fields, name)
	return raw, ok && string(raw) != "null"
}

// text reads a string, "" if it is left out. To give an empty one is a mistake.
func (o *object) text(name string) string {
	raw, ok := o.take(name)
	if !ok {
		return ""
	}
	var text string
	switch err := json.Unmarshal(raw, &text); {
	case err != nil:
		o.complain(name, "must be a string")
	case text == "":
		o.complain(name, "must not be empty; leave it out")
	case strings.ContainsRune(text, 0):
		o.complain(name, "must not contain the character U+0000")
	}
	return text
}

// integer reads a whole number above zero, also as a string of digits if digits are allowed. It is 0
// if it is left out or wrong.
func (o *object) integer(name string, digits bool) int64 {
	raw, ok := o.take(name)
	if !ok {
		return 0
	}
	literal, want := string(raw), "must be an integer above zero"
	if digits {
		want += ", or a string of its digits"
		_ = json.Unmarshal(raw, &literal) // a number stays as it is
	}
	n, err := strconv.ParseInt(literal, 10, 64)
	if err != nil || n <= 0 || literal[0] == '+' {
		o.complain(name, want)
		return 0
	}
	return n
}

// uuid checks a UUID v4 and returns it in lower case; the empty text passes.
func (o *object) uuid(name, text string) string {
	lower, ok := uuidV4(text)
	if text != "" && !ok {
		o.complain(name, "must be a UUID v4 such as 550e8400-e29b-41d4-a716-446655440000")
	}
	return lower
}

func uuidV4(text string) (lower string, ok bool) {
	id, err := uuid.Parse(text)
	return id.String(), err == nil && len(text) == 36 && id.Version() == 4 && id.Variant() == uuid.RFC4122
}

// finish complains about what is left over, and returns all complaints.
func (o *object) finish() error {
	left := make([]string, 0, len(o.fields))
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
