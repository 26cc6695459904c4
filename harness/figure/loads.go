package figure

import "connbench/harness/record"

const (
	phaseEcho     = "echo"
	phaseSaturate = "saturate"
	phaseSweep    = "sweep"
	phasePing     = "ping"
)

func echo(of func(*record.Load) float64) func(*record.Trial) *float64 {
	return func(t *record.Trial) *float64 { return From(t.Echo, of) }
}

// The figures of messages at an offered rate.
var (
	_ = Add(PlaceLoads, Figure{
		Name: "echo.offered_per_second", Title: "offered", Alone: "echo offered", Unit: PerSecond("msg"), Kind: Rate, Better: None, Phase: phaseEcho,
		Means: "Messages that were due per second, over all connections (open loop).",
		Of: func(t *record.Trial) *float64 {
			if t.Echo == nil {
				return nil
			}
			return t.Echo.OfferedPerSecond
		},
		Tables: []Table{TableLoad},
	})
	EchoRate = Add(PlaceLoads, Figure{
		Name: "echo.delivered_per_second", Title: "delivered", Alone: "echo delivered", Unit: PerSecond("msg"), Kind: Rate, Better: Higher, Phase: phaseEcho,
		Means:   "Messages per second whose echo came back whole and right, of those offered.",
		Of:      echo(func(l *record.Load) float64 { return l.DeliveredPerSecond }),
		Depends: Pace, Tables: []Table{TableLoad, TableComparison},
	})
	_ = Add(PlaceLoads, Figure{
		Name: "echo.p50_us", Title: "p50", Alone: "echo p50", Unit: UnitMicroseconds, Kind: Latency, Better: Lower, Phase: phaseEcho,
		Means:   "Median time from the moment a message was due to its whole echo.",
		Of:      echo(func(l *record.Load) float64 { return l.P50US }),
		Depends: Pace, Tables: []Table{TableLoad, TableRepeatability, TableComparison},
	})
	_ = Add(PlaceLoads, Figure{
		Name: "echo.p90_us", Title: "p90", Alone: "echo p90", Unit: UnitMicroseconds, Kind: Latency, Better: Lower, Phase: phaseEcho,
		Means:   "Time from the moment a message was due to its whole echo that 90 % stayed below.",
		Of:      echo(func(l *record.Load) float64 { return l.P90US }),
		Depends: Pace,
	})
	_ = Add(PlaceLoads, Figure{
		Name: "echo.p99_us", Title: "p99", Alone: "echo p99", Unit: UnitMicroseconds, Kind: Latency, Better: Lower, Phase: phaseEcho,
		Means:   "Time from the moment a message was due to its whole echo that 99 % stayed below.",
		Of:      echo(func(l *record.Load) float64 { return l.P99US }),
		Depends: Pace, Tables: []Table{TableLoad, TableTrials, TableRepeatability, TableComparison, TableIndex},
	})
	_ = Add(PlaceLoads, Figure{
		Name: "echo.p999_us", Title: "p99.9", Alone: "echo p99.9", Unit: UnitMicroseconds, Kind: Latency, Better: Lower, Phase: phaseEcho,
		Means:   "Time from the moment a message was due to its whole echo that 99.9 % stayed below.",
		Of:      echo(func(l *record.Load) float64 { return l.P999US }),
		Depends: Pace, Tables: []Table{TableLoad, TableComparison},
	})
	EchoCPU = Add(PlaceLoads, Figure{
		Name: "cpu.echo_us", Title: "CPU per message", Unit: UnitMicroseconds, Kind: CPU, Better: Lower, Phase: phaseEcho,
		Means:   "CPU time of the server, user and system, per message echoed at the offered rate.",
		Of:      func(t *record.Trial) *float64 { return t.CPU.EchoUS },
		Depends: SystemCPU, Tolerance: 0.3, Price: "echo.delivered_per_second",
		Tables: []Table{TableLoad, TableRepeatability, TableComparison, TableIndex},
	})
	_ = Add(PlaceLoads, Figure{
		Name: "cpu.echo_user_us", Title: "user CPU per message", Unit: UnitMicroseconds, Kind: CPU, Better: Lower, Phase: phaseEcho,
		Means:   "The part of CPU per message that was spent in the server's own code.",
		Of:      func(t *record.Trial) *float64 { return t.CPU.EchoUserUS },
		Depends: Speed, InsteadOf: "cpu.echo_us",
	})
	_ = Add(PlaceLoads, Figure{
		Name: "cpu.echo_system_us", Title: "system CPU per message", Unit: UnitMicroseconds, Kind: CPU, Better: Lower, Phase: phaseEcho,
		Means:   "The part of CPU per message that was spent in the kernel.",
		Of:      func(t *record.Trial) *float64 { return t.CPU.EchoSystemUS },
		Depends: SystemCPU,
	})
)

// The figures of a closed loop.
var (
	SaturatedRate = Add(PlaceLoads+10, Figure{
		Name: "saturate.delivered_per_second", Title: "saturated", Unit: PerSecond("msg"), Kind: Rate, Better: Higher, Phase: phaseSaturate,
		Means: "Echoes per second with a fixed number of messages in flight (closed loop): the most that server and clients together can do on this machine.",
		Of: func(t *record.Trial) *float64 {
			return From(t.Saturate, func(l *record.Load) float64 { return l.DeliveredPerSecond })
		},
		Depends: Pace, Tables: []Table{TableLoad, TableTrials, TableComparison},
	})
	_ = Add(PlaceLoads+10, Figure{
		Name: "saturate.server_cpu_us", Title: "CPU per message, saturated", Unit: UnitMicroseconds, Kind: CPU, Better: Lower, Phase: phaseSaturate,
		Means: "CPU time of the server per message echoed while saturated.",
		Of: func(t *record.Trial) *float64 {
			if t.Saturate == nil {
				return nil
			}
			return t.Saturate.ServerCPUUS
		},
		Depends: SystemCPU, Price: "saturate.delivered_per_second",
	})
)

// The highest offered rate that was kept.
var _ = Add(PlaceLoads+20, Figure{
	Name: "sweep.knee_per_second", Title: "knee", Unit: PerSecond("msg"), Kind: Rate, Better: Higher, Phase: phaseSweep,
	Means: "Highest of the plan's offered rates at which 99 % of the messages came back in time and their 99th percentile stayed within the plan's bound.",
	Of: func(t *record.Trial) *float64 {
		if t.Sweep == nil {
			return nil
		}
		return t.Sweep.KneePerSecond
	},
	Depends: Pace, Tables: []Table{TableLoad, TableComparison}, Optional: true,
})

// The figures of keepalive pings.
var (
	_ = Add(PlaceLoads+30, Figure{
		Name: "ping.delivered_per_second", Title: "pings", Unit: PerSecond("ping"), Kind: Rate, Better: None, Phase: phasePing,
		Means: "Keepalive pings per second whose pong came back right, spread over all connections (open loop).",
		Of: func(t *record.Trial) *float64 {
			return From(t.Ping, func(l *record.Load) float64 { return l.DeliveredPerSecond })
		},
		Tables: []Table{TableLoad}, Optional: true,
	})
	_ = Add(PlaceLoads+30, Figure{
		Name: "ping.p99_us", Title: "ping p99", Unit: UnitMicroseconds, Kind: Latency, Better: Lower, Phase: phasePing,
		Means:   "Time from the moment a ping was due to its whole pong that 99 % stayed below.",
		Of:      func(t *record.Trial) *float64 { return From(t.Ping, func(l *record.Load) float64 { return l.P99US }) },
		Depends: Pace, Tables: []Table{TableLoad}, Optional: true,
	})
	_ = Add(PlaceLoads+30, Figure{
		Name: "cpu.ping_us", Title: "CPU per ping", Unit: UnitMicroseconds, Kind: CPU, Better: Lower, Phase: phasePing,
		Means:   "CPU time of the server, user and system, per keepalive ping answered.",
		Of:      func(t *record.Trial) *float64 { return t.CPU.PingUS },
		Depends: SystemCPU, Tables: []Table{TableLoad}, Optional: true,
	})
)
