package picture

import (
	"math"
	"slices"
	"time"
)

const (
	// unit is the silence from which on silences are shortened: a gap of 72 h gets about six times the room of one of a second.
	unit = 100 * time.Millisecond
	// apart is the room that two moments get at least, so that their marks can be told from each other.
	apart = 13.0
)

// scale puts times on the axis. What matters are the moments at which something happened, so silences between them are
// shortened, the more the longer they are: seconds stay readable in a life of days. Between two moments it is linear.
type scale struct {
	moments []time.Time // in order, none twice
	at      []Px
}

// newScale makes a scale from left to right for the moments, of which there must be one at least.
func newScale(moments []time.Time, left, right Px) scale {
	moments = slices.Clone(moments)
	slices.SortFunc(moments, time.Time.Compare)
	moments = slices.CompactFunc(moments, time.Time.Equal)

	gaps := len(moments) - 1
	s := scale{moments: moments, at: make([]Px, len(moments))}
	s.at[0] = left
	if gaps == 0 {
		return s
	}
	weights, sum := make([]float64, gaps), 0.0
	for i := range weights {
		weights[i] = math.Log2(1 + float64(moments[i+1].Sub(moments[i]))/float64(unit))
		sum += weights[i]
	}
	least := min(apart, (right-left)/Px(gaps))
	room := right - left - least*Px(gaps)
	for i, weight := range weights {
		s.at[i+1] = s.at[i] + least + room*Px(weight/sum)
	}
	return s
}

// x is where a time is. What lies outside of the moments is at the ends.
func (s scale) x(t time.Time) Px {
	i, found := slices.BinarySearchFunc(s.moments, t, time.Time.Compare)
	switch {
	case found:
		return s.at[i]
	case i == 0:
		return s.at[0]
	case i == len(s.at):
		return s.at[i-1]
	}
	share := Px(t.Sub(s.moments[i-1])) / Px(s.moments[i].Sub(s.moments[i-1]))
	return s.at[i-1] + share*(s.at[i]-s.at[i-1])
}
