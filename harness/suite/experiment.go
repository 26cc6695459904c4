package suite

import (
	"context"

	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/record"
	"connbench/harness/trial"
	"connbench/harness/variant"
)

// Experiment tests a prediction: one trial that asks for more connections than the limits
// of a lab are predicted to allow, so that it hits the first limit.
type Experiment struct {
	Plan plan.Plan
	// Lab is open, and [Confine] has reduced it to what the plan asks for.
	Lab     *lab.Lab
	Program variant.Program
	// Swarms are the paths of the swarm program on this host, for each of Lab.Clients.
	Swarms []string
	// Cost is the measured cost of a connection.
	Cost     limits.Cost
	Progress progress.Progress
	// Around is as in [trial.Input].
	Around trial.Around
}

// Outcome is what was predicted, and what happened.
type Outcome struct {
	Prediction limits.Prediction `json:"prediction"`
	Trial      record.Trial      `json:"trial"`
}

// Run asks for as many connections as the plan does; for "max", it asks for a quarter more
// than the ceiling.
func (e Experiment) Run(ctx context.Context) (Outcome, error) {
	var o Outcome
	var err error
	if o.Prediction, err = Predict(ctx, e.Plan, e.Lab, []variant.Choice{e.Program.Choice}, e.Cost); err != nil {
		return o, err
	}
	target := int(e.Plan.Connections)
	if e.Plan.Connections == plan.Max {
		ceiling := o.Prediction.Ceiling
		if ceiling == nil || *ceiling < 1 {
			return o, errNoCeiling
		}
		target = int(*ceiling + *ceiling/4 + 1)
	}
	processes := e.Plan.Server.Processes
	if processes == 0 {
		processes = o.Prediction.Processes(target)
	}
	there, err := carry(ctx, e.Lab, []variant.Program{e.Program}, e.Swarms, issued{})
	if err != nil {
		return o, err
	}
	in := inputOf(e.Plan, e.Lab, e.Program, 0, there, target, processes)
	in.Record.Trial, in.Record.Round = 1, 1
	in.Progress, in.Sample, in.Around = e.Progress, func(record.Sample) {}, e.Around
	o.Trial = trial.Run(ctx, in)
	return o, ctx.Err()
}
