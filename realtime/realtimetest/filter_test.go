package realtimetest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/realtime/realtimetest"
)

func TestS12_filterGrammar(t *testing.T) {
	t.Parallel()
	table := realtimetest.Table{Schema: "public", Name: "orders", Key: []string{"id"}, Columns: []realtimetest.Column{
		{Name: "id", Type: "int8"}, {Name: "name", Type: "text"}, {Name: "amount", Type: "numeric"},
	}}
	row := realtimetest.Row{"id": 7, "name": "Ann, Bob", "amount": json.Number("10.50"), "gone": nil}
	tests := map[string]bool{
		"":                        true, // no filter: the whole table
		"id=eq.7":                 true,
		"id=eq.8":                 false,
		"id=not.eq.8":             true,
		"amount=eq.10.5":          true, // numbers are compared as numbers
		"amount=gt.9":             true,
		"amount=lte.10.49":        false,
		"id=in.(1,7)":             true,
		"id=not.in.(1,7)":         false,
		`name=eq."Ann, Bob"`:      true,
		"name=like.Ann%":          true,
		"name=like.ann%":          false,
		"name=ilike.ann%":         true,
		"name=match.^A.*b$":       true,
		"name=imatch.^a":          true,
		"id=gte.7,name=like.%Bob": true,
		"id=gte.7,name=like.%Eve": false,
		"id=neq.7":                false,
		"id=lt.8":                 true,
		"id=isdistinct.7":         false,
	}
	for filter, want := range tests {
		t.Run(filter, func(t *testing.T) {
			t.Parallel()
			run(t, realtimetest.Options{Tables: []realtimetest.Table{table}}, func(b *bench) {
				b.connect("2.0.0")
				quoted, _ := json.Marshal(filter)
				b.join("1", b.srv.Token(time.Hour), `[{"event":"insert","table":"orders","filter":`+string(quoted)+`}]`)
				for range 2 { // reply and confirmation
					if frame, err := b.next(time.Second); err != nil || !strings.Contains(frame, `"status":"ok"`) {
						t.Fatalf("received %s, %v", frame, err)
					}
				}
				b.srv.Publish(realtimetest.Change{Type: realtimetest.Update, Record: row, OldRecord: row}) // another event
				b.srv.Publish(realtimetest.Change{Type: realtimetest.Insert, Record: row})
				frame, err := b.next(time.Second)
				if got := err == nil && strings.Contains(frame, `"type":"INSERT"`); got != want {
					t.Errorf("delivered %t (%s, %v), want %t", got, frame, err, want)
				}
			})
		})
	}
}

func TestS11_deleteCarriesTheKeyOnly(t *testing.T) {
	t.Parallel()
	run(t, realtimetest.Options{}, func(b *bench) {
		b.connect("2.0.0")
		b.join("1", b.srv.Token(time.Hour), `[{"schema":"public","table":"checkout_payment_intent_public_status"}]`)
		for range 2 {
			if _, err := b.next(time.Second); err != nil {
				t.Fatal(err)
			}
		}
		b.srv.Publish(realtimetest.Change{Type: realtimetest.Delete, OldRecord: realtimetest.Row{"id": 5, "status": "PAID"}})
		frame, err := b.next(time.Second)
		if err != nil || !strings.Contains(frame, `"old_record":{"id":5}`) || strings.Contains(frame, `"record":`) {
			t.Errorf("DELETE arrived as %s, %v, want the key only", frame, err)
		}
	})
}
