// Package trial measures one variant once: it runs the phases of the plan against a fresh
// server, and then judges the results. It always returns a record, of as much as it could
// measure.
package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connbench/harness/phase"
	_ "connbench/harness/phase/all" // the phases that a plan may have
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/record"
	"connbench/harness/session"
)

// Input is what a trial needs to know.
type Input struct {
	// Record identifies the trial: number, round, variant, plan, lab. It may have warnings
	// from before the trial.
	Record record.Trial
	Plan   plan.Plan
	// Target is the number of connections to open.
	Target int
	phase.Topology
	// SharedKernel is true if servers and clients run on one kernel.
	SharedKernel bool

	Hosts    phase.Hosts
	Open     session.Opener
	Progress progress.Progress
	// Sample receives readings over time. It is called from another goroutine.
	Sample func(record.Sample)
	// Around, if not nil, is called for each phase of the main server.
	Around Around
	// Stderr, if not nil, receives what the server of an invalid trial wrote to its standard
	// error.
	Stderr func(text string)
}

// Around is called as a phase begins, and what it returns as the phase ends. What both do is
// part of what is measured.
type Around func(ctx context.Context, phase string, server session.Server) (end func(context.Context) error, err error)

// Run runs the trial. If ctx ends, the record says so and has what was measured until
// then.
func Run(ctx context.Context, in Input) record.Trial {
	started := time.Now()
	t := &phase.Trial{
		Plan: in.Plan, Target: in.Target, Topology: in.Topology,
		Hosts: in.Hosts, Progress: in.Progress, Record: &in.Record, Opener: in.Open,
		Watch: session.Watch{
			Trial: in.Record.Trial, Started: started, ReserveBytes: in.Plan.MemoryReserveBytes,
			Sample: in.Sample, Update: in.Progress.Update,
		},
	}
	t.Record.Schema, t.Record.Started = record.Schema, started.UTC()
	t.Record.Connections.Target = in.Target
	t.Record.Fits = map[string]record.Fit{}

	phases := phase.Of(in.Plan, in.Target)
	mainSession(ctx, t, phases, in)
	for _, p := range phases {
		if p.OwnServer && t.Record.Connections.Reached > 0 && len(t.Record.Invalid) == 0 && ctx.Err() == nil {
			t.Progress.Phase(p.Name, 0)
			if err := p.Run(ctx, t); err != nil {
				if ctx.Err() != nil {
					err = errors.New("interrupted")
				}
				t.Warn("%s did not end: %v", p.Name, err)
			}
		}
	}
	judge(t, in.SharedKernel)
	t.Record.Seconds = time.Since(started).Seconds()
	return *t.Record
}

// mainSession runs the phases that share one server. Nobody forces that server to
// collect its garbage.
func mainSession(ctx context.Context, t *phase.Trial, phases []phase.Phase, in Input) {
	t.Progress.Phase("start the server", 0)
	defer t.CloseSession(ctx)
	defer func() {
		if server := t.Session.Server; server != nil && in.Stderr != nil && len(t.Record.Invalid) > 0 {
			if text := server.Stderr(context.WithoutCancel(ctx)); text != "" {
				in.Stderr(text)
			}
		}
	}()
	if err := t.OpenSession(ctx, session.Options{}); err != nil {
		connections.Fail(ctx, t, err)
		return
	}
	for _, p := range phases {
		if p.OwnServer {
			continue
		}
		_, seconds := p.Planned(t.Plan, t.Target)
		if p.Opens {
			seconds = 0 // nobody knows how long connecting takes
		}
		t.Session.Enter(p.Name, p.Opens)
		t.Progress.Phase(p.Name, seconds)
		if err := runAround(ctx, t, p, in); err != nil {
			connections.Fail(ctx, t, fmt.Errorf("%s: %w", p.Name, err))
			return
		}
	}
}

// runAround runs a phase with what the trial's maker wants around it.
func runAround(ctx context.Context, t *phase.Trial, p phase.Phase, in Input) error {
	if in.Around == nil {
		return p.Run(ctx, t)
	}
	end, err := in.Around(ctx, p.Name, t.Session.Server)
	if err != nil {
		return err
	}
	return errors.Join(p.Run(ctx, t), end(ctx))
}
