package loads

import (
	"context"
	"slices"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
)

// PingTable is a plan's [ping].
type PingTable struct {
	// Seconds is how long pings are sent; 0 leaves the phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
	// IntervalSeconds is the time from one ping of a connection to its next. The pings of
	// all connections are spread evenly over it.
	IntervalSeconds float64 `toml:"interval_seconds" json:"interval_seconds" spoils:"phase"`
	// PayloadBytes is the size of a ping's payload, at most 125 (RFC 6455 section 5.5).
	PayloadBytes int `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
}

// longestPing is the longest payload of a ping (RFC 6455 section 5.5).
const longestPing = 125

// PingPlan is the phase's table in a plan, Ping its object in a trial's record. Its
// messages are pings, and their echoes are pongs.
var (
	PingPlan = plan.NewPart("ping", PingTable{}, func(p PingTable, whole plan.Plan) []string {
		var list plan.Problems
		list.Duration("ping.seconds", p.Seconds)
		list.If(p.Seconds > 0 && !plan.Positive(p.IntervalSeconds), "ping.interval_seconds is %g: it must be positive", p.IntervalSeconds)
		list.If(p.Seconds > 0 && slices.Contains(whole.Protocol, control.ProtocolTCP), "ping.seconds is %g: bytes without a protocol have no pings", p.Seconds)
		list.If(p.Seconds > 0 && (p.PayloadBytes < 1 || p.PayloadBytes > longestPing), "ping.payload_bytes is %d: it must be from 1 to %d", p.PayloadBytes, longestPing)
		return list
	})
	Ping = record.NewSection[record.Load]("ping")
)

var _ = phase.Add(phase.Phase{
	Name:  "ping",
	Order: 40,
	About: "Sends keepalive pings on all connections at a fixed interval. Each must be answered by its pong.",
	Table: PingPlan,
	Finds: []record.Object{Ping},
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		seconds := PingPlan.Of(p).Seconds
		return seconds > 0, seconds
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := PingPlan.Of(t.Plan)
		load := Load{Seconds: table.Seconds, PayloadBytes: table.PayloadBytes}
		result, piece, err := load.Carry(ctx, t, "ping", control.Command{
			Op: "ping", RatePerSecond: float64(t.Record.Connections.Reached) / table.IntervalSeconds,
		})
		Ping.Set(t.Record, result)
		t.CPU("ping", piece)
		return err
	},
})

// The figures of keepalive pings.
var (
	_ = figure.Add(figure.PlaceLoads+30, figure.Figure{
		Name: "ping.delivered_per_second", Title: "pings", Unit: figure.PerSecond("ping"), Kind: figure.Rate, Better: figure.None, Phase: "ping",
		Means:  "Keepalive pings per second whose pong came back right, spread over all connections (open loop).",
		Of:     ofLoad(Ping, func(l *record.Load) float64 { return l.DeliveredPerSecond }),
		Tables: []figure.Table{figure.TableLoad}, Optional: true,
	})
	_ = figure.Add(figure.PlaceLoads+30, figure.Figure{
		Name: "ping.p99_us", Title: "ping p99", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Phase: "ping",
		Means: "99th percentile of the time from when a ping was due until its whole pong was back.",
		Of:    ofLoad(Ping, func(l *record.Load) float64 { return l.P99US }), Believe: believeLatency(Ping),
		ClientBound: swarmsPace(Ping), Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad}, Optional: true,
	})
	_ = figure.Add(figure.PlaceLoads+30, figure.Figure{
		Name: "cpu.ping_us", Title: "CPU per ping", Unit: figure.UnitMicroseconds, Kind: figure.CPU, Better: figure.Lower, Phase: "ping",
		Means:   "CPU time of the server, user and system, per keepalive ping answered.",
		Of:      phase.OfCPU("ping_us"),
		Depends: figure.SystemCPU, Tables: []figure.Table{figure.TableLoad}, Optional: true,
	})
)

var _ = addFailures(figure.PlaceLoads+31, "ping", Ping)
