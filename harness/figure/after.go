package figure

import (
	"connbench/harness/environment"
	"connbench/harness/record"
)

const phaseClose = "close"

// connections is what figures depend on that are sums over all connections.
var connections = []environment.Fact{environment.Plan("connections")}

// The figures of what is left when all connections are closed.
var (
	_ = Add(PlaceAfter, Figure{
		Name: "after.close_seconds", Title: "time to close", Unit: UnitSeconds, Kind: Latency, Better: Lower, Phase: phaseClose,
		Means:   "Time from the first close to the moment the server counted no connection any more.",
		Of:      func(t *record.Trial) *float64 { return t.After.CloseSeconds },
		Depends: with(Pace, connections...), Tables: []Table{TableAfter}, Optional: true,
	})
	_ = Add(PlaceAfter, Figure{
		Name: "after.rss_given_back", Title: "RSS given back", Unit: UnitShare, Kind: Memory, Better: Higher, Phase: phaseClose,
		Means: "Share of the resident memory that the connections had added to the server which it gave back, after all were closed and it had settled.",
		Of: func(t *record.Trial) *float64 {
			return givenBack(t, func(s record.Step) *int64 { return s.RSSBytes }, t.After.RSSSettledBytes)
		},
		Tables: []Table{TableAfter}, Optional: true,
	})
	_ = Add(PlaceAfter, Figure{
		Name: "after.kernel_given_back", Title: "kernel given back", Unit: UnitShare, Kind: Memory, Better: Higher, Phase: phaseClose,
		Means: "Share of the kernel memory that the connections had added which was free again then.",
		Of: func(t *record.Trial) *float64 {
			return givenBack(t, func(s record.Step) *int64 { return s.KernelBytes }, t.After.KernelBytes)
		},
		Depends: KernelMemory, Tables: []Table{TableAfter}, Optional: true,
	})
	_ = Add(PlaceAfter, Figure{
		Name: "after.descriptors", Title: "descriptors left", Unit: UnitCount, Kind: Memory, Better: Lower, Phase: phaseClose,
		Means:  "Descriptors of the server more than when it was empty.",
		Of:     func(t *record.Trial) *float64 { return Int(t.After.Descriptors) },
		Tables: []Table{TableAfter}, Optional: true,
	})
	_ = Add(PlaceAfter, Figure{
		Name: "after.goroutines", Title: "goroutines left", Unit: UnitCount, Kind: Memory, Better: Lower, Phase: phaseClose,
		Means:  "Goroutines of the server more than when it was empty.",
		Of:     func(t *record.Trial) *float64 { return Int(t.After.Goroutines) },
		Tables: []Table{TableAfter}, Optional: true,
	})
	_ = Add(PlaceAfter, Figure{
		Name: "after.time_wait", Title: "TIME_WAIT left", Unit: UnitCount, Kind: Memory, Better: Lower, Phase: phaseClose,
		Means:   "Sockets in TIME_WAIT, on all hosts.",
		Of:      func(t *record.Trial) *float64 { return Int(t.After.TimeWait) },
		Depends: connections, Tables: []Table{TableAfter}, Optional: true,
	})
)

// givenBack is the share of what the ramp added to a kind of memory that is gone
// again; nil where it added nothing.
func givenBack(t *record.Trial, of func(record.Step) *int64, left *int64) *float64 {
	if len(t.Steps) == 0 || left == nil {
		return nil
	}
	empty, full := of(t.Steps[0]), of(t.Steps[len(t.Steps)-1])
	if empty == nil || full == nil || *full <= *empty {
		return nil
	}
	return new(1 - float64(*left-*empty)/float64(*full-*empty))
}
