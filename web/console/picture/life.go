// Package picture draws a payment's life on a time axis: what realtime hinted, what Dollr was asked and answered, what the
// payment was, and how its callbacks fared. It is pure: [Draw] turns data into places, and a template into SVG.
package picture

import "time"

// Tone is how a mark is meant, for its colour and shape.
type Tone string

// The tones.
const (
	Calm Tone = "calm" // nothing to say about it
	Wait Tone = "wait" // not decided yet
	Good Tone = "good"
	Bad  Tone = "bad"
	Look Tone = "look" // a person must look
)

// Life is what is known of a payment.
type Life struct {
	Start     time.Time // when it was registered
	Now       time.Time
	Open      bool // it goes on, so the axis reaches to Now
	Hints     []Mark
	Questions []Question
	Answers   []Mark  // those that brought something new
	States    []State // in order, each until the next
	Callbacks []Callback
}

// Mark is something that happened.
type Mark struct {
	At    time.Time
	Label string // a word or two, shown where there is room
	Story string // a sentence, shown on pointing at it
	Tone  Tone
}

// Question is a question to Dollr that is over.
type Question struct {
	Sent, Ended time.Time
	Silent      bool // it brought no truth
	Story       string
}

// State is what the payment was from a time on.
type State struct {
	From time.Time
	Word string
	Tone Tone
}

// Callback is one report on its way to the backend.
type Callback struct {
	Title    string
	Created  time.Time
	Attempts []Mark
	Next     time.Time // when it is tried next; zero: never
	Done     bool      // delivered or given up
}

// end is the right end of the axis.
func (l Life) end() time.Time {
	end := l.Start
	for _, t := range l.moments() {
		if t.After(end) {
			end = t
		}
	}
	return end
}

// fewQuestions is up to how many questions each gets a place of its own on the axis.
const fewQuestions = 16

// moments are the times at which something happened that an operator would tell.
func (l Life) moments() []time.Time {
	all := []time.Time{l.Start}
	if l.Open {
		all = append(all, l.Now)
	}
	for _, marks := range [][]Mark{l.Hints, l.Answers} {
		for _, m := range marks {
			all = append(all, m.At)
		}
	}
	for _, s := range l.States {
		all = append(all, s.From)
	}
	for _, c := range l.Callbacks {
		all = append(all, c.Created)
		for _, m := range c.Attempts {
			all = append(all, m.At)
		}
		if !c.Next.IsZero() {
			all = append(all, c.Next)
			if c.Next.After(l.Now) {
				all = append(all, l.Now)
			}
		}
	}
	if len(l.Questions) <= fewQuestions {
		for _, q := range l.Questions {
			all = append(all, q.Sent)
		}
	}
	inside := all[:0]
	for _, t := range all {
		if !t.Before(l.Start) { // the clock was set back, or the first answer is older than a second registration
			inside = append(inside, t)
		}
	}
	return inside
}
