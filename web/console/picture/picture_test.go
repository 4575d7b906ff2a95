package picture_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dollr-relay/dollr-relay/web/console/picture"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

func mark(d time.Duration, label string) picture.Mark {
	return picture.Mark{At: at(d), Label: label, Tone: picture.Bad}
}

// short is a life of three seconds, long one of 72 h and a callback that is tried for three days more.
func short() picture.Life {
	return picture.Life{
		Start: noon, Now: at(time.Hour),
		Hints:     []picture.Mark{mark(2900*time.Millisecond, "COMPLETED")},
		Questions: []picture.Question{{Sent: at(10 * time.Millisecond), Ended: at(50 * time.Millisecond)}, {Sent: at(2901 * time.Millisecond), Ended: at(2950 * time.Millisecond)}},
		Answers:   []picture.Mark{mark(60*time.Millisecond, "PENDING"), mark(2960*time.Millisecond, "COMPLETED")},
		States:    []picture.State{{From: noon, Word: "pending"}, {From: at(2960 * time.Millisecond), Word: "succeeded"}},
		Callbacks: []picture.Callback{{Title: "payment.succeeded", Created: at(2960 * time.Millisecond), Attempts: []picture.Mark{mark(3*time.Second, "204")}, Done: true}},
	}
}

func long() picture.Life {
	l := short()
	l.Now = at(150 * time.Hour)
	end := 72 * time.Hour
	l.States[1] = picture.State{From: at(end), Word: "expired"}
	l.Answers = append(l.Answers, mark(2*time.Hour, "PROCESSING"))
	for d := time.Duration(0); d < end; d += 5 * time.Minute {
		l.Questions = append(l.Questions, picture.Question{Sent: at(d), Ended: at(d + 40*time.Millisecond), Silent: d > 20*time.Hour})
	}
	c := picture.Callback{Title: "payment.expired", Created: at(end)}
	for _, delay := range []time.Duration{0, 5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour} {
		end += delay
		c.Attempts = append(c.Attempts, mark(end, "500"))
	}
	c.Next = at(end + 60*time.Hour)
	l.Callbacks = []picture.Callback{c}
	return l
}

// TestDraw_isReadable holds for lives of seconds and of days, on screens and on phones: marks keep apart and in order,
// everything is inside of the drawing, and no text lies on another.
func TestDraw_isReadable(t *testing.T) {
	t.Parallel()
	for name, life := range map[string]picture.Life{"3 s": short(), "72 h": long()} {
		for _, size := range [][2]picture.Px{{1040, 150}, {340, 0}} {
			t.Run(fmt.Sprintf("%s on %s", name, size[0]), func(t *testing.T) {
				t.Parallel()
				readable(t, picture.Draw(life, size[0], size[1]))
			})
		}
	}
}

func readable(t *testing.T, d picture.Drawing) {
	t.Helper()
	if len(d.Lanes) != 4 {
		t.Fatalf("%d lanes, want hints, questions, states and one callback", len(d.Lanes))
	}
	inside := func(what string, x1, x2, y1, y2 picture.Px) {
		if x1 < 0 || x2 > d.Width+0.01 || y1 < 0 || y2 > d.Height {
			t.Errorf("%s at %s–%s, %s–%s is not inside of %s × %s", what, x1, x2, y1, y2, d.Width, d.Height)
		}
	}
	for _, lane := range d.Lanes {
		for i, m := range lane.Marks {
			inside(lane.Title, m.X-7, m.X+7, m.Y-7, m.Y+7)
			if i > 0 && m.X-lane.Marks[i-1].X < 10 {
				t.Errorf("%s: marks at %s and %s lie on each other", lane.Title, lane.Marks[i-1].X, m.X)
			}
		}
		for _, b := range lane.Bars {
			inside(lane.Title, b.X, b.X+b.Width, b.Y, b.Y+b.Height)
		}
		apart(t, lane.Title, lane.Labels)
		for _, l := range lane.Labels {
			inside("label "+l.Text, l.X, l.X, l.Y-10, l.Y)
		}
		if len(lane.Marks) > 0 && len(lane.Labels) == 0 {
			t.Errorf("%s: no mark is told in words", lane.Title)
		}
	}
	if n := len(d.Lanes[1].Bars); n == 0 || n > int(d.Width) {
		t.Errorf("%d bars of questions, want some and not more than can be seen", n)
	}
	apart(t, "axis", d.Axis.Stretches)
	if len(d.Axis.Stretches) < 2 {
		t.Errorf("the axis tells %d durations, want some", len(d.Axis.Stretches))
	}
	if !slices.IsSorted(d.Axis.Dots) {
		t.Errorf("dots of the axis = %v, want them in order", d.Axis.Dots)
	}
}

// apart fails if two labels overlap, taking 6 px for a letter.
func apart(t *testing.T, where string, labels []picture.Label) {
	t.Helper()
	span := func(l picture.Label) (picture.Px, picture.Px) {
		width := picture.Px(6 * len([]rune(l.Text)))
		if l.Anchor == "middle" {
			return l.X - width/2, l.X + width/2
		}
		return l.X, l.X + width
	}
	for i, a := range labels {
		for _, b := range labels[i+1:] {
			a1, a2 := span(a)
			b1, b2 := span(b)
			if a1 < b2 && b1 < a2 {
				t.Errorf("%s: %q and %q lie on each other", where, a.Text, b.Text)
			}
		}
	}
}

func TestDraw_tellsTheDurations(t *testing.T) {
	t.Parallel()
	d := picture.Draw(picture.Life{
		Start: noon, Now: at(72 * time.Hour),
		States: []picture.State{{From: noon, Word: "pending"}, {From: at(72 * time.Hour), Word: "expired"}},
		Hints:  []picture.Mark{mark(2*time.Second, "PROCESSING")},
	}, 1040, 150)
	var got []string
	for _, s := range d.Axis.Stretches {
		got = append(got, plain(s.Text))
	}
	if want := []string{"2 s", "3 d"}; !slices.Equal(got, want) {
		t.Errorf("durations = %q, want %q", got, want)
	}
	if d.Now != 0 {
		t.Errorf("now is drawn at %s though nothing comes after it", d.Now)
	}
}

// TestDraw_anything has lives that no payment should have, and some that a payment has for a moment.
func TestDraw_anything(t *testing.T) {
	t.Parallel()
	many := picture.Life{Start: noon, Now: at(time.Hour), Open: true}
	for i := range 500 {
		many.Hints = append(many.Hints, mark(time.Duration(i)*time.Second, "PROCESSING"))
	}
	for name, life := range map[string]picture.Life{
		"nothing at all":          {},
		"just registered":         {Start: noon, Now: noon, Open: true, States: []picture.State{{From: noon, Word: "pending"}}},
		"heard before registered": {Start: noon, Now: at(time.Second), Open: true, Hints: []picture.Mark{mark(-time.Hour, "PENDING")}},
		"registered in the future": {
			Start: at(time.Hour), Now: noon, Open: true, States: []picture.State{{From: at(time.Hour), Word: "pending"}},
			Callbacks: []picture.Callback{{Created: noon, Next: at(time.Minute)}},
		},
		"500 hints": many,
	} {
		for _, width := range []picture.Px{1040, 340, 100} {
			d := picture.Draw(life, width, 0)
			for _, lane := range d.Lanes {
				for _, b := range lane.Bars {
					if b.Width < 0 || b.X != b.X {
						t.Errorf("%s: a bar of %v from %v", name, b.Width, b.X)
					}
				}
				for _, m := range lane.Marks {
					if m.X != m.X || m.X < 0 || m.X > d.Width+14 {
						t.Errorf("%s: a mark at %v in a width of %v", name, m.X, d.Width)
					}
				}
			}
		}
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	tests := []struct {
		d    time.Duration
		want string
	}{
		{-time.Second, "0 s"},
		{0, "0 s"},
		{200 * time.Microsecond, "<1 ms"},
		{320 * time.Millisecond, "320 ms"},
		{999 * time.Millisecond, "1 s"},
		{1234 * time.Millisecond, "1.2 s"},
		{9960 * time.Millisecond, "10 s"},
		{99 * time.Second, "99 s"},
		{2 * time.Minute, "2 min"},
		{59*time.Minute + 45*time.Second, "1 h"},
		{2*time.Hour + 13*time.Minute, "2 h 13 min"},
		{23*time.Hour + 59*time.Minute + 50*time.Second, "1 d"},
		{72 * time.Hour, "3 d"},
		{76 * time.Hour, "3 d 4 h"},
	}
	for _, tt := range tests {
		if got := plain(picture.Short(tt.d)); got != tt.want {
			t.Errorf("Short(%v) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

// plain has ordinary spaces.
func plain(text string) string { return strings.ReplaceAll(text, "\u00a0", " ") }
