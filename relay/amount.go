package relay

import (
	"strings"

	"github.com/shopspring/decimal"
)

// fits reports whether the amounts of a success are what the merchant expects. No expectation
// always fits; an expectation and no readable amount never does.
func fits(want *Expected, got Amounts, op Operation) bool {
	if want == nil {
		return true
	}
	total := same(want, got.TotalAmount, got.Currency)
	payer := same(want, got.PayerAmount, got.PayerCurrency)
	payee := same(want, got.PayeeAmount, got.PayeeCurrency)
	switch {
	case op == Source:
		return total
	case want.Side == "payer":
		return payer
	case want.Side == "payee":
		return payee
	default:
		return payer || payee
	}
}

// same compares as numbers: 250, 250.0 and 250.00 are one amount.
func same(want *Expected, amount, currency string) bool {
	return strings.EqualFold(want.Currency, currency) && equalDecimals(want.Amount, amount)
}

func equalDecimals(a, b string) bool {
	x, errX := decimal.NewFromString(a)
	y, errY := decimal.NewFromString(b)
	return errX == nil && errY == nil && x.Equal(y)
}

// differ reports whether an amount or currency that both name is not the same. What one of them
// leaves out does not differ.
func (a *Amounts) differ(b Amounts) bool {
	if a == nil {
		return false
	}
	amount := func(x, y string) bool { return x != "" && y != "" && !equalDecimals(x, y) }
	text := func(x, y string) bool { return x != "" && y != "" && !strings.EqualFold(x, y) }
	return amount(a.PayerAmount, b.PayerAmount) || text(a.PayerCurrency, b.PayerCurrency) ||
		amount(a.PayeeAmount, b.PayeeAmount) || text(a.PayeeCurrency, b.PayeeCurrency) ||
		amount(a.TotalAmount, b.TotalAmount) || text(a.Currency, b.Currency)
}

// phrase names the amounts for a sentence of the timeline, with a leading space.
func (a Amounts) phrase() string {
	var parts []string
	for _, pair := range [][3]string{
		{"payer ", a.PayerAmount, a.PayerCurrency}, {"payee ", a.PayeeAmount, a.PayeeCurrency}, {"", a.TotalAmount, a.Currency},
	} {
		if pair[1] != "" || pair[2] != "" {
			parts = append(parts, strings.TrimSpace(pair[0]+strings.TrimSpace(pair[1]+" "+pair[2])))
		}
	}
	if len(parts) == 0 {
		return " without amounts"
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// fingerprint identifies what an answer said, so that the same answer is not recorded twice.
func (t Truth) fingerprint() string { return t.Status + t.Amounts.phrase() }
