package dollr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
	"github.com/dollr-relay/dollr-relay/internal/secret"
)

func ExampleClient_Status() {
	stand := dollrtest.New(dollrtest.Options{})
	srv := httptest.NewServer(stand)
	defer srv.Close()
	_ = stand.Put(dollrtest.Payment{
		Operation: dollrtest.Collection, ReferenceID: "550e8400-e29b-41d4-a716-446655440000", Status: "COMPLETED",
		PayeeAmount: "250.00", PayeeCurrency: "USD",
	})

	client, err := dollr.New(dollr.Options{
		BaseURL: srv.URL, ClientID: dollrtest.ClientID, ClientSecret: secret.New(dollrtest.ClientSecret),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := client.Status(context.Background(), dollr.Subject{
		Operation: dollr.Collection, ReferenceID: "550e8400-e29b-41d4-a716-446655440000",
	}, dollr.NewTicket(dollr.UrgentVerify))
	fmt.Println(status.Word, status.Amounts["payee_amount"], status.Amounts["payee_currency"], err)

	_, err = client.Status(context.Background(), dollr.Subject{
		Operation: dollr.Refund, ReferenceID: "550e8400-e29b-41d4-a716-446655440000",
	}, nil)
	if failure, ok := errors.AsType[*dollr.Error](err); ok {
		fmt.Println(failure.Reason(), failure.CountsForBreaker())
	}
	// Output:
	// COMPLETED 250.00 USD <nil>
	// not_found false
}
