package realtime_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/secret"
	"github.com/dollr-relay/dollr-relay/realtime"
	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

// A Feed tells when it hears of a payment, and what it hears.
func ExampleFeed() {
	supabase := realtimetest.New(realtimetest.Options{JWTSecret: secret.New("the project's JWT secret")})
	web := httptest.NewServer(supabase)
	defer web.Close()
	defer supabase.Close()

	events := make(chan realtime.Event, 10)
	feed, err := realtime.New(realtime.Options{
		URL:     web.URL,
		AnonKey: secret.New(supabase.Token(time.Hour)),
		Keys:    loopbackKeys{supabase}, // in the relay: Dollr's realtime-keys endpoint
		Notify:  func(e realtime.Event) { events <- e },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- feed.Run(ctx) }()

	const referenceID = "550e8400-e29b-41d4-a716-446655440000"
	feed.Follow(realtime.Target{ID: "pay_1", SessionID: 55, SourceType: "INVOICE", ReferenceID: referenceID})
	fmt.Println((<-events).Kind)
	supabase.Change(realtimetest.Row{"reference_id": referenceID, "status": "COMPLETED"})
	hint := <-events
	fmt.Println(hint.Kind, hint.Status)

	cancel()
	fmt.Println(<-done)
	// Output:
	// live
	// change COMPLETED
	// <nil>
}
