package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// maxWait is the longest that a request is held; asking for more is asking for this.
const maxWait = 60 * time.Second

// query is a request's query parameters being read one by one, as [object] is for a body. An empty
// parameter counts as left out.
type query struct {
	values    url.Values
	malformed error
	errs      []fieldError
}

func readQuery(c echo.Context) *query {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	return &query{values: values, malformed: err}
}

// readPageQuery is for the requests of pages, which may carry their token as a parameter.
func readPageQuery(c echo.Context) *query {
	q := readQuery(c)
	q.take("token")
	return q
}

func (q *query) complain(name, message string) { q.errs = append(q.errs, fieldError{name, message}) }

func (q *query) take(name string) string {
	values := q.values[name]
	delete(q.values, name)
	if len(values) > 1 {
		q.complain(name, "is given more than once")
	}
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// oneOf reads a parameter that must be one of some words.
func (q *query) oneOf(name string, words ...string) string {
	text := q.take(name)
	if text != "" && !slices.Contains(words, text) {
		q.complain(name, "must be one of "+strings.Join(words, ", "))
	}
	return text
}

func (q *query) number(name string, otherwise, low, high int64) int64 {
	text := q.take(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high || text[0] == '+' {
		q.complain(name, "must be an integer from "+strconv.FormatInt(low, 10)+" to "+strconv.FormatInt(high, 10))
		return otherwise
	}
	return n
}

// cursor reads a list's cursor, 0 for none.
func (q *query) cursor() int64 {
	text := q.take("cursor")
	n, err := strconv.ParseInt(text, 10, 64)
	if text != "" && (err != nil || n < 1) {
		q.complain("cursor", "must be a next_cursor of this list")
	}
	return n
}

func (q *query) wait() time.Duration {
	text := q.take("wait")
	if text == "" {
		return 0
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		q.complain("wait", "must be a duration such as 25s")
		return 0
	}
	return min(wait, maxWait)
}

func (q *query) uuid(name string) string {
	text := q.take(name)
	if text == "" {
		return ""
	}
	lower, ok := uuidV4(text)
	if !ok {
		q.complain(name, "must be a UUID v4")
	}
	return lower
}

func (q *query) finish() error {
	if q.malformed != nil {
		return refuse(http.StatusBadRequest, "The query is malformed.")
	}
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		q.complain(name, "is not a parameter of this request")
	}
	if len(q.errs) > 0 {
		return invalid(q.errs...)
	}
	return nil
}
