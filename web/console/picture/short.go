package picture

import (
	"fmt"
	"strings"
	"time"
)

// space keeps a number and its unit on one line.
const space = "\u00a0"

// Short writes a duration as people do: 320 ms, 1.2 s, 12 s, 4 min, 2 h 13 min, 3 d 4 h. Negative ones are 0 s. Numbers keep to their units by
// spaces that do not break.
func Short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return "0" + space + "s"
	case d < time.Millisecond:
		return "<1" + space + "ms"
	case d < 995*time.Millisecond:
		return fmt.Sprintf("%d"+space+"ms", d.Round(time.Millisecond)/time.Millisecond)
	case d < 9950*time.Millisecond:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + space + "s"
	case d < 99500*time.Millisecond:
		return fmt.Sprintf("%d"+space+"s", d.Round(time.Second)/time.Second)
	case d < time.Hour-30*time.Second:
		return fmt.Sprintf("%d"+space+"min", d.Round(time.Minute)/time.Minute)
	}
	if d < day-30*time.Second {
		d = d.Round(time.Minute)
		return two(int(d/time.Hour), "h", int(d%time.Hour/time.Minute), "min")
	}
	d = d.Round(time.Hour)
	return two(int(d/day), "d", int(d%day/time.Hour), "h")
}

func two(a int, unitA string, b int, unitB string) string {
	if b == 0 {
		return fmt.Sprintf("%d"+space+"%s", a, unitA)
	}
	return fmt.Sprintf("%d"+space+"%s %d"+space+"%s", a, unitA, b, unitB)
}
