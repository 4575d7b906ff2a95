package console_test

import (
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
	"github.com/dollr-relay/dollr-relay/web/console"
)

// calm is a relay without trouble.
func calm() console.Health {
	return console.Health{
		Dollr: console.Breaker{State: "closed"}, Keys: console.Breaker{State: "closed"}, Budget: console.Budget{Full: 10, Rate: 10},
		Supabase: true, Sockets: 1, Channels: map[string]int{"live": 3}, Links: map[relay.Link]int{relay.Live: 3},
		Endpoints: []console.Endpoint{{Name: "callback_1", URL: "https://user:secret@shop.example/hooks?key=secret", Breaker: console.Breaker{State: "closed"}}},
	}
}

func TestWords_sayTheWorstFirst(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(h *console.Health)
		tone console.Tone
		want string
		more int // further remarks
	}{
		{"calm", func(*console.Health) {}, "good", "All is well. 3 payments waiting, all live.", 0},
		{"one payment", func(h *console.Health) { h.Links = map[relay.Link]int{relay.Live: 1} }, "good", "All is well. 1 payment waiting, live.", 0},
		{"some polled", func(h *console.Health) { h.Links[relay.Polling] = 2 }, "good", "All is well. 5 payments waiting, 3 of them live, the others polled.", 0},
		{"nothing to do", func(h *console.Health) { h.Links, h.Channels = nil, nil }, "good", "All is well. No payment is waiting.", 0},
		{"no Supabase", func(h *console.Health) { h.Supabase, h.Links = false, map[relay.Link]int{relay.Polling: 2} }, "good", "All is well. 2 payments waiting, polled.", 0},
		{"realtime down", func(h *console.Health) {
			h.Deaf, h.Channels, h.Links = true, map[string]int{"waiting": 3}, map[relay.Link]int{relay.Polling: 3}
		}, "wait", "Realtime is down, polling instead; 3 payments waiting.", 0},
		{"a channel being joined", func(h *console.Health) { h.Channels = map[string]int{"joining": 1} }, "good", "All is well. 3 payments waiting, all live.", 0},
		{"one channel down", func(h *console.Health) { h.Channels["waiting"] = 1 }, "wait", "1 realtime channel of 4 out of order, polling instead; 3 payments waiting.", 0},
		{"no keys", func(h *console.Health) { h.Keys.State = "open" }, "wait", "Dollr gives out no realtime keys, polling instead; 3 payments waiting.", 0},
		{"Dollr down", func(h *console.Health) { h.Dollr.State = "half-open" }, "bad", "Dollr cannot be reached; 3 payments waiting. None of them fails because of it.", 0},
		{"429", func(h *console.Health) { h.Budget.Held = 42 * time.Second }, "wait", "Dollr asked for a pause of 42\u00a0s more; 3 payments waiting.", 0},
		{"database", func(h *console.Health) { h.StoreError = true }, "bad", "The database does not work. Nothing is lost and nothing is guessed; 3 payments waiting.", 0},
		{"an endpoint", func(h *console.Health) { h.Endpoints[0].Breaker.State, h.Pending = "open", 12 }, "bad", "https://shop.example/hooks does not take callbacks; 12 callbacks waiting.", 0},
		{"dead callbacks", func(h *console.Health) { h.Dead = 2 }, "bad", "2 callbacks given up: the backend never took them.", 0},
		{"stopping", func(h *console.Health) { h.Stopping = true }, "wait", "The relay is stopping: what is under way is finished, nothing new is taken.", 0},
		{"three replicas", func(h *console.Health) {
			h.Replicas = []console.Replica{{ID: "a", Me: true, Payments: 2}, {ID: "b", Payments: 4}, {ID: "c", Payments: 5}}
		}, "good", "All is well. 12 payments waiting, shared by 3 replicas.", 0},
		{"a dead replica", func(h *console.Health) {
			h.Replicas = []console.Replica{{ID: "a", Me: true}, {ID: "b", Gone: true}}
		}, "wait", "1 replica gone without a word; the others take over what it watched.", 0},
		{"a replica without a network", func(h *console.Health) {
			h.Replicas = []console.Replica{{ID: "a", Me: true}, {ID: "b", Down: true}}
		}, "wait", "1 other replica cannot reach Dollr, and this one can.", 0},
		{"everything", func(h *console.Health) {
			h.StoreDown, h.Dollr.State, h.Deaf, h.Dead = true, "open", true, 1
		}, "bad", "The database does not work. Nothing is lost and nothing is guessed; 3 payments waiting.", 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := calm()
			tt.edit(&h)
			got := console.Words(h)
			if got[0].Text != tt.want || got[0].Tone != tt.tone || len(got) != tt.more+1 {
				t.Errorf("Words() = %s %q and %d more, want %s %q and %d", got[0].Tone, got[0].Text, len(got)-1, tt.tone, tt.want, tt.more)
			}
		})
	}
}
