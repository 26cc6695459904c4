package figure

import (
	"slices"

	"connbench/harness/record"
)

// phaseRamp is the phase that opens the connections.
const phaseRamp = "ramp"

// The figures of the ramp's pace.
var (
	ConnectRate = Add(PlaceRamp, Figure{
		Name: "ramp.connects_per_second", Title: "connect rate", Unit: PerSecond("conn"), Kind: Rate, Better: Higher, Phase: phaseRamp,
		Means:   "Connections opened with a verified handshake, per second of the ramp, pauses for measurement left out.",
		Of:      func(t *record.Trial) *float64 { return t.Ramp.ConnectsPerSecond },
		Depends: Pace, Tolerance: 0.3,
		Tables: []Table{TableCapacity, TableRepeatability, TableComparison, TableIndex},
	})
	_ = Add(PlaceRamp, Figure{
		Name: "ramp.last_tenth", Title: "last tenth of first", Unit: UnitShare, Kind: Rate, Better: Higher, Phase: phaseRamp,
		Means: "Connect rate over the last tenth of the ramp as a share of that over its first: below 100% connecting became slower as there were more.",
		Of: func(t *record.Trial) *float64 {
			first, last := t.Ramp.FirstPerSecond, t.Ramp.LastPerSecond
			if first == nil || last == nil {
				return nil
			}
			return new(*last / *first)
		},
		Depends: Pace, Tables: []Table{TableCapacity}, Optional: true,
	})
	_ = Add(PlaceRamp, Figure{
		Name: "ramp.last_tenth_accept_cpu", Title: "accept CPU, last tenth of first", Unit: UnitShare, Kind: CPU, Better: Lower, Phase: phaseRamp,
		Means:   "CPU time of the server per connection over the last tenth of the ramp as a share of that over its first: above 100% a connection became more expensive as there were more. Other programs can slow a ramp down; this they hardly touch.",
		Of:      func(t *record.Trial) *float64 { return acceptCPUGrowth(t.Steps) },
		Depends: SystemCPU, Tables: []Table{TableCapacity}, Optional: true,
	})
	_ = Add(PlaceRamp, Figure{
		Name: "ramp.handshake.p50_us", Title: "handshake p50", Unit: UnitMicroseconds, Kind: Latency, Better: Lower, Phase: phaseRamp,
		Means: "Median time from connect to the verified handshake answer.",
		Of: func(t *record.Trial) *float64 {
			return From(t.Ramp.Handshake, func(l *record.Latency) float64 { return l.P50US })
		},
		Depends: Pace,
	})
	_ = Add(PlaceRamp, Figure{
		Name: "ramp.handshake.p99_us", Title: "handshake p99", Unit: UnitMicroseconds, Kind: Latency, Better: Lower, Phase: phaseRamp,
		Means: "Time from connect to the verified handshake answer that 99 % stayed below.",
		Of: func(t *record.Trial) *float64 {
			return From(t.Ramp.Handshake, func(l *record.Latency) float64 { return l.P99US })
		},
		Depends: Pace, Tables: []Table{TableCapacity, TableComparison},
	})
)

// The CPU time that connecting takes the server.
var (
	_ = Add(PlaceCPU, Figure{
		Name: "cpu.accept_us", Title: "CPU per accept", Unit: UnitMicroseconds, Kind: CPU, Better: Lower, Phase: phaseRamp,
		Means:   "CPU time of the server, user and system, during the ramp, per connection accepted and upgraded.",
		Of:      func(t *record.Trial) *float64 { return t.CPU.AcceptUS },
		Depends: SystemCPU, Tolerance: 0.3,
		Tables: []Table{TableCost, TableTrials, TableRepeatability, TableComparison, TableIndex},
	})
	_ = Add(PlaceCPU, Figure{
		Name: "cpu.accept_user_us", Title: "user CPU per accept", Unit: UnitMicroseconds, Kind: CPU, Better: Lower, Phase: phaseRamp,
		Means:   "The part of CPU per accept that was spent in the server's own code.",
		Of:      func(t *record.Trial) *float64 { return t.CPU.AcceptUserUS },
		Depends: Speed, InsteadOf: "cpu.accept_us",
	})
	_ = Add(PlaceCPU, Figure{
		Name: "cpu.accept_system_us", Title: "system CPU per accept", Unit: UnitMicroseconds, Kind: CPU, Better: Lower, Phase: phaseRamp,
		Means:   "The part of CPU per accept that was spent in the kernel.",
		Of:      func(t *record.Trial) *float64 { return t.CPU.AcceptSystemUS },
		Depends: SystemCPU,
	})
)

// acceptCPUGrowth is the server's CPU time per connection over the last points of a
// ramp as a share of that over its first points. Each of the two stretches has the
// fewest points that hold a tenth of the connections. It is nil where the ramp has one
// step or CPU time was not measured.
func acceptCPUGrowth(points []record.Step) *float64 {
	if len(points) < 3 { // the empty server is the first point
		return nil
	}
	empty, full := points[0], points[len(points)-1]
	tenth := (full.Connections - empty.Connections + 9) / 10
	first := slices.IndexFunc(points, func(p record.Step) bool { return p.Connections >= empty.Connections+tenth })
	last := len(points) - 1
	for last > 0 && points[last].Connections > full.Connections-tenth {
		last--
	}
	early, late := acceptCPU(empty, points[first]), acceptCPU(points[last], full)
	if early == nil || late == nil || *early == 0 {
		return nil
	}
	return new(*late / *early)
}

// acceptCPU is the server's CPU time per connection between two points of a ramp, in
// seconds.
func acceptCPU(from, to record.Step) *float64 {
	if from.CPUSeconds == nil || to.CPUSeconds == nil || to.Connections <= from.Connections {
		return nil
	}
	return new((*to.CPUSeconds - *from.CPUSeconds) / float64(to.Connections-from.Connections))
}
