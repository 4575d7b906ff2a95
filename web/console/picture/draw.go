package picture

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Sizes in the units of the drawing, which are pixels at full size.
const (
	edge       = 14.0 // free room at both ends of the axis, for half a mark
	titleRow   = 17.0 // a lane's title, where it stands above
	labelRow   = 15.0
	markRow    = 16.0
	laneGap    = 11.0
	axisRow    = 46.0
	letter     = 7.6  // mean width of a bold letter at 11 px in the widest of the usual fonts
	letterGap  = 10.0 // room between two labels
	barHeight  = 14.0
	tickWidth  = 2.0
	bottomEdge = 4.0
)

// Px is a place or a length. It prints to a tenth, which is all that can be seen.
type Px float64

// String implements [fmt.Stringer].
func (p Px) String() string {
	return strconv.FormatFloat(math.Round(float64(p)*10)/10, 'f', -1, 64)
}

// Drawing is a life as places on a plane.
type Drawing struct {
	Width, Height Px
	Lanes         []Lane
	Rules         []Px // vertical lines where the payment's state changed
	RuleTop       Px
	RuleBottom    Px
	Now           Px // where now is, if it lies before the end; else 0
	Axis          Axis
}

// Lane is one row of the drawing.
type Lane struct {
	Title          string
	TitleX, TitleY Px
	LineY          Px // of the thin line through it
	LineX1, LineX2 Px
	Bars           []Bar
	Marks          []Placed
	Labels         []Label
}

// Bar is a stretch of time.
type Bar struct {
	X, Y, Width, Height Px
	Kind                string // state, question or wait
	Tone                Tone
	Story               string
}

// Placed is a mark in its place.
type Placed struct {
	X, Y  Px
	Kind  string // hint, answer, attempt or next
	Tone  Tone
	Story string
}

// Label is a text. Its anchor is start, middle or end.
type Label struct {
	X, Y   Px
	Text   string
	Anchor string
	Tone   Tone
}

// Draw draws a life in a width, with the lanes' titles in a gutter on the left or, if that is 0, above the lanes.
func Draw(l Life, width, gutter Px) Drawing {
	p := pen{
		life: l, gutter: gutter, left: gutter + edge, right: width - edge,
		drawing: Drawing{Width: width},
	}
	p.scale = newScale(l.moments(), p.left, p.right)
	p.hints()
	p.questions()
	p.states()
	for _, c := range l.Callbacks {
		p.callback(c)
	}
	p.drawing.RuleBottom = p.y
	p.axis()
	p.drawing.Height = p.y + bottomEdge
	return p.drawing
}

// pen draws from the top to the bottom.
type pen struct {
	life    Life
	scale   scale
	gutter  Px
	left    Px
	right   Px
	y       Px // where the next lane begins
	drawing Drawing
}

// lane begins a lane and returns the height of its marks.
func (p *pen) lane(title string) (*Lane, Px) {
	lane := Lane{Title: title, LineX1: p.left, LineX2: p.right}
	if p.gutter == 0 {
		lane.TitleY = p.y + titleRow - 5
		p.y += titleRow
	}
	middle := p.y + labelRow + markRow/2
	if p.gutter > 0 {
		lane.TitleY = middle + 4
	}
	lane.LineY = middle
	p.y += labelRow + markRow + laneGap
	p.drawing.Lanes = append(p.drawing.Lanes, lane)
	return &p.drawing.Lanes[len(p.drawing.Lanes)-1], middle
}

func (p *pen) hints() {
	lane, y := p.lane("Realtime hints")
	for _, m := range p.life.Hints {
		lane.Marks = append(lane.Marks, Placed{p.scale.x(m.At), y, "hint", m.Tone, m.Story})
	}
	lane.Labels = p.labels(p.life.Hints, y, "middle")
}

// questions draws what Dollr was asked as ticks, each with a stem as long as the answer took, and what was new in the answers
// as marks. Of ticks that would lie on each other one is drawn.
func (p *pen) questions() {
	lane, y := p.lane("Dollr asked")
	drawn := map[string]bool{}
	for _, q := range p.life.Questions {
		x1, x2 := p.scale.x(q.Sent), p.scale.x(q.Ended)
		tone := Calm
		if q.Silent {
			tone = Bad
		}
		place := fmt.Sprintf("%.0f %s", float64(x1/tickWidth), tone)
		if drawn[place] {
			continue
		}
		drawn[place] = true
		lane.Bars = append(lane.Bars,
			Bar{X: x1, Y: y - 1.5, Width: max(0, x2-x1), Height: 3, Kind: "question", Tone: tone, Story: q.Story},
			Bar{X: x1 - tickWidth/2, Y: y - 6, Width: tickWidth, Height: 12, Kind: "question", Tone: tone, Story: q.Story})
	}
	for _, m := range p.life.Answers {
		lane.Marks = append(lane.Marks, Placed{p.scale.x(m.At), y, "answer", m.Tone, m.Story})
	}
	lane.Labels = p.labels(p.life.Answers, y, "middle")
}

// states draws what the payment was as a band.
func (p *pen) states() {
	lane, y := p.lane("Payment is")
	p.drawing.RuleTop = p.y - laneGap - markRow/2
	var words []Mark
	for i, s := range p.life.States {
		x1, x2 := p.scale.x(s.From), p.right
		if i+1 < len(p.life.States) {
			x2 = p.scale.x(p.life.States[i+1].From)
		}
		if i > 0 {
			p.drawing.Rules = append(p.drawing.Rules, x1)
		}
		lane.Bars = append(lane.Bars, Bar{X: x1, Y: y - barHeight/2, Width: max(x2-x1, 1), Height: barHeight, Kind: "state", Tone: s.Tone, Story: s.Word})
		words = append(words, Mark{At: s.From, Label: s.Word, Tone: s.Tone})
	}
	lane.Labels = p.labels(words, y, "start")
}

func (p *pen) callback(c Callback) {
	lane, y := p.lane(c.Title)
	last := c.Created
	for _, m := range c.Attempts {
		lane.Marks = append(lane.Marks, Placed{p.scale.x(m.At), y, "attempt", m.Tone, m.Story})
		last = m.At
	}
	labels := c.Attempts
	if !c.Next.IsZero() {
		last = c.Next
		story := "Next attempt at " + clock(c.Next)
		lane.Marks = append(lane.Marks, Placed{p.scale.x(c.Next), y, "next", Wait, story})
		labels = append(slices.Clip(labels), Mark{At: c.Next, Label: "next", Tone: Wait})
	}
	x := p.scale.x(c.Created)
	lane.Bars = []Bar{{X: x, Y: y - 1.5, Width: max(p.scale.x(last)-x, 0), Height: 3, Kind: "wait", Tone: Calm, Story: c.Title}}
	lane.Labels = p.labels(labels, y, "middle")
}

// labels are the marks' labels as far as there is room. The last of a lane tells the most, so it comes first.
func (p *pen) labels(marks []Mark, y Px, anchor string) []Label {
	var placed []Label
	var taken [][2]Px
	put := func(m Mark) {
		if m.Label == "" {
			return
		}
		width := textWidth(m.Label)
		from := p.scale.x(m.At)
		if anchor == "middle" {
			from -= width / 2
		}
		from = min(max(from, p.left-edge), p.right+edge-width)
		for _, t := range taken {
			if from < t[1]+letterGap && from+width+letterGap > t[0] {
				return
			}
		}
		taken = append(taken, [2]Px{from, from + width})
		x := from
		if anchor == "middle" {
			x += width / 2
		}
		placed = append(placed, Label{x, y - markRow/2 - 4, m.Label, anchor, m.Tone})
	}
	if len(marks) > 0 {
		put(marks[len(marks)-1])
	}
	for _, m := range marks {
		put(m)
	}
	return placed
}

func textWidth(text string) Px { return letter * Px(utf8.RuneCountInString(text)) }

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }
