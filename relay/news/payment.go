package news

import (
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// Payment is [relay.News] in few bytes.
type Payment struct {
	ID       string  `json:"id"`
	Revision int64   `json:"r,omitempty"`
	Reported bool    `json:"o,omitempty"`
	Status   *status `json:"s,omitempty"`
}

type status struct {
	Version  int64         `json:"v"`
	Status   string        `json:"s,omitempty"`
	Outcome  relay.Outcome `json:"o"`
	Verified bool          `json:"y,omitempty"`
	Final    bool          `json:"f,omitempty"`
	Via      relay.Via     `json:"w"`
	At       int64         `json:"t"` // Unix milliseconds
}

func encode(n relay.News) *Payment {
	p := &Payment{ID: n.ID, Revision: n.Revision, Reported: n.Reported}
	if s := n.Status; s != nil {
		p.Status = &status{s.Version, s.Status, s.Outcome, s.Verified, s.Final, s.Via, s.At.UnixMilli()}
	}
	return p
}

// News is what was told.
func (p *Payment) News() relay.News {
	n := relay.News{ID: p.ID, Revision: p.Revision, Reported: p.Reported}
	if s := p.Status; s != nil {
		n.Status = &relay.PageStatus{
			ID: p.ID, Version: s.Version, Status: s.Status, Outcome: s.Outcome, Verified: s.Verified, Final: s.Final, Via: s.Via,
			At: time.UnixMilli(s.At).UTC(),
		}
	}
	return n
}
