package dollr_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dollr-relay/dollr-relay/internal/dollr"
	"github.com/dollr-relay/dollr-relay/internal/dollr/dollrtest"
)

func TestLevel_tellsWhoWaitsAndHowLongA429Holds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dollrtest.Start(t, dollrtest.Options{})
		q := crowd{c: slow(t, srv)}
		if got, want := q.c.Level(), (dollr.Level{Full: 1, Rate: 1}); got != want {
			t.Errorf("Level() at rest = %+v, want %+v", got, want)
		}
		addFault(t, srv, dollrtest.Fault{Kind: dollrtest.FaultCode, Endpoint: dollrtest.AnyStatus, Code: 429, RetryAfter: "30", Times: 1})
		for i := range 4 {
			q.ask(t.Context(), subject(i), nil)
		}
		synctest.Wait()
		if got := q.c.Level().Waiting; got != 4 {
			t.Errorf("%d calls wait, want all 4: the burst is used up", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got := q.c.Level()
		if got.Waiting != 3 || got.Rate != 0.5 || got.Held < 28*time.Second || got.Held > 30*time.Second {
			t.Errorf("Level() after a 429 = %+v, want 3 waiting, half the rate, and held for the rest of 30 s", got)
		}
		q.all.Wait()
	})
}
