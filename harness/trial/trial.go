// Package trial measures one variant once: a fresh server, an idle baseline, a
// ramp in steps, a hold, a census, loads, a close, and a second ramp of a
// settled server. It always returns a record, of whatever it could measure.
package trial

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"connbench/clients/control"
	"connbench/harness/lab"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/variant"
	"connbench/servers/contract"
)

// Input is what a trial needs to know.
type Input struct {
	Plan    plan.Plan
	Lab     *lab.Lab
	Program variant.Program
	// ServerPath and SwarmPaths are the programs on their hosts; the latter in
	// the order of Lab.Clients.
	ServerPath string
	SwarmPaths []string
	// Target is the number of connections, ServerProcesses how many share them.
	Target          int
	ServerProcesses int
	// Trial and Round number it within the run; Repeats is the noisy trial that
	// it is run in place of, 0: none.
	Trial, Round, Repeats int
	// SpinSeconds is the fastest calibration spin of the run so far; a trial
	// lowers it when it is faster.
	SpinSeconds *float64
	// Rest is the host's, over the run.
	Rest *Rest

	Progress Progress
	// Sample takes one reading; it is called from another goroutine.
	Sample func(record.Sample)
}

// Progress is told what a trial does, for people to watch.
type Progress interface {
	// Phase begins; seconds is how long it will take, 0 where that depends.
	Phase(name string, seconds float64)
	// Update tells the number of open connections, and of messages in this phase.
	Update(open int, messages int64)
}

// Run measures. When ctx ends the record says so and holds what there is.
func Run(ctx context.Context, in Input) record.Trial {
	r := &run{Input: in, started: time.Now()}
	p, v := in.Plan, in.Program
	r.record = record.Trial{
		Schema: record.Schema, Trial: in.Trial, Round: in.Round, Repeats: in.Repeats,
		Variant: v.Name, Class: v.Class, Title: v.Title, Model: v.Model, Library: v.Library,
		Plan: p.Name, Lab: in.Lab.Name, Engine: p.Client.Engine, Started: r.started.UTC(),
		ServerProcesses: in.ServerProcesses, ServerCPUs: in.Lab.Server.CPUs, ClientCPUs: in.Lab.ClientCPUs(),
		Connections: record.Connections{Target: in.Target},
		Fits:        map[string]record.Fit{},
	}
	r.spin(ctx)
	r.natural(ctx)
	if p.Ramp.Settled && len(r.record.Invalid) == 0 && ctx.Err() == nil {
		r.settled(ctx)
	}
	if len(p.Complexity.WorkUS) > 0 && r.record.Connections.Reached > 0 && len(r.record.Invalid) == 0 && ctx.Err() == nil {
		r.complexity(ctx)
	}
	r.spin(ctx)
	r.conclude()
	return r.record
}

// run is a trial under way.
type run struct {
	Input
	started time.Time
	record  record.Trial

	fleet *fleet
	swarm *swarm
	meter meter
	// further are the meters of the servers that complexity started.
	further []meter
	watch   *watch

	rampResult control.Result
	spins      []float64
}

// warn notes what a reader must know of figures that stand.
func (r *run) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, said := range r.record.Warnings {
		if said == text {
			return
		}
	}
	r.record.Warnings = append(r.record.Warnings, text)
}

// invalidate notes why the figures must not be used.
func (r *run) invalidate(format string, args ...any) {
	r.record.Invalid = append(r.record.Invalid, fmt.Sprintf(format, args...))
}

func (r *run) spin(ctx context.Context) {
	seconds, err := r.Lab.Server.Agent.Spin(ctx)
	if err != nil {
		return // a host that is gone shows in every other figure
	}
	r.spins = append(r.spins, seconds)
	if *r.SpinSeconds == 0 || seconds < *r.SpinSeconds {
		*r.SpinSeconds = seconds
	}
}

// open starts a fresh fleet, whose messages take it workUS microseconds of CPU
// each, and a swarm for it.
func (r *run) open(ctx context.Context, workUS int) error {
	var err error
	r.fleet, err = startFleet(ctx, r.Lab.Server, r.Plan, r.Program, r.ServerPath, r.ServerProcesses, workUS)
	if err != nil {
		return fmt.Errorf("server %s: %w", r.Program.Choice, err)
	}
	r.meter = meter{ctx: ctx, host: r.Lab.Server.Agent, fleet: r.fleet}
	r.swarm, err = startSwarm(ctx, r.Lab.Clients, r.SwarmPaths, r.Plan.Client.OpenFiles, control.Config{
		Engine: r.Plan.Client.Engine, Targets: r.fleet.addresses,
		FirstPort: r.Plan.Client.FirstPort, LastPort: r.Plan.Client.LastPort, Processes: r.Plan.Client.Processes,
		Connections: r.Target, Seed: r.Plan.Seed,
	})
	if err != nil {
		return err
	}
	r.swarm.onProgress = r.Progress.Update
	return nil
}

// command has the swarm carry out a command.
func (r *run) command(ctx context.Context, c control.Command) (control.Result, error) {
	result, err := r.swarm.do(ctx, c)
	r.meter.swarmSeconds += result.Usage.UserSeconds + result.Usage.SystemSeconds
	return result, err
}

// shut ends swarm and fleet, also when ctx has ended.
func (r *run) shut(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	if r.swarm != nil {
		r.swarm.stop(ctx)
	}
	if r.fleet != nil {
		r.fleet.stop(ctx)
	}
	r.swarm, r.fleet = nil, nil
}

// Rest is how the server's host is between the trials of a run, as far as trials
// disturb each other; a run begins with the zero value.
type Rest struct {
	// AvailableBytes is the most MemAvailable at the beginning of a trial, Orphans
	// how many TCP sockets without a process there are anyway.
	AvailableBytes, Orphans int64
}

const (
	// restPatience is how long the kernel may take over what an earlier trial left:
	// it gives up a FIN that nobody acknowledges after eight retries, 102 s from a
	// timeout of 200 ms (tcp_orphan_retries in ip-sysctl.rst). restStuck is how long
	// nothing may change before we take it as it is.
	restPatience = 3 * time.Minute
	restStuck    = 15 * time.Second
	// restShare of the most available memory must be there again.
	restShare = 0.98
)

// awaitRest waits until the host has got over the trial before: until its memory is
// free again, and sockets have ended that a killed swarm left. Both give memory back
// while the ramp takes it, which then seems to take less, or finds less to take.
func (r *run) awaitRest(ctx context.Context) {
	start := time.Now()
	changed, said := start, false
	least, most := int64(math.MaxInt64), int64(0)
	for {
		measured, err := r.Lab.Server.Agent.Measure(ctx, nil, false)
		orphans, available := measured.System.Sockets.Orphans, measured.System.Memory.Available
		if err != nil || orphans == nil || available == nil {
			return
		}
		if r.Rest.rested(*orphans, *available, r.Target) {
			r.Rest.AvailableBytes = max(r.Rest.AvailableBytes, *available)
			return
		}
		if *orphans < least || *available > most+1<<20 {
			changed = time.Now()
		}
		least, most = min(least, *orphans), max(most, *available)
		if time.Since(changed) > restStuck || time.Since(start) > restPatience {
			r.warn("the host did not get over what came before: %d TCP sockets have no process, and %d bytes of memory are available, where it was %d",
				*orphans, *available, r.Rest.AvailableBytes)
			*r.Rest = Rest{AvailableBytes: *available, Orphans: *orphans}
			return
		}
		if !said {
			r.Progress.Phase("wait for what an earlier trial has left to go", 0)
			said = true
		}
		if sleep(ctx, 1) != nil {
			return
		}
	}
}

// rested says that what is left does not show beside the target.
func (rest Rest) rested(orphans, available int64, target int) bool {
	return orphans <= rest.Orphans+int64(target/1000+10) &&
		float64(available) >= restShare*float64(rest.AvailableBytes)
}

// natural is the trial proper: the server as it runs, its garbage its own affair.
func (r *run) natural(ctx context.Context) {
	r.awaitRest(ctx)
	r.Progress.Phase("start", 0)
	defer r.shut(ctx)
	if err := r.open(ctx, 0); err != nil {
		r.fail(ctx, err)
		return
	}
	r.watch = startWatch(ctx, r)
	defer r.watch.stop()

	for _, phase := range []struct {
		name    string
		leftOut bool
		while   float64 // 0: as long as it takes
		run     func(context.Context) error
	}{
		{"ramp", false, 0, r.ramp},
		{"hold", r.Plan.Hold.Seconds == 0, r.Plan.Hold.Seconds, r.hold},
		{"census", false, 0, r.census},
		{"ping", r.Plan.Ping.Seconds == 0, r.Plan.Ping.Seconds, r.ping},
		{"echo", r.Plan.Echo.Seconds == 0, r.Plan.Echo.WarmupSeconds + r.Plan.Echo.Seconds, r.echo},
		{"sweep", len(r.Plan.Sweep.RatesPerSecond) == 0, r.Plan.Sweep.Duration(), r.sweep},
		{"saturate", r.Plan.Saturate.Seconds == 0, r.Plan.Saturate.WarmupSeconds + r.Plan.Saturate.Seconds, r.saturate},
		{"close", false, 0, r.close},
	} {
		if phase.leftOut {
			continue
		}
		r.enter(phase.name, phase.while)
		if err := phase.run(ctx); err != nil {
			r.fail(ctx, fmt.Errorf("%s: %w", phase.name, err))
			return
		}
	}
}

func (r *run) enter(phase string, seconds float64) {
	r.watch.setPhase(phase)
	r.Progress.Phase(phase, seconds)
}

// fail records why a trial could not go on. Where the ramp had not ended yet,
// that is its stop reason too.
func (r *run) fail(ctx context.Context, err error) {
	reason := ""
	if r.fleet != nil && ctx.Err() == nil {
		r.fleet.awaitNews()
	}
	switch {
	case ctx.Err() != nil:
		reason, err = record.ReasonInterrupted, errors.New("interrupted")
	case r.fleet != nil && r.fleet.ended() != "":
		reason, err = record.ReasonServerDied, fmt.Errorf("%w (%s)", err, r.fleet.ended())
	case errors.Is(err, errSwarmEnded):
		reason = record.ReasonClientDied
	}
	if r.record.Stop.Reason == "" {
		stop := record.Stop{Reason: reason, Evidence: []string{err.Error()}}
		counters := r.countersOfFailure(ctx)
		switch kills := counters.server["oom_kill"]; {
		case reason == "":
			stop.Reason = record.ReasonUnknown
			stop.Evidence = append(stop.Evidence, counters.all()...)
		case kills > 0 && (reason == record.ReasonServerDied || reason == record.ReasonClientDied):
			stop.Reason = record.ReasonMemory
			stop.Evidence = append(stop.Evidence, fmt.Sprintf("the kernel killed %d processes for want of memory (oom_kill)", kills))
		}
		stop.Counters = counters.server
		r.record.Stop = stop
	}
	r.invalidate("%v", err)
}

// countersOfFailure are those that changed on the server's host since the first
// reading of it; none where there was none, or the host cannot be asked any more.
func (r *run) countersOfFailure(ctx context.Context) evidence {
	if r.meter.first == nil || ctx.Err() != nil {
		return evidence{}
	}
	now, err := r.Lab.Server.Agent.Measure(ctx, nil, true)
	if err != nil {
		return evidence{}
	}
	return evidence{server: now.System.Since(r.meter.first.measured.System, nil).Counters}
}

// ramp opens the connections step by step, and measures between the steps.
func (r *run) ramp(ctx context.Context) error {
	if err := r.step(ctx, &r.record.Steps, 0, r.meter.read); err != nil {
		return err
	}
	before, elsewhere := r.meter.last, r.readElsewhere(ctx)
	results := []control.Result{}
	open := 0
	for target := range r.points() {
		if err := r.meter.begin("ramp"); err != nil {
			return err
		}
		result, err := r.command(ctx, r.rampTo(target))
		if err != nil {
			return err
		}
		// Also of a server that dies in this step, and takes all connections along.
		r.record.Connections.Peak = max(result.Open, open+result.Opened)
		open = result.Open
		if _, err := r.meter.end(int64(result.Opened), result.Usage); err != nil {
			return err
		}
		results = append(results, result)
		if err := r.step(ctx, &r.record.Steps, open, r.meter.read); err != nil {
			return err
		}
		if open < target || r.watch.reserveReached() > 0 {
			break
		}
	}
	var err error
	if r.rampResult, err = inTurn(results); err != nil {
		return err
	}
	r.describeRamp(results)
	r.describeBudget()
	r.record.Stop = r.attribute(r.gather(ctx, before, elsewhere))
	return nil
}

func (r *run) rampTo(connections int) control.Command {
	return control.Command{
		Op: control.OpRamp, Connections: connections,
		Window: r.Plan.Ramp.Window, RatePerSecond: r.Plan.Ramp.RatePerSecond,
		TimeoutSeconds: r.Plan.Ramp.TimeoutSeconds,
	}
}

// points are the numbers of connections at which the ramp pauses. Each is asked for
// when the one before has been measured.
func (r *run) points() iter.Seq[int] {
	if r.Plan.BudgetBytes > 0 {
		return r.budgetPoints()
	}
	return func(yield func(int) bool) {
		for i := range r.Plan.Ramp.Steps {
			if !yield(r.Target * (i + 1) / r.Plan.Ramp.Steps) {
				return
			}
		}
	}
}

func (r *run) describeRamp(steps []control.Result) {
	result := r.rampResult
	c := &r.record
	c.Connections.Peak = result.Open
	c.ClientProcesses = result.Processes
	c.Ramp = record.Ramp{Seconds: result.Seconds, Handshake: r.latency(result.Latency)}
	if result.Seconds > 0 {
		c.Ramp.ConnectsPerSecond = new(float64(result.Opened) / result.Seconds)
	}
	if len(steps) > 1 {
		c.Ramp.FirstPerSecond = tenth(slices.Values(steps), result.Opened)
		c.Ramp.LastPerSecond = tenth(backward(steps), result.Opened)
	}
	if result.Opened > 0 {
		cpu := result.Usage.UserSeconds + result.Usage.SystemSeconds
		c.Client.ConnectCPUUS = new(cpu / float64(result.Opened) * 1e6)
	}
	if result.Lost > 0 {
		r.warn("%d connections were lost during the ramp", result.Lost)
	}
}

// tenth is the rate of connects over the first of the steps, as few as hold a tenth
// of all that were opened; nil where they took no time.
func tenth(steps iter.Seq[control.Result], all int) *float64 {
	opened, seconds := 0, 0.0
	for step := range steps {
		opened += step.Opened
		seconds += step.Seconds
		if opened*10 >= all {
			break
		}
	}
	if opened == 0 || seconds == 0 {
		return nil
	}
	return new(float64(opened) / seconds)
}

func backward(steps []control.Result) iter.Seq[control.Result] {
	return func(yield func(control.Result) bool) {
		for _, step := range slices.Backward(steps) {
			if !yield(step) {
				return
			}
		}
	}
}

// step waits until nothing moves, then takes one point of a ramp by read.
func (r *run) step(ctx context.Context, steps *[]record.Step, open int, read func() (reading, error)) error {
	if err := sleep(ctx, r.Plan.Ramp.PauseSeconds); err != nil {
		return err
	}
	reading, err := read()
	if err != nil {
		return err
	}
	*steps = append(*steps, pointOf(reading, open))
	return nil
}

// hold keeps the connections open and idle.
func (r *run) hold(ctx context.Context) error {
	if err := r.meter.begin("hold"); err != nil {
		return err
	}
	result, err := r.command(ctx, control.Command{Op: control.OpHold, Seconds: r.Plan.Hold.Seconds})
	if err != nil {
		return err
	}
	phase, err := r.meter.end(0, result.Usage)
	r.record.Idle = record.Idle{Seconds: phase.Seconds, Lost: result.Lost}
	if phase.ServerCPUSeconds != nil {
		r.record.CPU.IdleCores = new(*phase.ServerCPUSeconds / phase.Seconds)
	}
	if result.Lost > 0 {
		r.warn("%d connections were lost while idle", result.Lost)
	}
	return err
}

// census has every connection answer one message, and counts them three times.
func (r *run) census(ctx context.Context) error {
	if err := r.meter.begin("census"); err != nil {
		return err
	}
	result, err := r.command(ctx, control.Command{
		Op: control.OpCensus, PayloadBytes: censusPayload, TimeoutSeconds: max(30, r.Plan.Ramp.TimeoutSeconds),
	})
	if err != nil {
		return err
	}
	if _, err := r.meter.end(result.Delivered, result.Usage); err != nil {
		return err
	}
	r.clientMemory(result.Usage) // a plan may have no load, but it has this
	c := &r.record.Connections
	c.Reached = int(result.Delivered)
	c.Census = record.Census{Swarm: &result.Delivered, Server: new(r.meter.last.stats.Connections)}
	if empty, full := r.record.Steps[0].Descriptors, r.meter.last.descriptors(); empty != nil && full != nil {
		c.Census.Kernel = new(*full - *empty)
	} else {
		r.warn("the kernel's count of the server's descriptors could not be read")
	}
	if *c.Census.Server != *c.Census.Swarm || c.Census.Kernel != nil && *c.Census.Kernel != *c.Census.Swarm {
		r.invalidate("census: %d connections answered the swarm, the server counts %d, the kernel %s",
			*c.Census.Swarm, *c.Census.Server, number(c.Census.Kernel))
	}
	if result.Corrupt > 0 {
		r.invalidate("census: %d answers were not what had been sent", result.Corrupt)
	}
	return nil
}

// censusPayload is the census message's size: small, but with a checked payload.
const censusPayload = 16

// echo offers messages at a rate, over all connections in turn.
func (r *run) echo(ctx context.Context) error {
	return r.load(ctx, "echo", r.Plan.Echo, &r.record.Echo, control.Command{
		Op: control.OpEcho, RatePerSecond: r.Plan.Echo.RatePerSecond,
	})
}

// ping offers keepalive pings, over all connections in turn.
func (r *run) ping(ctx context.Context) error {
	load := r.Plan.Ping.At(r.record.Connections.Reached)
	return r.load(ctx, "ping", load, &r.record.Ping, control.Command{Op: control.OpPing, RatePerSecond: load.RatePerSecond})
}

// keptShare is the share of the offered messages that must come back for a load to
// count as kept.
const keptShare = 0.99

// lost says why a load does not count as kept, "" where it does.
func lost(l record.Load, p99LimitUS float64) string {
	late := l.P99US > p99LimitUS
	short := l.OfferedPerSecond != nil && l.DeliveredPerSecond < keptShare**l.OfferedPerSecond
	switch {
	case (late || short) && l.ClientBound:
		return record.KeptClient
	case late:
		return record.KeptLatency
	case short:
		return record.KeptDelivery
	}
	return ""
}

// sweep offers rising rates until one is not kept.
func (r *run) sweep(ctx context.Context) error {
	sweep := &record.Sweep{P99LimitUS: r.Plan.Sweep.P99US, Loads: []record.Load{}}
	r.record.Sweep = sweep
	for _, rate := range r.Plan.Sweep.RatesPerSecond {
		var at *record.Load
		err := r.load(ctx, "sweep", r.Plan.Sweep.At(rate), &at, control.Command{Op: control.OpEcho, RatePerSecond: rate})
		if at != nil {
			sweep.Loads = append(sweep.Loads, *at)
		}
		if err != nil || at == nil {
			return err
		}
		if lost(*at, sweep.P99LimitUS) != "" {
			return nil
		}
		sweep.KneePerSecond = &rate
	}
	return nil
}

// saturate keeps a number of messages outstanding.
func (r *run) saturate(ctx context.Context) error {
	return r.load(ctx, "saturate", r.Plan.Saturate, &r.record.Saturate, control.Command{
		Op: control.OpSaturate, InFlight: r.Plan.Saturate.InFlight,
	})
}

func (r *run) load(ctx context.Context, name string, load plan.Load, into **record.Load, command control.Command) error {
	if r.record.Connections.Reached == 0 {
		r.warn("no %s: no connection was open", name)
		return nil
	}
	command.PayloadBytes = load.PayloadBytes
	command.TimeoutSeconds = r.Plan.Ramp.TimeoutSeconds
	if load.WarmupSeconds > 0 {
		command.Seconds = load.WarmupSeconds
		if _, err := r.command(ctx, command); err != nil {
			return err
		}
	}
	command.Seconds = load.Seconds
	if err := r.meter.begin(name); err != nil {
		return err
	}
	result, err := r.command(ctx, command)
	if err != nil {
		return err
	}
	phase, err := r.meter.end(result.Delivered, result.Usage)
	*into = r.loadOf(name, command, result, phase) // what the swarm saw stands, also without the server's share
	return err
}

// close ends all connections and looks at what is left of them.
func (r *run) close(ctx context.Context) error {
	begun := time.Now()
	if err := r.meter.begin("close"); err != nil {
		return err
	}
	result, err := r.command(ctx, control.Command{Op: control.OpClose, TimeoutSeconds: max(30, r.Plan.Ramp.TimeoutSeconds)})
	if err != nil {
		return err
	}
	if _, err := r.meter.end(int64(result.Closed), result.Usage); err != nil {
		return err
	}
	r.record.Client.StateBytesPerConnection = result.Usage.StateBytesPerConnection
	if err := r.awaitEmpty(ctx, begun); err != nil {
		return err
	}
	left, err := r.meter.read()
	if err != nil {
		return err
	}
	settled, err := r.meter.settle()
	if err != nil {
		return err
	}
	r.record.After.RSSBytes = left.rss()
	r.record.After.RSSSettledBytes = settled.rss()
	r.record.After.KernelBytes = settled.measured.System.KernelBytes()
	if r.record.After.TimeWait, err = r.timeWait(ctx); err != nil {
		return err
	}
	empty := r.record.Steps[0]
	if now := settled.descriptors(); now != nil && empty.Descriptors != nil {
		r.record.After.Descriptors = new(*now - *empty.Descriptors)
	}
	if now := settled.stats.Goroutines; now != nil && empty.Goroutines != nil {
		r.record.After.Goroutines = new(*now - *empty.Goroutines)
	}
	return nil
}

// timeWait counts sockets in TIME_WAIT on all hosts; nil where one cannot tell.
func (r *run) timeWait(ctx context.Context) (*int64, error) {
	sum := new(int64)
	for _, host := range r.Lab.Hosts() {
		m, err := host.Agent.Measure(ctx, nil, false)
		if err != nil {
			return nil, err
		}
		sum = add(sum, m.System.Sockets.TimeWait)
	}
	return sum, nil
}

// awaitEmpty asks the server until it counts no connection any more.
func (r *run) awaitEmpty(ctx context.Context, begun time.Time) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		stats, err := r.fleet.ask(ctx, contract.QuestionStats)
		if err != nil {
			return err
		}
		if stats.Connections == 0 {
			r.record.After.CloseSeconds = new(time.Since(begun).Seconds())
			return nil
		}
		if time.Now().After(deadline) {
			r.warn("30 s after the close the server still counted %d connections", stats.Connections)
			return nil
		}
		if err := sleep(ctx, 0.02); err != nil {
			return err
		}
	}
}

// settled is the second ramp, against a fresh server that settles before each
// point: what the connections need when all garbage is gone.
func (r *run) settled(ctx context.Context) {
	r.Progress.Phase("settled ramp", 0)
	natural := r.meter
	defer func() { r.meter = natural }()
	defer r.shut(ctx)
	if err := r.settledRamp(ctx); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		r.warn("no settled figures: %v", err)
		r.record.SettledSteps = nil
	}
}

func (r *run) settledRamp(ctx context.Context) error {
	if err := r.open(ctx, 0); err != nil {
		return err
	}
	r.watch = startWatch(ctx, r)
	defer r.watch.stop()
	r.watch.setPhase("settled ramp")
	reached := r.record.Connections.Reached
	for i := range r.Plan.Ramp.Steps + 1 {
		target := reached * i / r.Plan.Ramp.Steps
		open := 0
		if i > 0 {
			result, err := r.command(ctx, r.rampTo(target))
			if err != nil {
				return err
			}
			if open = result.Open; open < target {
				return fmt.Errorf("the second ramp ended at %d of %d connections", open, target)
			}
		}
		if err := r.step(ctx, &r.record.SettledSteps, open, r.meter.settle); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits, or returns why it must not.
func sleep(ctx context.Context, seconds float64) error {
	select {
	case <-time.After(plan.Seconds(seconds)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func number(n *int64) string {
	if n == nil {
		return "unknown"
	}
	return fmt.Sprint(*n)
}
