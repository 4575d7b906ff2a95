package realtime

// Hurry lifts the pace of joins, which would make a benchmark of many channels wait for minutes.
func Hurry(f *Feed, joinsPerSecond float64) { f.opts.JoinsPerSecond = joinsPerSecond }
