package dollrtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
)

// answer is what goes back: a JSON value, or raw text that need not be JSON.
type answer struct {
	code   int
	header http.Header
	value  any
	raw    string // wins over value
}

func ok(value any) answer { return answer{code: http.StatusOK, value: value} }

// problem is an error with a text as its detail.
func problem(code int, detail string) answer {
	return answer{code: code, value: map[string]any{"detail": detail}}
}

// invalid is the 422 of a field: its place, what is wrong, and the vendor's word for it.
func invalid(where, field, msg, kind string) answer {
	return answer{code: http.StatusUnprocessableEntity, value: map[string]any{
		"detail": []any{map[string]any{"loc": []string{where, field}, "msg": msg, "type": kind}},
	}}
}

// tooMany is a 429; retryAfter is the header as it is sent, none if empty.
func tooMany(retryAfter string) answer {
	a := problem(http.StatusTooManyRequests, "Too many requests")
	if retryAfter != "" {
		a.header = http.Header{"Retry-After": {retryAfter}}
	}
	return a
}

func (a answer) write(w http.ResponseWriter) {
	body := []byte(a.raw)
	if a.raw == "" && a.value != nil {
		var err error
		if body, err = json.Marshal(a.value); err != nil {
			http.Error(w, "stand-in: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
	}
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.code)
	_, _ = w.Write(body)
}
