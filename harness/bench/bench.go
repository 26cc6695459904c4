// Package bench carries out a request: it builds the programs, opens the lab, sizes
// the run, has the suite run it, and writes its reports.
package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"time"

	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/gate"
	"connbench/harness/history"
	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/report"
	"connbench/harness/suite"
	"connbench/harness/table"
	"connbench/harness/variant"
)

// Run carries out r and files the run in the results folder of the tree. The run is
// nil where nothing was filed. If both it and the error are non-nil, the error says
// what is wrong with the run.
func Run(ctx context.Context, tree build.Tree, r Request, display progress.Progress) (*record.Run, error) {
	run, err := measure(ctx, tree, r, display)
	if run == nil && ctx.Err() != nil {
		return nil, Interrupted(ctx, err, BeforeAny)
	}
	return run, err
}

// BeforeAny is when a run was interrupted that files nothing.
const BeforeAny = "before anything was measured"

// Interrupted is the error of what was begun and ended with ctx: by a signal, or because its
// lab has ended, as failed or ctx says.
func Interrupted(ctx context.Context, failed error, when string) error {
	var ended *lab.EndedError
	if errors.As(failed, &ended) || errors.As(context.Cause(ctx), &ended) {
		return fmt.Errorf("%w: interrupted %s", ended, when)
	}
	return errors.New("interrupted " + when)
}

// layersOf are the ways in which a plan measures each program, and whether its phases broadcast.
func layersOf(p plan.Plan) variant.Layers {
	layers := p.Layers()
	layers.Broadcast = slices.ContainsFunc(phase.Of(p, 1), func(phase phase.Phase) bool { return phase.Broadcast })
	return layers
}

func measure(ctx context.Context, tree build.Tree, r Request, display progress.Progress) (run *record.Run, err error) {
	p, err := r.Resolve()
	if err != nil {
		return nil, err
	}
	choices, err := tree.Choose(p.Variants, p.Classes)
	if err != nil {
		return nil, err
	}
	if choices = variant.Available(ctx, choices, display.Say); len(choices) == 0 {
		return nil, explain.Hint(errors.New("none of these variants can be built here"), "install what is missing, or take other variants")
	}
	layers := layersOf(p)
	for _, axis := range variant.Axes {
		if choices = axis.Able(choices, layers, display.Say); len(choices) == 0 {
			return nil, explain.Hint(fmt.Errorf("none of these variants supports what the plan asks for (%s)", axis.Key), "%s", axis.Hint)
		}
	}
	if choices = variant.Broadcasting(choices, layers, display.Say); len(choices) == 0 {
		return nil, explain.Hint(errors.New("none of these variants can broadcast"), "take some whose variant.toml has the plan's protocol in broadcast")
	}
	// What is refused is refused before anything is built.
	if r.Base != "" && len(r.Go) > 0 {
		return nil, explain.Usagef("--base and --go: a run compares either git revisions or releases of Go")
	}
	built, err := variant.ByRelease(choices, r.Go)
	if err != nil {
		return nil, explain.Usage(err)
	}
	theLab, err := OpenLab(ctx, tree, p.Lab, p.Client.Engine)
	if err == nil {
		choices, built, err = withDevices(theLab, choices, built, display.Say)
	}
	if err != nil {
		return nil, err
	}
	defer theLab.Close()
	ctx, stop := theLab.While(ctx)
	defer stop()
	defer func() {
		if run == nil && err != nil && ctx.Err() != nil {
			err = Interrupted(ctx, err, BeforeAny)
		}
	}()
	size, err := Fit(ctx, tree, p, theLab, choices, display.Say)
	if err != nil {
		return nil, err
	}
	choices = built // their names are known to no earlier run
	if r.Base != "" {
		base, err := tree.At(ctx, r.Base)
		if err != nil {
			return nil, err
		}
		defer base.Close()
		if choices, err = base.Join(choices, display.Say); err != nil {
			return nil, err
		}
		choices = variant.Able(choices, layers, display.Say) // an earlier one may not be
	}
	programs, err := tree.Build(ctx, choices, runtime.GOARCH, display.Say)
	if err != nil {
		return nil, err
	}
	passing, failing, err := gate.Pass(ctx, variant.Expand(programs, layers), display.Say)
	if err != nil {
		return nil, err
	}
	servers, swarms, err := ForHosts(ctx, tree, theLab, passing, display)
	if err != nil {
		return nil, err
	}
	display.Say("plan %s: %s, %s", p.Name, table.Plural(size.Target, "connection"), processes(size.Processes))
	if size.OwnTarget > 0 {
		display.Say("servers with their own TCP: %s", table.Plural(size.OwnTarget, "connection"))
	}
	display.Say("first limit: %s", size.Limit())
	for _, caution := range size.Cautions {
		display.Say("%s", caution)
	}

	dir := filepath.Join(tree.Results, FolderName(time.Now(), theLab.Name, p.Name))
	job := suite.Job{
		Plan: p, Lab: theLab, Programs: servers, Failing: failing, Swarms: swarms,
		Target: size.Target, OwnTarget: size.OwnTarget, Processes: size.Processes, Limit: size.Limit(),
		Command: r.Command(p), Progress: display,
	}
	display.Begin(job.Trials(), phase.Duration(p, size.Target))
	invalid, err := job.Run(ctx, dir)
	display.Close()
	failed := slices.DeleteFunc(failing, func(p variant.Program) bool { return p.Commit != "" }) // of an earlier build nobody asks
	return Finish(ctx, dir, invalid, len(failed), err)
}

// withDevices leaves out, of the choices and of what they are built as, those that take a
// device where the lab has none. It closes a lab that leaves nothing.
func withDevices(l *lab.Lab, choices, built []variant.Choice, say func(string, ...any)) (able, ableBuilt []variant.Choice, err error) {
	has := len(l.Server.Device) > 0
	if able = variant.WithDevices(choices, has, l.Name, say); len(able) == 0 {
		l.Close()
		return nil, nil, explain.Hint(explain.Usagef("lab %s cannot run these variants: they need a TUN device", l.Name), "use LAB=netns")
	}
	return able, variant.WithDevices(built, has, l.Name, func(string, ...any) {}), nil
}

// Fit confines the lab to what the plan takes of it, and decides how large the run
// is. Memory is counted by what the leanest of the choices was measured to take.
func Fit(ctx context.Context, tree build.Tree, p plan.Plan, l *lab.Lab, choices []variant.Choice, say func(string, ...any)) (suite.Size, error) {
	if err := suite.Confine(p, l); err != nil {
		return suite.Size{}, err
	}
	var each limits.Cost
	cost, untrusted := history.Read(tree.Results).LeastCost(choices, l.Name, p.Client.Engine)
	switch {
	case cost != nil:
		each = cost.Limits()
		say("memory: %s", cost)
	case untrusted != "":
		say("memory: bytes per connection are unknown (%s)", untrusted)
	}
	return suite.Fit(ctx, p, l, choices, each)
}

// ForHosts returns the servers as the server host needs them, and the swarm as each
// client host does: hosts may be of other architectures.
func ForHosts(ctx context.Context, tree build.Tree, l *lab.Lab, passing []variant.Program, display progress.Progress) (servers []variant.Program, swarms []string, err error) {
	servers = passing
	if architecture := l.Server.Facts.Architecture; architecture != runtime.GOARCH {
		var choices []variant.Choice
		for _, program := range passing {
			choices = append(choices, program.Choice)
		}
		if servers, err = tree.Build(ctx, choices, architecture, display.Say); err != nil {
			return nil, nil, err
		}
	}
	for _, client := range l.Clients {
		swarm, err := tree.Own(ctx, build.Swarm, client.Facts.Architecture)
		if err != nil {
			return nil, nil, fmt.Errorf("host %s: %w", client.Facts.Name, err)
		}
		swarms = append(swarms, swarm)
	}
	return servers, swarms, nil
}

// Finish writes the reports of the run in the folder dir, and says what went wrong: how many
// trials are invalid, how many programs failed the gate, and why the run could not go on.
func Finish(ctx context.Context, dir string, invalid, failing int, failed error) (*record.Run, error) {
	run, err := folder.Open(dir)
	if err != nil && failed != nil {
		return nil, failed // where nothing could be filed, there is no run
	}
	if err != nil {
		return nil, err
	}
	if len(run.Trials) > 0 {
		if err := report.Write(run); err != nil {
			return run, errors.Join(failed, err)
		}
	}
	var ended *lab.EndedError
	switch {
	case ctx.Err() != nil, errors.As(failed, &ended):
		return run, Interrupted(ctx, failed, fmt.Sprintf("after %s of %s trials; what was measured is in %s", table.Count(len(run.Trials)), table.Count(run.Manifest.Planned), dir))
	case failed != nil:
		return run, failed
	case invalid > 0:
		return run, fmt.Errorf("%s of %s are invalid: the reasons are below the tables", table.Count(invalid), table.Plural(len(run.Trials), "trial"))
	case failing > 0:
		return run, fmt.Errorf("%s failed the conformance gate and were not measured", table.Plural(failing, "variant"))
	}
	return run, nil
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// FolderName is DATE-TIME-LAB-PLAN, so that names sort by time and two runs of a day
// differ.
func FolderName(now time.Time, lab, plan string) string {
	return now.Format("20060102-150405") + "-" + inFolderName(lab) + "-" + inFolderName(plan)
}

// inFolderName is a name in plain letters, not too long for two in a file's name.
func inFolderName(name string) string {
	const most = 100
	name = notInName.ReplaceAllString(name, "_")
	return name[:min(len(name), most)]
}

func processes(n int) string {
	if n == 1 {
		return "1 server process"
	}
	return table.Count(n) + " server processes"
}
