package realtime

import "time"

// pacer spaces the joins of all sockets evenly. When the project's limit is hit the rate halves, and comes back
// slowly: a twentieth of the full rate for every quiet minute, because the
// service answers too many joins by closing the socket with all its channels.
type pacer struct {
	full, rate float64 // joins per second
	next       time.Time
	slowedAt   time.Time
}

const (
	pacerFloor   = 0.1 // joins per second
	pacerRecover = time.Minute
)

// at is the time of the next join.
func (p *pacer) at() time.Time { return p.next }

// take spends a join.
func (p *pacer) take(now time.Time) {
	for p.rate < p.full && now.Sub(p.slowedAt) >= pacerRecover {
		p.rate = min(p.full, p.rate+p.full/20)
		p.slowedAt = p.slowedAt.Add(pacerRecover)
	}
	p.next = now.Add(time.Duration(float64(time.Second) / p.rate))
}

// slow halves the rate; refusals that come in one heap count once.
func (p *pacer) slow(now time.Time) {
	if now.Sub(p.slowedAt) < time.Second {
		return
	}
	p.rate = max(pacerFloor, p.rate/2)
	p.slowedAt = now
}
