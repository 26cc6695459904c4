package connections

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/environment"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
)

// HoldTable is a plan's [hold].
type HoldTable struct {
	// Seconds is how long the connections stay idle; 0 leaves the phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
}

// HoldRecord is what became of idle connections.
type HoldRecord struct {
	// Seconds is how long they were idle.
	Seconds float64 `json:"seconds"`
	// Lost is the number of connections that died while nothing was sent.
	Lost int `json:"lost"`
}

// HoldPlan is the phase's table in a plan, Hold its object in a trial's record.
var (
	HoldPlan = plan.NewPart("hold", HoldTable{}, func(h HoldTable, _ plan.Plan) []string {
		var list plan.Problems
		list.Duration("hold.seconds", h.Seconds)
		return list
	})
	Hold = record.NewSection[HoldRecord]("idle")
)

var _ = phase.Add(phase.Phase{
	Name:  "hold",
	Order: 20,
	About: "Keeps all connections open and idle.",
	Table: HoldPlan,
	Finds: []record.Object{Hold},
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		seconds := HoldPlan.Of(p).Seconds
		return seconds > 0, seconds
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		c := control.Command{Op: "hold", Seconds: HoldPlan.Of(t.Plan).Seconds}
		result, piece, err := t.Session.Metered(ctx, "hold", c, func(control.Result) int64 { return 0 })
		if !session.HasResult(err) {
			return err
		}
		Hold.Set(t.Record, &HoldRecord{Seconds: piece.Seconds, Lost: result.Lost})
		if piece.ServerCPUSeconds != nil {
			t.SetCPU("idle_cores", new(*piece.ServerCPUSeconds/piece.Seconds))
		}
		if n := piece.ServerInstructions; n != nil {
			t.SetCPU("idle_instructions_per_second", new(float64(*n)/piece.Seconds))
		}
		if result.Lost > 0 {
			t.Warn("%d connections were lost while idle", result.Lost)
		}
		return err
	},
})

// IdleCPU is the CPU time of the server while nothing is sent.
var IdleCPU = figure.Add(figure.PlaceCPU+50, figure.Figure{
	Name: "cpu.idle_cores", Title: "CPU while idle", Unit: figure.UnitCores, Kind: figure.CPU, Better: figure.Lower, Phase: "hold",
	Means:   "CPU seconds of the server per second while all connections are open and nothing is sent.",
	Of:      phase.OfCPU("idle_cores"),
	Depends: figure.With(figure.Speed, environment.Plan("connections")),
	Tables:  []figure.Table{figure.TableCost, figure.TableComparison}, Optional: true,
})

var _ = figure.Add(figure.PlaceCPU+50, figure.Figure{
	Name: "cpu.idle_instructions_per_second", Title: "instructions while idle", Unit: figure.PerSecond("instructions"), Kind: figure.Work, Better: figure.Lower, Phase: "hold",
	Means:   "Instructions that the server executed outside the kernel, per second while all connections are open and nothing is sent.",
	Of:      phase.OfCPU("idle_instructions_per_second"),
	Depends: []environment.Fact{environment.Plan("connections")}, Optional: true,
})
