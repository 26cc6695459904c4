// Package profile profiles a server during one phase of a trial that is made for that
// purpose alone: a profiler costs time and memory, so the trial's figures are no results.
package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"connbench/harness/bench"
	"connbench/harness/build"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/session"
	"connbench/harness/suite"
	"connbench/harness/tail"
	"connbench/harness/trial"
	"connbench/harness/variant"
	"connbench/servers/contract"
)

// Phases returns the names of the phases of a plan in which a server can be profiled: those
// of the main server.
func Phases(p plan.Plan) (names []string) {
	for _, phase := range phase.Of(p, max(1, int(p.Connections))) {
		if !phase.OwnServer {
			names = append(names, phase.Name)
		}
	}
	return names
}

// Run runs one trial of the only variant that r asks for, profiles its server during the
// phase, and writes the profiles into the folder dir. It returns their paths.
func Run(ctx context.Context, tree build.Tree, r bench.Request, phase, dir string, display progress.Progress) ([]string, error) {
	p, choice, err := resolve(tree, r, phase)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	choice, begin, err := profilerOf(choice, dir)
	if err != nil {
		return nil, err
	}
	theLab, err := bench.OpenLab(ctx, tree, p.Lab, p.Client.Engine)
	if err != nil {
		return nil, err
	}
	defer theLab.Close()
	if !theLab.Shared {
		return nil, explain.Usagef("lab %s: profiles are taken where the server runs on this machine", theLab.Name)
	}
	if err := suite.Confine(p, theLab); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	display.Say("building %s with a profiler", choice)
	// Next to the programs that are measured, never among them.
	program, err := choice.Build(ctx, filepath.Join(tree.Bin, "profiled"), runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	before, err := profiles(dir)
	if err != nil {
		return nil, err
	}
	if err := try(ctx, tree, p, theLab, program, begin.during(phase), display); err != nil {
		return nil, err
	}
	after, err := profiles(dir)
	if err != nil {
		return nil, err
	}
	made := slices.DeleteFunc(after, func(file string) bool { return slices.Contains(before, file) })
	if len(made) == 0 {
		return nil, fmt.Errorf("%s wrote no profile into %s", choice, dir)
	}
	return made, nil
}

// resolve is the plan and the variant that r asks for.
func resolve(tree build.Tree, r bench.Request, phase string) (plan.Plan, variant.Choice, error) {
	p, err := r.Resolve()
	if err != nil {
		return p, variant.Choice{}, err
	}
	if p.Connections == plan.Max {
		return p, variant.Choice{}, explain.Hint(explain.Usagef("plan %s opens as many connections as there can be", p.Name), "say how many, with --connections")
	}
	if names := Phases(p); !slices.Contains(names, phase) {
		return p, variant.Choice{}, explain.Hint(explain.Usagef("plan %s has no phase %q", p.Name, phase), "take one of %s", strings.Join(names, ", "))
	}
	choices, err := tree.Choose(p.Variants, p.Classes)
	if err != nil {
		return p, variant.Choice{}, err
	}
	if len(choices) != 1 {
		return p, variant.Choice{}, explain.Usagef("one server is profiled at a time: name a variant with its class, such as %s", choices[0])
	}
	ways := variant.Expand([]variant.Program{{Choice: choices[0]}}, p.Layers())
	if len(ways) != 1 {
		return p, variant.Choice{}, explain.Hint(explain.Usagef("plan %s measures %s in %d ways, and one is profiled at a time", p.Name, choices[0], len(ways)), "take a plan with one protocol, security and compression that the server has")
	}
	return p, ways[0].Choice, nil
}

// profiler begins to profile a server, and returns what ends it.
type profiler func(ctx context.Context, server session.Server) (end func(context.Context) error, err error)

// profilerOf is how a choice is profiled, with files in a folder, and the choice as it must
// be built for that: a Go server profiles itself, others are looked at by perf(1).
func profilerOf(choice variant.Choice, dir string) (variant.Choice, profiler, error) {
	class := choice.Classes[choice.Class]
	if command, is := tagged(class.Build); is && choice.Language == "Go" {
		class.Build = command
		choice.Classes = map[string]variant.Class{choice.Class: class}
		return choice, byItself(dir), nil
	}
	if _, err := exec.LookPath("perf"); err != nil {
		return choice, nil, explain.Hint(fmt.Errorf("%s is not built by go build, and perf is missing here", choice), "install perf (Debian: linux-perf)")
	}
	return choice, byPerf(dir), nil
}

// tagged adds a build tag to a go build command; false for any other command.
func tagged(command []string) ([]string, bool) {
	if len(command) < 2 || command[0] != "go" || command[1] != "build" {
		return nil, false
	}
	command = slices.Clone(command)
	if at := slices.Index(command, "-tags"); at >= 0 && at+1 < len(command) {
		command[at+1] += "," + contract.TagProfile
		return command, true
	}
	return slices.Insert(command, 2, "-tags", contract.TagProfile), true
}

// byItself has the server write profiles of its CPU time and its heap.
func byItself(dir string) profiler {
	return func(ctx context.Context, server session.Server) (func(context.Context) error, error) {
		question := contract.QuestionProfile + " " + dir
		_, err := server.Ask(ctx, question)
		return func(ctx context.Context) error {
			_, err := server.Ask(ctx, question)
			return err
		}, err
	}
}

// perfPatience bounds what perf does after it was told to end.
const perfPatience = time.Minute

// byPerf has perf(1) sample the stacks of the server's processes.
func byPerf(dir string) profiler {
	return func(ctx context.Context, server session.Server) (func(context.Context) error, error) {
		m, err := server.Measure(ctx, false)
		if err != nil {
			return nil, err
		}
		var pids []string
		for _, process := range m.Processes {
			if process.PID != 0 { // else they have ended
				pids = append(pids, strconv.Itoa(process.PID))
			}
		}
		file := filepath.Join(dir, "perf-"+pids[0]+".data")
		var said tail.Tail
		// A second is 499 samples: no multiple of what the server may do regularly.
		perf := exec.CommandContext(ctx, "perf", "record", "-q", "-F", "499", "-g", "-o", file, "-p", strings.Join(pids, ","))
		perf.Cancel = func() error { return perf.Process.Signal(os.Interrupt) } // it then writes the file
		perf.WaitDelay = perfPatience
		perf.Stdout, perf.Stderr = &said, &said
		if err := perf.Start(); err != nil {
			return nil, err
		}
		return func(context.Context) error {
			if err := perf.Cancel(); err != nil {
				return fmt.Errorf("perf ended before the phase: %s", said.Head())
			}
			_ = perf.Wait() // of a signal
			if _, err := os.Stat(file); err != nil {
				return fmt.Errorf("perf has written nothing: %s", said.Head())
			}
			return nil
		}, nil
	}
}

// during is a profiler as it is called around each phase.
func (begin profiler) during(phase string) trial.Around {
	return func(ctx context.Context, name string, server session.Server) (func(context.Context) error, error) {
		if name != phase {
			return func(context.Context) error { return nil }, nil
		}
		return begin(ctx, server)
	}
}

// try runs the trial. An invalid one is an error.
func try(ctx context.Context, tree build.Tree, p plan.Plan, l *lab.Lab, program variant.Program, around trial.Around, display progress.Progress) error {
	swarm, err := tree.Own(ctx, build.Swarm, runtime.GOARCH)
	if err != nil {
		return err
	}
	outcome, err := suite.Experiment{
		Plan: p, Lab: l, Program: program, Progress: display, Around: around,
		Swarms: slices.Repeat([]string{swarm}, len(l.Clients)),
	}.Run(ctx)
	if err == nil && len(outcome.Trial.Invalid) > 0 {
		err = errors.New(strings.Join(outcome.Trial.Invalid, "; "))
	}
	return err
}

// profiles lists the profiles in a folder.
func profiles(dir string) ([]string, error) { return filepath.Glob(filepath.Join(dir, "*-*.*")) }
