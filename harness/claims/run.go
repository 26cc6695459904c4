package claims

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"connbench/harness/bench"
	"connbench/harness/build"
	"connbench/harness/gate"
	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/progress"
	"connbench/harness/suite"
	"connbench/harness/table"
	"connbench/harness/variant"
	"connbench/harness/version"
)

// Test makes all trials and judges the claims by them. A trial that cannot be made
// is noted, and the next one is made. If there are both trials and an error, the
// error says why some were not made.
func Test(ctx context.Context, tree build.Tree, display progress.Progress) (run Run, err error) {
	run.Started = time.Now().UTC()
	run.Connbench = version.Own()
	outcomes := Outcomes{}
	defer func() { run.Claims = Judge(outcomes) }()
	programs := map[string]variant.Program{}
	for _, t := range Trials() {
		if _, built := programs[t.Variant]; !built {
			if programs[t.Variant], err = program(ctx, tree, t.Variant, display); err != nil {
				return run, err
			}
		}
		display.Say("claims: %s (%s)", t.Name, t.Shows)
		evidence := Evidence{Name: t.Name, Lab: t.Lab, Variant: t.Variant, Shows: t.Shows, Plan: t.Plan}
		outcome, host, err := t.run(ctx, tree, programs[t.Variant], outcomes.Bytes(t.Variant), display)
		switch {
		case ctx.Err() != nil:
			return run, fmt.Errorf("interrupted after %d of %d trials", len(run.Trials), len(Trials()))
		case err != nil:
			display.Say("claims: %s: %v", t.Name, err)
			evidence.Missing = err.Error()
		default:
			display.Say("claims: %s: %s, stopped by %s", t.Name, table.Plural(outcome.Trial.Connections.Reached, "connection"), outcome.Trial.Stop.Reason)
			evidence.Outcome, outcomes[t.Name] = &outcome, outcome
			if t.Lab == lab.Local {
				run.Host = host.Facts
			}
		}
		run.Trials = append(run.Trials, evidence)
	}
	return run, nil
}

// program builds a variant, which must pass the gate.
func program(ctx context.Context, tree build.Tree, name string, display progress.Progress) (variant.Program, error) {
	choices, err := tree.Choose([]string{name}, []string{variant.ClassTuned})
	if err != nil {
		return variant.Program{}, err
	}
	programs, err := tree.Build(ctx, choices, runtime.GOARCH, display.Say)
	if err != nil {
		return variant.Program{}, err
	}
	passing, _, err := gate.Pass(ctx, programs, display.Say)
	if err != nil {
		return variant.Program{}, err
	}
	return passing[0], nil
}

// run makes the trial in a lab of its own, and returns the lab's server host too.
// bytes is what a connection was measured to take of memory, nil where that is not
// known.
func (t Trial) run(ctx context.Context, tree build.Tree, program variant.Program, bytes *float64, display progress.Progress) (suite.Outcome, *lab.Host, error) {
	theLab, err := bench.OpenLab(ctx, tree, t.Lab, t.Plan.Client.Engine)
	if err != nil {
		return suite.Outcome{}, nil, err
	}
	defer theLab.Close()
	if err := suite.Confine(t.Plan, theLab); err != nil {
		return suite.Outcome{}, nil, err
	}
	if t.LeaveBytes > 0 {
		if t.Plan.MemoryReserveBytes, err = reserve(ctx, theLab, t); err != nil {
			return suite.Outcome{}, nil, err
		}
	}
	swarm, err := tree.Own(ctx, build.Swarm, runtime.GOARCH) // all hosts are this machine
	if err != nil {
		return suite.Outcome{}, nil, err
	}
	outcome, err := suite.Experiment{
		Plan: t.Plan, Lab: theLab, Program: program, Cost: limits.Cost{ServerBytes: bytes}, Progress: display,
		Swarms: slices.Repeat([]string{swarm}, len(theLab.Clients)),
	}.Run(ctx)
	return outcome, theLab.Server.Host, err
}

// reserve is the memory, in bytes, that must be kept free so that the trial leaves
// its connections what it says.
func reserve(ctx context.Context, l *lab.Lab, t Trial) (int64, error) {
	now, err := l.Server.Agent.Measure(ctx, nil, false)
	if err != nil {
		return 0, err
	}
	available := now.System.Memory.Available
	if available == nil || *available-t.LeaveBytes < t.Plan.MemoryReserveBytes {
		return 0, fmt.Errorf("it needs %s of memory and what the plan keeps in reserve", table.Memory(t.LeaveBytes))
	}
	return *available - t.LeaveBytes, nil
}
