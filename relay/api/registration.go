package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"github.com/dollr-relay/dollr-relay/relay"
)

const (
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
	minWatch         = time.Minute
	maxWatch         = 720 * time.Hour
)

// currencyCode is the form of ISO 4217; which codes exist is Dollr's business.
var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// decimalText keeps amounts to plain decimals, so that no exponent can make a number of a million digits.
var decimalText = regexp.MustCompile(`^\d{1,30}(\.\d{1,30})?$`)

// exponent is a number that is written with one, of a size that can be written out.
var exponent = regexp.MustCompile(`^[\d.]{1,30}[eE][+-]?\d{1,2}$`)

// registration reads the body of POST /v1/payments.
func (s *Server) registration(o *object) (relay.Registration, error) {
	g := relay.Registration{
		Operation:   relay.Operation(o.text("operation")),
		ReferenceID: o.text("reference_id"),
		SessionID:   o.integer("session_id", true),
		SourceType:  o.text("source_type"),
		SourceID:    o.integer("source_id", false),
		CallbackURL: o.text("callback_url"),
		Expected:    o.expected(),
		Metadata:    o.metadata(),
		WatchFor:    o.watchFor(),
	}
	o.identity(&g)
	if g.CallbackURL != "" && !slices.Contains(s.CallbackURLs, g.CallbackURL) {
		o.complain("callback_url", "must be one of RELAY_CALLBACK_URLS, exactly as written there")
	}
	return g, o.finish()
}

// identity checks the fields that say which payment is meant.
func (o *object) identity(g *relay.Registration) {
	if !slices.Contains(relay.Operations(), g.Operation) {
		o.complain("operation", "must be collection, payout, transfer, refund or source")
		return
	}
	source := g.Operation == relay.Source
	switch {
	case source && g.ReferenceID != "":
		o.complain("reference_id", "a source is known by source_type and source_id; leave it out")
	case !source && g.ReferenceID == "":
		o.complain("reference_id", "is required")
	case !source:
		g.ReferenceID = o.uuid("reference_id", g.ReferenceID)
	}
	if g.SessionID != 0 && g.Operation != relay.Collection {
		o.complain("session_id", "only a collection has one")
	}
	if g.SourceType == "" && (source || g.SessionID != 0) {
		o.complain("source_type", "is required for a source and with session_id")
	}
	o.sourceType(g.SourceType)
	if source && g.SourceID == 0 {
		o.complain("source_id", "is required for a source")
	}
}

func (o *object) sourceType(text string) {
	if text != "" && text != "INVOICE" && text != "ORDER" {
		o.complain("source_type", "must be INVOICE or ORDER")
	}
}

func (o *object) expected() *relay.Expected {
	raw, ok := o.take("expected")
	if !ok {
		return nil
	}
	inner, err := readObject(raw)
	if err != nil {
		o.complain("expected", "must be an object with amount and currency")
		return nil
	}
	want := &relay.Expected{Amount: inner.amount("amount"), Currency: inner.text("currency"), Side: inner.text("side")}
	if want.Currency == "" {
		inner.complain("currency", "is required")
	}
	if !currencyCode.MatchString(want.Currency) {
		inner.complain("currency", "must be an ISO 4217 code in upper case, such as USD")
	}
	if want.Side != "" && want.Side != "payee" && want.Side != "payer" {
		inner.complain("side", "must be payee or payer")
	}
	_ = inner.finish() // its complaints are taken over with the path
	for _, e := range inner.errs {
		o.complain("expected."+e.Field, e.Message)
	}
	return want
}

// amount reads a decimal above zero, as a string or a number, and keeps it as it was written, but
// for a number's exponent, which is written out.
func (o *object) amount(name string) string {
	raw, ok := o.take(name)
	if !ok {
		o.complain(name, "is required")
		return ""
	}
	text := string(raw)
	if number := json.Unmarshal(raw, &text) != nil; number && exponent.MatchString(text) {
		if value, err := decimal.NewFromString(text); err == nil {
			text = value.String()
		}
	}
	value, err := decimal.NewFromString(text)
	if !decimalText.MatchString(text) || err != nil || !value.IsPositive() {
		o.complain(name, `must be a decimal above zero, such as "250.00"`)
	}
	return text
}

func (o *object) metadata() map[string]string {
	raw, ok := o.take("metadata")
	if !ok {
		return nil
	}
	inner, err := readObject(raw)
	if err != nil {
		o.complain("metadata", "must be an object of strings")
		return nil
	}
	if len(inner.fields) > maxMetadata {
		o.complain("metadata", fmt.Sprintf("has %d pairs, at most %d are kept", len(inner.fields), maxMetadata))
		return nil
	}
	pairs := make(map[string]string, len(inner.fields))
	for _, key := range slices.Sorted(maps.Keys(inner.fields)) {
		var value *string
		err := json.Unmarshal(inner.fields[key], &value)
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxMetadataKey:
			o.complain("metadata", fmt.Sprintf("has a key that is empty or longer than %d characters", maxMetadataKey))
		case err != nil || value == nil || utf8.RuneCountInString(*value) > maxMetadataValue:
			o.complain("metadata."+key, fmt.Sprintf("must be a string of at most %d characters", maxMetadataValue))
		case strings.ContainsRune(key+*value, 0):
			o.complain("metadata", "must not contain the character U+0000")
		default:
			pairs[key] = *value
		}
	}
	return pairs
}

func (o *object) watchFor() time.Duration {
	text := o.text("watch_for")
	if text == "" {
		return 0
	}
	watch, err := time.ParseDuration(text)
	if err != nil || watch < minWatch || watch > maxWatch {
		o.complain("watch_for", "must be a duration from 1m to 720h, such as 72h")
	}
	return watch.Truncate(time.Millisecond) // as it is stored: given again, it is the same
}
