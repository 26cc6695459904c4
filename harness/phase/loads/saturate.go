package loads

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
)

// SaturateTable is a plan's [saturate].
type SaturateTable struct {
	Load
	// InFlight is the number of messages that are outstanding at any time.
	InFlight int `toml:"in_flight" json:"in_flight,omitempty" spoils:"phase"`
}

// SaturatePlan is the phase's table in a plan, Saturate its object in a trial's record.
var (
	SaturatePlan = plan.NewPart("saturate", SaturateTable{}, func(s SaturateTable, p plan.Plan) []string {
		list := s.Problems("saturate", p)
		list.If(s.Seconds > 0 && (s.InFlight < 1 || s.InFlight > phase.MostInFlight), "saturate.in_flight is %d: it must be from 1 to %d", s.InFlight, phase.MostInFlight)
		return list
	})
	Saturate = record.NewSection[record.Load]("saturate")
)

var _ = phase.Add(phase.Phase{
	Name:    "saturate",
	Order:   70,
	About:   "Keeps a fixed number of messages in flight (closed loop): the most that server and clients together can do.",
	Table:   SaturatePlan,
	Finds:   []record.Object{Saturate},
	Planned: func(p plan.Plan, _ int) (bool, float64) { return SaturatePlan.Of(p).planned() },
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := SaturatePlan.Of(t.Plan)
		load, _, err := table.Carry(ctx, t, "saturate", control.Command{Op: "saturate", InFlight: table.InFlight})
		Saturate.Set(t.Record, load)
		return err
	},
})

// The figures of a closed loop.
var (
	SaturatedRate = figure.Add(figure.PlaceLoads+10, figure.Figure{
		Name: "saturate.delivered_per_second", Title: "saturated", Unit: figure.PerSecond("msg"), Kind: figure.Rate, Better: figure.Higher, Phase: "saturate",
		Means:       "Echoes per second with a fixed number of messages in flight (closed loop): the most that server and clients together can do on this machine.",
		Of:          ofLoad(Saturate, func(l *record.Load) float64 { return l.DeliveredPerSecond }),
		ClientBound: swarmsPace(Saturate), Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableTrials, figure.TableComparison},
	})
	_ = figure.Add(figure.PlaceLoads+10, figure.Figure{
		Name: "saturate.server_cpu_us", Title: "CPU per message, saturated", Unit: figure.UnitMicroseconds, Kind: figure.CPU, Better: figure.Lower, Phase: "saturate",
		Means:   "CPU time of the server per message echoed while saturated.",
		Of:      figure.Reads(Saturate, func(l *record.Load) *float64 { return l.ServerCPUUS }),
		Depends: figure.SystemCPU, Price: "saturate.delivered_per_second",
	})
)
