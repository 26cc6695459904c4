package loads

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/charts"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
)

// EchoTable is a plan's [echo].
type EchoTable struct {
	Load
	// RatePerSecond is how many messages are due a second, over all connections.
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second,omitempty" spoils:"phase"`
}

// EchoPlan is the phase's table in a plan, Echo its object in a trial's record.
var (
	EchoPlan = plan.NewPart("echo", EchoTable{}, func(e EchoTable, p plan.Plan) []string {
		list := e.Problems("echo", p)
		list.If(e.Seconds > 0 && !plan.Positive(e.RatePerSecond), "echo.rate_per_second is %g: it must be positive", e.RatePerSecond)
		return list
	})
	Echo = record.NewSection[record.Load]("echo")
)

var _ = phase.Add(phase.Phase{
	Name:    "echo",
	Order:   50,
	About:   "Offers messages at a fixed rate (open loop), one connection after the other. Each must come back whole.",
	Table:   EchoPlan,
	Finds:   []record.Object{Echo},
	Planned: func(p plan.Plan, _ int) (bool, float64) { return EchoPlan.Of(p).planned() },
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := EchoPlan.Of(t.Plan)
		load, piece, err := table.Carry(ctx, t, "echo", control.Command{Op: "echo", RatePerSecond: table.RatePerSecond})
		Echo.Set(t.Record, load)
		t.CPU("echo", piece)
		return err
	},
})

// The figures of messages at an offered rate.
var (
	_ = figure.Add(figure.PlaceLoads, figure.Figure{
		Name: "echo.offered_per_second", Title: "offered", Alone: "echo offered", Unit: figure.PerSecond("msg"), Kind: figure.Rate, Better: figure.None, Phase: "echo",
		Means:  "Messages that were due per second, over all connections (open loop).",
		Of:     figure.Reads(Echo, func(l *record.Load) *float64 { return l.OfferedPerSecond }),
		Tables: []figure.Table{figure.TableLoad},
	})
	EchoRate = figure.Add(figure.PlaceLoads, figure.Figure{
		Name: "echo.delivered_per_second", Title: "delivered", Alone: "echo delivered", Unit: figure.PerSecond("msg"), Kind: figure.Rate, Better: figure.Higher, Phase: "echo",
		Means:       "Messages per second whose echo came back whole and right, of those offered.",
		Of:          ofLoad(Echo, func(l *record.Load) float64 { return l.DeliveredPerSecond }),
		ClientBound: swarmsPace(Echo), Depends: figure.Pace, Tolerance: 0.01, Tables: []figure.Table{figure.TableLoad, figure.TableComparison},
	})
	_ = figure.Add(figure.PlaceLoads, figure.Figure{
		Name: "echo.p50_us", Title: "p50", Alone: "echo p50", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Phase: "echo",
		Means: "Median time from the moment a message was due to its whole echo.",
		Of:    ofLoad(Echo, func(l *record.Load) float64 { return l.P50US }), Believe: believeLatency(Echo),
		ClientBound: swarmsPace(Echo), Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableRepeatability, figure.TableComparison},
	})
	_ = figure.Add(figure.PlaceLoads, figure.Figure{
		Name: "echo.p90_us", Title: "p90", Alone: "echo p90", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Phase: "echo",
		Means: "90th percentile of the time from when a message was due until its whole echo was back.",
		Of:    ofLoad(Echo, func(l *record.Load) float64 { return l.P90US }), Believe: believeLatency(Echo),
		ClientBound: swarmsPace(Echo), Depends: figure.Pace,
	})
	echoP99 = figure.Add(figure.PlaceLoads, figure.Figure{
		Name: "echo.p99_us", Title: "p99", Alone: "echo p99", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Phase: "echo",
		Means: "99th percentile of the time from when a message was due until its whole echo was back.",
		Of:    ofLoad(Echo, func(l *record.Load) float64 { return l.P99US }), Believe: believeLatency(Echo),
		ClientBound: swarmsPace(Echo), Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableTrials, figure.TableRepeatability, figure.TableComparison, figure.TableProgress},
	})
	_ = figure.Add(figure.PlaceLoads, figure.Figure{
		Name: "echo.p999_us", Title: "p99.9", Alone: "echo p99.9", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Phase: "echo",
		Means: "99.9th percentile of the time from when a message was due until its whole echo was back.",
		Of:    ofLoad(Echo, func(l *record.Load) float64 { return l.P999US }), Believe: believeLatency(Echo),
		ClientBound: swarmsPace(Echo), Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableComparison},
	})
	EchoCPU = phase.AddCPU(figure.PlaceLoads, "echo", figure.Figure{
		Title: "CPU per message", Phase: "echo",
		Means:     "CPU time of the server, user and system, per message echoed at the offered rate.",
		Tolerance: 0.15, Price: "echo.delivered_per_second",
		Tables: []figure.Table{figure.TableLoad, figure.TableRepeatability, figure.TableComparison},
	})
)

// What a server sends for a message.
var _ = figure.Add(figure.PlaceLoads, figure.Figure{
	Name: "echo.sent_message_bytes", Title: "bytes sent per message", Unit: figure.UnitMessageBytes, Kind: figure.Traffic, Better: figure.Lower, Phase: "echo",
	Means: "Bytes that the server sent per message echoed, including WebSocket headers, after compression, without TLS and TCP.",
	Of: figure.Reads(Echo, func(l *record.Load) *float64 {
		if n := l.Delivered + late(l); l.ReceivedBytes > 0 && n > 0 {
			return new(float64(l.ReceivedBytes) / float64(n))
		}
		return nil
	}),
	Tables: []figure.Table{figure.TableAdded, figure.TableComparison},
})

// late is the number of messages that came back late.
func late(l *record.Load) int64 {
	if l.Late == nil {
		return 0
	}
	return *l.Late
}

var _ = charts.Add(charts.PlaceLoads, charts.Entry{
	Name: "latency", Title: "Latency of an echo by percentile",
	About: "From the moment a message was due to its whole echo, all rounds merged. Each nine of the axis takes the same room.",
	Draw:  charts.Percentiles(echoP99, Echo.Of),
})

var _ = phase.Instructions(figure.PlaceLoads, "echo", "echo", "message", figure.TableLoad, figure.TableComparison)

var _ = addFailures(figure.PlaceLoads+1, "echo", Echo)
