package picture

import "time"

// Axis tells how long what took: a chain of stretches between moments, each with its duration.
type Axis struct {
	Y         Px
	X1, X2    Px
	Dots      []Px
	Stretches []Label
	Ends      []Label // the times at both ends
}

// axis draws the chain. Moments that lie so close that there is no room for the duration between them are told together.
func (p *pen) axis() {
	y := p.y + 6
	a := Axis{Y: y, X1: p.left, X2: p.scale.at[len(p.scale.at)-1], Dots: []Px{p.left}}
	from := 0
	last := len(p.scale.moments) - 1
	for i := 1; i <= last; i++ {
		text := Short(p.scale.moments[i].Sub(p.scale.moments[from]))
		x1, x2 := p.scale.at[from], p.scale.at[i]
		rest, restText := p.scale.at[last]-x2, Short(p.scale.moments[last].Sub(p.scale.moments[i]))
		if i < last && (!fits(x2-x1, text) || !fits(rest, restText)) {
			continue
		}
		a.Dots = append(a.Dots, x2)
		if fits(x2-x1, text) {
			a.Stretches = append(a.Stretches, Label{(x1 + x2) / 2, y + 16, text, "middle", Calm})
		}
		from = i
	}
	start, end := p.life.Start, p.life.end()
	layout := "15:04:05"
	if end.Sub(start) >= 12*time.Hour || start.UTC().Day() != end.UTC().Day() {
		layout = "2 Jan 15:04"
	}
	a.Ends = append(a.Ends, Label{p.left - edge, y + 34, start.UTC().Format(layout), "start", Calm})
	switch {
	case p.life.Open && end.Equal(p.life.Now):
		a.Ends = append(a.Ends, Label{p.right + edge, y + 34, "now", "end", Calm})
	case a.X2 > a.X1:
		a.Ends = append(a.Ends, Label{p.right + edge, y + 34, end.UTC().Format(layout), "end", Calm})
	}
	if end.After(p.life.Now) {
		p.drawing.Now = p.scale.x(p.life.Now)
	}
	p.drawing.Axis = a
	p.y += axisRow
}

func fits(width Px, text string) bool { return width >= textWidth(text)+letterGap }
