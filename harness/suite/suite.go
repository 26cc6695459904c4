// Package suite carries out a plan: it builds and gates the servers, then runs
// every variant once a round, in an order that changes from round to round, and
// files each trial before the next begins.
package suite

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"connbench/clients/control"
	"connbench/harness/gate"
	"connbench/harness/lab"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/progress"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/session/processes"
	"connbench/harness/trial"
	"connbench/harness/variant"
	"connbench/harness/version"
)

// Job is a plan made ready to run.
type Job struct {
	Plan plan.Plan
	Lab  *lab.Lab
	// Programs passed the gate, in the plan's order; Failing did not.
	Programs []variant.Program
	Failing  []variant.Program
	// Attached is the server that the program of class [record.ClassAttached] stands for; nil
	// if there is none.
	Attached *Attached
	// Swarms are the paths of the swarm program here, for each of Lab.Clients.
	Swarms []string
	// Target is the number of connections, Processes how many server processes
	// share them.
	Target, Processes int
	// OwnTarget is as in [Size].
	OwnTarget int
	// Limit is the limit that binds first, in words.
	Limit string
	// Command is what to type to repeat the run.
	Command  string
	Progress progress.Progress
}

// Attached is a server that somebody else has started, to be measured next to ours.
type Attached struct {
	// Session says how the swarm reaches it. Its paths and its number of connections are
	// those of the job.
	Session processes.Attached
	// Processes is the number of its processes.
	Processes int
	// Beside is the plan of our own servers next to it, which echo and push nothing. The
	// job's plan is that of the attached one.
	Beside plan.Plan
	// Filed is the job's plan as the run records it: without what may be secret.
	Filed plan.Plan
}

// Trials is the number of trials that the job asks for, noisy ones counted once.
func (j Job) Trials() int { return len(j.Programs) * j.Plan.Rounds }

// Run runs the job and files it in a new folder dir. It returns how many trials are
// invalid; the error is why the run could not be finished. Everything measured until
// then is on disk. No folder is made where nothing can be measured.
func (j Job) Run(ctx context.Context, dir string) (invalid int, err error) {
	certificate, err := j.certify()
	if err != nil {
		return 0, err
	}
	defer certificate.remove()
	there, err := carry(ctx, j.Lab, j.Programs, j.Swarms, certificate)
	if err != nil {
		return 0, err
	}
	manifest := j.manifest()
	results, err := folder.Create(dir, manifest)
	if err != nil {
		return 0, err
	}
	defer results.Close()
	invalid, err = j.trials(ctx, there, &manifest, results)
	manifest.Finished = new(time.Now().UTC())
	var ended *lab.EndedError
	switch {
	case ctx.Err() != nil, errors.As(err, &ended):
		manifest.State = record.StateInterrupted
	case err != nil:
		manifest.State = record.StateFailed
	default:
		manifest.State = record.StateFinished
	}
	if written := results.WriteManifest(manifest); err == nil {
		err = written
	}
	return invalid, err
}

// turn is a trial to come.
type turn struct {
	program int
	// repeats is the noisy trial that it is run in place of; 0: none.
	repeats int
}

// again is one more turn, due after a noisy trial that is not itself a repetition,
// unless noisy ones are kept. The host's state alone decides that, never a figure.
func (t turn) again(result record.Trial, keep bool) (next turn, due bool) {
	return turn{t.program, result.Trial}, result.Noisy && t.repeats == 0 && !keep
}

// keepNoisy is true where a trial is not worth its time again: noise disturbs times,
// which are not what the plan asks, or say nothing where CPUs are emulated.
func (j Job) keepNoisy(manifest *record.Manifest) bool {
	return j.Plan.KeepNoisy || manifest.Emulated()
}

// trials runs the rounds; noisy trials have one more turn at the end of theirs. The
// manifest's number of planned trials grows with them.
func (j Job) trials(ctx context.Context, there carried, manifest *record.Manifest, results *folder.Writer) (invalid int, err error) {
	var host hostState
	number := 0
	for round := 1; round <= j.Plan.Rounds; round++ {
		var turns []turn
		for _, i := range interleave(j.Programs, round, j.Plan.Seed) {
			turns = append(turns, turn{program: i})
		}
		for len(turns) > 0 {
			if ctx.Err() != nil {
				return invalid, ctx.Err()
			}
			if restored, err := j.Lab.Restore(ctx); err != nil {
				return invalid, fmt.Errorf("%w; %d of %d trials are filed", err, number, manifest.Planned)
			} else if restored {
				if there, err = carry(ctx, j.Lab, j.Programs, j.Swarms, there.certificate.issued); err != nil {
					return invalid, err
				}
			}
			now := turns[0]
			turns = turns[1:]
			number++
			program := j.Programs[now.program]
			j.Progress.Trial(number, manifest.Planned, program.Choice.String(), round)
			in := j.input(now.program, there)
			in.Record.Trial, in.Record.Round, in.Record.Repeats = number, round, now.repeats
			result, err := j.trial(ctx, in, &host, results)
			if err != nil {
				return invalid, err
			}
			if !result.Valid {
				invalid++
			}
			if err := j.Lab.Ended(ctx); err != nil {
				return invalid, err
			}
			again, due := now.again(result, j.keepNoisy(manifest))
			if due {
				turns = append(turns, again)
				manifest.Planned++
			}
			j.Progress.Done(result, due)
		}
	}
	return invalid, nil
}

// hostState is what a run knows of the server's host over all trials.
type hostState struct {
	spins
	recovery
}

// trial runs one trial and files it. A trial that cannot be filed ends at once: the
// error says why.
func (j Job) trial(ctx context.Context, in trial.Input, host *hostState, results *folder.Writer) (record.Trial, error) {
	within, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	in.Progress = j.Progress
	in.Sample = func(s record.Sample) {
		if err := results.AppendSample(s); err != nil {
			abort(err)
		}
	}
	in.Stderr = func(text string) { results.WriteStderr(in.Record.Trial, text) } // the trial itself says more
	server := j.Lab.Server.Host
	host.time(within, server)
	if warning := host.await(within, server, j.Target, func() {
		j.Progress.Phase("wait for the host to recover from an earlier trial", 0)
	}); warning != "" {
		in.Record.Warnings = append(in.Record.Warnings, warning)
	}
	result := trial.Run(within, in)
	host.time(within, server)
	host.judge(&result)
	result, err := results.AppendTrial(result)
	if unwritten := context.Cause(within); err == nil && ctx.Err() == nil {
		err = unwritten
	}
	return result, err
}

// input is the input of a program's trial, but for its numbers, its progress and its samples.
func (j Job) input(program int, there carried) trial.Input {
	p := j.Programs[program]
	switch {
	case j.Attached == nil:
		return inputOf(j.Plan, j.Lab, p, program, there, j.target(p), j.Processes)
	case p.Class != record.ClassAttached:
		return inputOf(j.Attached.Beside, j.Lab, p, program, there, j.Target, j.Processes)
	}
	in := inputOf(j.Plan, j.Lab, p, program, there, j.Target, j.Attached.Processes)
	session := j.Attached.Session
	session.SwarmPaths, session.Connections = there.swarms, j.Target
	in.Open, in.DescriptorsPerProcess = session.Open, 0 // its processes have limits of their own
	return in
}

// target is the number of connections of a program.
func (j Job) target(p variant.Program) int {
	if p.Device != "" && j.OwnTarget > 0 {
		return j.OwnTarget
	}
	return j.Target
}

// kernelEnds is the number of ends of a connection that the server's kernel holds.
func kernelEnds(l *lab.Lab, p plan.Plan, device string) (ends int) {
	if device == "" {
		ends++
	}
	if l.Shared && p.Client.Engine != control.EnginePacket {
		ends++
	}
	return ends
}

// serversOf is how many processes share a program's connections: one with a device has no
// descriptors that could run out, and its addresses lead to one device.
func serversOf(program variant.Program, processes int) int {
	if program.Device != "" {
		return 1
	}
	return processes
}

// inputOf is a trial's input, but for its numbers, its progress and its samples.
func inputOf(p plan.Plan, l *lab.Lab, program variant.Program, number int, there carried, target, servers int) trial.Input {
	hosts := processes.Hosts{Lab: l}
	servers = serversOf(program, servers)
	return trial.Input{
		Record: record.Trial{
			Variant: program.Name, Class: program.Class, Title: program.Title, Model: program.Model, Library: program.Library,
			Protocol: program.Protocol, Security: program.Secured, Compression: program.Compressed, Device: program.Device, Plan: p.Name, Lab: l.Name, Engine: p.Client.Engine,
			ServerProcesses: servers, ServerCPUs: l.ServerCPUs(), ClientCPUs: l.ClientCPUs(),
		},
		Plan: p, Target: target, SharedKernel: l.Shared,
		Topology: phase.Topology{
			ServerProcesses: servers, ServerCPUs: len(l.ServerCPUs()), ClientHosts: len(l.Clients),
			MostPerProcess:        program.Limits.MaxConnectionsPerProcess,
			DescriptorsPerProcess: hosts.DescriptorLimit(p.Server.OpenFiles),
			KernelEnds:            kernelEnds(l, p, program.Device),
		},
		Hosts: hosts,
		Open: processes.Session{
			Plan: p, Lab: l, Program: program, ServerPath: there.servers[number], SwarmPaths: there.swarms,
			Connections: target, Servers: servers, Certificate: there.certificate.path, Authority: there.certificate.issued.authority,
		}.Open,
	}
}

// interleave returns the order of programs in a round, by index. Two builds of a choice,
// which are neighbours in programs, run one after the other, so that whatever disturbs the
// host disturbs both alike. Which of the two runs first alternates from round to round.
func interleave(programs []variant.Program, round int, seed uint64) (sequence []int) {
	var groups [][]int
	for i, p := range programs {
		if i > 0 && variant.Present(programs[i-1].Name, programs[i-1].Commit) == p.Name && programs[i-1].Commit != p.Commit && programs[i-1].Class == p.Class {
			groups[len(groups)-1] = append(groups[len(groups)-1], i)
			continue
		}
		groups = append(groups, []int{i})
	}
	for _, i := range order(len(groups), round, seed) {
		group := groups[i]
		if round%2 == 0 {
			slices.Reverse(group)
		}
		sequence = append(sequence, group...)
	}
	return sequence
}

// order is the sequence of variants in a round: a shuffle of the seed for the
// first, and each further round begins one later, so that no variant always
// follows the same other or always comes first.
func order(n, round int, seed uint64) []int {
	shuffled := rand.New(rand.NewPCG(seed, 0)).Perm(n)
	turn := (round - 1) % n
	return append(shuffled[turn:], shuffled[:turn]...)
}

// carried are the paths of programs on their hosts: of the servers in the order of the
// programs, and of the swarm on each client host.
type carried struct {
	servers, swarms []string
	certificate     struct {
		path   string // on the server's host; "" without TLS
		issued issued
	}
}

// carriesAtOnce is to how many hosts the swarm travels at a time: each takes a few
// megabytes of our memory, and all share our network.
const carriesAtOnce = 16

// carry brings the programs to their hosts, and the certificate to the server's.
func carry(ctx context.Context, l *lab.Lab, programs []variant.Program, swarmsHere []string, c issued) (there carried, err error) {
	if there.certificate.issued = c; c.file != "" {
		if there.certificate.path, err = l.Server.Agent.Carry(ctx, c.file); err != nil {
			return there, fmt.Errorf("carrying the certificate to the server host: %w", err)
		}
	}
	for _, program := range programs {
		if program.Class == record.ClassAttached {
			there.servers = append(there.servers, "") // it runs already
			continue
		}
		path, err := l.Server.Agent.Carry(ctx, program.Path)
		if err != nil {
			return there, fmt.Errorf("carrying %s to the server host: %w", program.Choice, err)
		}
		there.servers = append(there.servers, path)
	}
	there.swarms = make([]string, len(l.Clients))
	turns := make(chan struct{}, carriesAtOnce)
	err = lab.Together(len(l.Clients), func(i int) (err error) {
		turns <- struct{}{}
		defer func() { <-turns }()
		client := l.Clients[i]
		if there.swarms[i], err = client.Agent.Carry(ctx, swarmsHere[i]); err != nil {
			return fmt.Errorf("carrying the swarm to host %s: %w", client.Facts.Name, err)
		}
		return nil
	})
	return there, err
}

func (j Job) manifest() record.Manifest {
	m := record.Manifest{
		Title: j.Plan.Title, Started: time.Now().UTC(), State: record.StateRunning,
		Command: j.Command, Seed: j.Plan.Seed, Plan: j.Plan, Lab: j.Lab.Name, LabKind: j.Lab.Kind, SharedKernel: j.Lab.Shared,
		Limit: j.Limit, Planned: j.Trials(), Modules: j.modules(), Connbench: version.Own(), GoVersion: version.Go(),
	}
	if j.Attached != nil {
		m.Plan = j.Attached.Filed
	}
	for _, host := range j.Lab.Hosts() {
		m.Hosts = append(m.Hosts, host.Facts)
		for _, warning := range host.Warnings {
			m.Warnings = append(m.Warnings, host.Facts.Name+": "+warning)
		}
	}
	if there := j.Lab.Server.Facts.Architecture; there != runtime.GOARCH {
		m.Warnings = append(m.Warnings, fmt.Sprintf("the gate examined the servers as built for %s; those that are measured are built for %s", runtime.GOARCH, there))
	}
	for _, p := range j.Programs {
		m.Variants = append(m.Variants, j.described(p, true))
	}
	for _, p := range j.Failing {
		m.Variants = append(m.Variants, j.described(p, false))
	}
	return m
}

func (j Job) described(p variant.Program, conforms bool) record.Variant {
	class := p.Classes[p.Class]
	if p.Class == record.ClassAttached {
		return record.Variant{Name: p.Name, Class: p.Class, Title: p.Title, Model: p.Model, Settings: class.Settings, Run: class.Run, Protocol: p.Protocol, Security: p.Secured}
	}
	return record.Variant{
		Name: p.Name, Class: p.Class, Title: p.Title, Model: p.Model, Library: p.Library, WebSocket: p.WebSocket,
		Language: p.Language, Waives: gate.Waivers(p), Settings: class.Settings, Build: class.Build, Run: class.Run,
		Commit: p.Commit, Go: p.Go, Protocol: p.Protocol, Security: p.Secured, Compression: p.Compressed, Device: p.Device, SHA256: p.SHA256, Environment: processes.Environment(j.Plan, len(j.Lab.Server.CPUs)), Conforms: &conforms,
	}
}

// modules are the versions of what the Go programs are built from, as the
// linker noted them in each; programs in other languages have no such note.
func (j Job) modules() map[string]string {
	versions := map[string]string{}
	paths := slices.Clone(j.Swarms)
	for _, p := range j.Programs {
		if p.Path != "" {
			paths = append(paths, p.Path)
		}
	}
	for _, path := range paths {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			continue
		}
		for _, module := range info.Deps {
			versions[module.Path] = module.Version
		}
	}
	return versions
}
