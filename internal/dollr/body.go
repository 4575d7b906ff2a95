package dollr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/shopspring/decimal"
)

// object is one JSON object as it was sent, its values still unread. Fields that nobody asks for,
// client_secret among them, end with it.
type object map[string]json.RawMessage

// readObject reads data as exactly one JSON object. A repeated name is refused: two readers could believe different
// ones of them.
func readObject(data []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("no JSON object")
	}
	o := object{}
	for dec.More() {
		name, err := dec.Token()
		key, ok := name.(string)
		if err != nil || !ok {
			return nil, errors.New("malformed JSON")
		}
		if _, twice := o[key]; twice {
			return nil, errors.New("a name occurs twice")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("malformed JSON")
		}
		o[key] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("malformed JSON")
	}
	if dec.More() || dec.InputOffset() < int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, errors.New("text after the JSON object")
	}
	return o, nil
}

// candidates reads a body as it is and, where it is wrapped, the object in its "data": both shapes are in use.
func candidates(body []byte) ([]object, error) {
	outer, err := readObject(body)
	if err != nil {
		return nil, err
	}
	found := []object{outer}
	if data := bytes.TrimSpace(outer["data"]); len(data) > 0 && data[0] == '{' {
		inner, err := readObject(data)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		found = append(found, inner)
	}
	return found, nil
}

// pick returns the one candidate that carries all the names. Two of them would leave open which is meant.
func pick(body []byte, names ...string) (object, error) {
	all, err := candidates(body)
	if err != nil {
		return nil, err
	}
	var found object
	for _, o := range all {
		if !o.has(names...) {
			continue
		}
		if found != nil {
			return nil, errors.New("two answers in one body")
		}
		found = o
	}
	if found == nil {
		return nil, fmt.Errorf("no object with %s", strings.Join(names, " and "))
	}
	return found, nil
}

func (o object) has(names ...string) bool {
	for _, name := range names {
		if raw, ok := o[name]; !ok || string(raw) == "null" {
			return false
		}
	}
	return true
}

// text returns a string field; ok is false when it is missing, null, or no string.
func (o object) text(name string) (value string, ok bool) {
	if !o.has(name) || json.Unmarshal(o[name], &value) != nil {
		return "", false
	}
	return value, true
}

// number returns a number field as written, be it sent as a number or as a string.
func (o object) number(name string) (json.Number, bool) {
	var n json.Number
	if !o.has(name) || json.Unmarshal(o[name], &n) != nil {
		return "", false
	}
	return n, true
}

// decimalText bounds what is taken for an amount, so that "1e999999999" cannot be written out.
var decimalText = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$`)

// amount returns a decimal as Dollr wrote it, an exponent written out. It never passes through a float.
func (o object) amount(name string) (string, bool) {
	n, ok := o.number(name)
	if !ok || !decimalText.MatchString(string(n)) {
		return "", false
	}
	if !strings.ContainsAny(string(n), "eE") {
		return string(n), true
	}
	d, err := decimal.NewFromString(string(n))
	if err != nil {
		return "", false
	}
	return d.StringFixed(max(0, -d.Exponent())), true
}

var currencyText = regexp.MustCompile(`^[A-Za-z0-9]{1,16}$`)

// currency returns a currency code in upper case: its case means nothing.
func (o object) currency(name string) (string, bool) {
	code, ok := o.text(name)
	if !ok || !currencyText.MatchString(code) {
		return "", false
	}
	return strings.ToUpper(code), true
}

// maxDetail bounds what an error message of Dollr's contributes to a log line.
const maxDetail = 200

// errorDetail reads the "detail" of an error body: a text, or a list of fields with messages. Anything else (HTML, an
// empty body) has none. Only field names and messages are taken: newer servers repeat the input next to them.
func errorDetail(body []byte) string {
	all, err := candidates(body)
	if err != nil {
		return ""
	}
	for _, o := range all {
		if text, ok := o.text("detail"); ok {
			return shorten(text)
		}
		var fields []struct {
			Loc []any  `json:"loc"`
			Msg string `json:"msg"`
		}
		if !o.has("detail") || json.Unmarshal(o["detail"], &fields) != nil {
			continue
		}
		var text []string
		for _, f := range fields {
			var path []string
			for _, part := range f.Loc {
				path = append(path, fmt.Sprint(part))
			}
			text = append(text, strings.Join(path, ".")+": "+f.Msg)
		}
		return shorten(strings.Join(text, "; "))
	}
	return ""
}

// shorten makes foreign text fit for one line of a log.
func shorten(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "")
	if runes := []rune(text); len(runes) > maxDetail {
		return string(runes[:maxDetail]) + "…"
	}
	return text
}
