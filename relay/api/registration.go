package api

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
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
var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`) //nolint:gochecknoglobals // compiled once, never changed

// decimalText keeps amounts to plain decimals, so that no exponent can make a number of a million digits.
var decimalText = regexp.MustCompile(`^\d{1,30}(\.\d{1,30})?$`) //nolint:gochecknoglobals // likewise

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
		id, err := uuid.Parse(g.ReferenceID)
		if err != nil || len(g.ReferenceID) != 36 || id.Version() != 4 || id.Variant() != uuid.RFC4122 {
			o.complain("reference_id", "must be a UUID v4 such as 550e8400-e29b-41d4-a716-446655440000")
		}
		g.ReferenceID = id.String()
	}
	if g.SessionID != 0 && g.Operation != relay.Collection {
		o.complain("session_id", "only a collection has one")
	}
	if g.SourceType == "" && (source || g.SessionID != 0) {
		o.complain("source_type", "is required for a source and with session_id")
	}
	if g.SourceType != "" && g.SourceType != "INVOICE" && g.SourceType != "ORDER" {
		o.complain("source_type", "must be INVOICE or ORDER")
	}
	if source && g.SourceID == 0 && !o.complained("source_id") {
		o.complain("source_id", "is required for a source")
	}
}

func (o *object) complained(field string) bool {
	return slices.ContainsFunc(o.errs, func(e fieldError) bool { return e.Field == field })
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

// amount reads a decimal above zero, as a string or a number, and keeps it as it was written.
func (o *object) amount(name string) string {
	raw, ok := o.take(name)
	if !ok {
		o.complain(name, "is required")
		return ""
	}
	text := string(raw)
	if strings.HasPrefix(text, `"`) {
		text = strings.Trim(text, `"`)
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
	var pairs map[string]string
	var values map[string]*string
	if err := json.Unmarshal(raw, &values); err != nil {
		o.complain("metadata", "must be an object of strings")
		return nil
	}
	if len(values) > maxMetadata {
		o.complain("metadata", fmt.Sprintf("has %d pairs, at most %d are kept", len(values), maxMetadata))
		return nil
	}
	pairs = make(map[string]string, len(values))
	for key, value := range values {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxMetadataKey:
			o.complain("metadata", fmt.Sprintf("has a key that is empty or longer than %d characters", maxMetadataKey))
		case value == nil || utf8.RuneCountInString(*value) > maxMetadataValue:
			o.complain("metadata."+key, fmt.Sprintf("must be a string of at most %d characters", maxMetadataValue))
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
	return watch
}
