package connections

import (
	"context"
	"fmt"

	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/session"
)

var _ = phase.Add(phase.Phase{
	Name:      "settled ramp",
	Order:     100,
	About:     "Ramps a fresh server that collects its garbage before each point is measured: the cost of a connection without garbage.",
	Opens:     true,
	OwnServer: true,
	Planned: func(p plan.Plan, connections int) (bool, float64) {
		table := RampPlan.Of(p)
		return table.Settled, table.guess(connections)
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		err := settledRamp(ctx, t)
		if err != nil {
			t.Record.SettledSteps = nil // part of a ramp gives no slope
		}
		return err
	},
})

func settledRamp(ctx context.Context, t *phase.Trial) error {
	defer t.CloseSession(ctx)
	if err := t.OpenSession(ctx, session.Options{}); err != nil {
		return err
	}
	t.Session.Enter("settled ramp", true)
	table, reached := RampPlan.Of(t.Plan), t.Record.Connections.Reached
	for i := range table.Steps + 1 {
		target := reached * i / table.Steps
		open := 0
		if i > 0 {
			result, err := t.Session.Do(ctx, table.To(target))
			if err != nil {
				return err
			}
			if open = result.Open; open < target {
				return fmt.Errorf("the second ramp ended at %d of %d connections", open, target)
			}
		}
		if err := table.exchange(ctx, t); err != nil {
			return err
		}
		if err := step(ctx, t, &t.Record.SettledSteps, open, t.Session.Meter.Settle); err != nil {
			return err
		}
	}
	return nil
}
