package relay_test

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// plainDecimal is what package dollr lets through as an amount.
var plainDecimal = regexp.MustCompile(`^-?[0-9]{1,130}(\.[0-9]{1,130})?$`)

// FuzzAmounts compares expected and paid amounts as package big does: a success is one only if they are the same number in the
// same currency, on the side that was named.
func FuzzAmounts(f *testing.F) {
	for _, seed := range [][5]string{
		{"250", "USD", "payee", "250.00", "USD"},
		{"250.00", "USD", "payer", "25.000", "USD"},
		{"0.10", "USD", "", ".1", "usd"},
		{"1000", "JPY", "payee", "1e3", "JPY"},
		{"250", "USD", "payee", "1e999999999", "USD"},
		{"250", "USD", "payee", "-250", "USD"},
		{"250", "USD", "payee", "", "USD"},
		{"250", "USD", "payee", "250", "EUR"},
		{"250", "USD", "nobody", "NaN", "USD"},
		{"00250", "USD", "payee", "٢٥٠", "USD"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	f.Fuzz(func(t *testing.T, wanted, currency, side, paid, paidCurrency string) {
		g := relay.Registration{
			Operation: relay.Collection, ReferenceID: "550e8400-e29b-41d4-a716-446655440000",
			Expected: &relay.Expected{Amount: wanted, Currency: currency, Side: side},
		}
		p, _ := g.Open(time.Hour, noon)
		amounts := relay.Amounts{PayeeAmount: paid, PayeeCurrency: paidCurrency}
		start := time.Now()
		after, _ := relay.Decide(p, relay.Truth{Via: relay.ViaPoll, Status: "COMPLETED", Amounts: amounts}, noon)
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("comparing %q with %q took %s", wanted, paid, took)
		}
		if !plainDecimal.MatchString(wanted) || !plainDecimal.MatchString(paid) {
			if after.Outcome != relay.Mismatch && after.Outcome != relay.Succeeded {
				t.Errorf("%q paid for %q is %s", paid, wanted, after.Outcome)
			}
			return
		}
		x, _ := new(big.Rat).SetString(wanted)
		y, _ := new(big.Rat).SetString(paid)
		same := x.Cmp(y) == 0 && strings.EqualFold(currency, paidCurrency) && side != "payer"
		if (after.Outcome == relay.Succeeded) != same {
			t.Errorf("%s %s paid for %s %s (%q) is %s, want success: %t", paid, paidCurrency, wanted, currency, side, after.Outcome, same)
		}
	})
}
