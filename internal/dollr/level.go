package dollr

import "time"

// Level is how full the budget of calls is at this moment.
type Level struct {
	Full    float64       // requests per second, as configured
	Rate    float64       // requests per second now: less than Full for a while after a 429
	Held    time.Duration // how long a 429 holds every call back; 0 when nothing is held
	Waiting int           // calls that wait for their turn
}

// Level returns the budget's present numbers, for operators.
func (c *Client) Level() Level { return c.budget.level() }

func (b *budget) level() Level {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.pace.recover(now)
	return Level{
		Full: float64(b.pace.full), Rate: float64(b.pace.limiter.Limit()),
		Held: max(0, b.pace.heldUntil.Sub(now)), Waiting: b.waiting,
	}
}
