package loads

import (
	"context"
	"encoding/json"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/record"
)

// Say is the phase's object in a trial's record. Its messages are questions, and their
// echoes are answers.
var Say = record.NewSection[record.Load]("say")

var _ = phase.Add(phase.Phase{
	Name:  "say",
	Order: 52,
	About: "Asks the server a question in its own language at a fixed rate (open loop), on one connection after the other, and waits for each answer.",
	Table: connections.SayPlan,
	Finds: []record.Object{Say},
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		seconds := connections.SayPlan.Of(p).Seconds
		return seconds > 0, seconds
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := connections.SayPlan.Of(t.Plan)
		question, err := json.Marshal(table.Question())
		if err != nil {
			return err
		}
		load := Load{Seconds: table.Seconds, PayloadBytes: len(table.Text)}
		result, piece, err := load.Carry(ctx, t, "say", control.Command{Op: "say", RatePerSecond: table.RatePerSecond, Options: question})
		Say.Set(t.Record, result)
		t.CPU("say", piece)
		return err
	},
})

// The figures of questions and answers.
var (
	_ = figure.Add(figure.PlaceLoads+40, figure.Figure{
		Name: "say.delivered_per_second", Title: "answers", Unit: figure.PerSecond("msg"), Kind: figure.Rate, Better: figure.Higher, Phase: "say",
		Means:       "Questions per second that the server answered as expected, of those offered.",
		Of:          ofLoad(Say, func(l *record.Load) float64 { return l.DeliveredPerSecond }),
		ClientBound: swarmsPace(Say), Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableComparison}, Optional: true,
	})
	_ = figure.Add(figure.PlaceLoads+40, figure.Figure{
		Name: "say.p50_us", Title: "answer p50", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Phase: "say",
		Means: "Median time from the moment a question was due to its answer.",
		Of:    ofLoad(Say, func(l *record.Load) float64 { return l.P50US }), Believe: believeLatency(Say),
		ClientBound: swarmsPace(Say), Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableComparison}, Optional: true,
	})
	_ = figure.Add(figure.PlaceLoads+40, figure.Figure{
		Name: "say.p99_us", Title: "answer p99", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Phase: "say",
		Means: "99th percentile of the time from when a question was due until its answer.",
		Of:    ofLoad(Say, func(l *record.Load) float64 { return l.P99US }), Believe: believeLatency(Say),
		ClientBound: swarmsPace(Say), Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableComparison}, Optional: true,
	})
	_ = figure.Add(figure.PlaceLoads+40, figure.Figure{
		Name: "cpu.say_us", Title: "CPU per answer", Unit: figure.UnitMicroseconds, Kind: figure.CPU, Better: figure.Lower, Phase: "say",
		Means:   "CPU time of the server, user and system, per question answered.",
		Of:      phase.OfCPU("say_us"),
		Depends: figure.SystemCPU, Tables: []figure.Table{figure.TableLoad}, Optional: true,
	})
)

var _ = addFailures(figure.PlaceLoads+41, "say", Say)
