package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"connbench/harness/agent"
	"connbench/harness/lab"
	"connbench/harness/plan"
	"connbench/harness/variant"
	"connbench/servers/contract"
)

// answerTimeout bounds a server's answer to a question: a collection over a full
// heap, on a host that is busy, takes seconds.
const answerTimeout = 60 * time.Second

// fleet is the server under test: one process, or several of the same program
// where one may not hold enough descriptors, each on its own port.
type fleet struct {
	processes []*agent.Process
	// addresses are those listened on, over all processes.
	addresses []string
}

// startFleet starts count processes, whose messages take workUS microseconds of
// CPU each, and waits until all of them listen.
func startFleet(ctx context.Context, host lab.Server, p plan.Plan, program variant.Program, path string, count, workUS int) (*fleet, error) {
	ctx, cancel := context.WithTimeout(ctx, plan.Seconds(p.Server.ReadySeconds))
	defer cancel()
	f := &fleet{}
	for i := range count {
		port := 0
		if p.Server.Port > 0 {
			port = p.Server.Port + i*p.Server.Ports
		}
		process, err := host.Agent.Start(ctx, agent.Start{
			Command:     confined(p.Server.OpenFiles, append(program.CommandAt(path), options(host, p, program, port, workUS).Args()...)),
			Environment: Environment(p, len(host.CPUs)),
			CPUs:        host.CPUs,
			Grouped:     true,
		})
		if err != nil {
			return f, err
		}
		f.processes = append(f.processes, process)
	}
	for _, process := range f.processes {
		ready, err := awaitReady(ctx, process)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("was not ready within %g s", p.Server.ReadySeconds)
		}
		if err != nil {
			return f, err
		}
		f.addresses = append(f.addresses, ready.Addresses...)
	}
	return f, nil
}

func options(host lab.Server, p plan.Plan, program variant.Program, port, workUS int) contract.Options {
	o := contract.Options{
		MaxMessage: p.Server.MaxMessageBytes,
		Backlog:    p.Server.Backlog,
		Loops:      len(host.CPUs),
		Class:      program.Class,

		WorkMicroseconds: workUS,
	}
	for _, address := range host.Addresses {
		for i := range p.Server.Ports {
			next := port
			if port > 0 {
				next += i
			}
			o.Listen = append(o.Listen, net.JoinHostPort(address, strconv.Itoa(next)))
		}
	}
	return o
}

// confined is a command that gets so many descriptors, and no more; 0: as many as
// the host's limit allows. A shell sets the limit, since no program can be trusted
// to keep one that is set while it starts: Go raises its soft limit.
func confined(openFiles int, command []string) []string {
	if openFiles == 0 {
		return command
	}
	return append([]string{"sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(openFiles)}, command...)
}

// Environment is what the harness sets for every server alike.
func Environment(p plan.Plan, cpus int) map[string]string {
	env := map[string]string{
		"GOGC":       strconv.Itoa(p.Server.GOGC),
		"GOMAXPROCS": strconv.Itoa(cpus),
	}
	if p.Server.MemoryLimitBytes > 0 {
		env["GOMEMLIMIT"] = strconv.FormatInt(p.Server.MemoryLimitBytes, 10)
	}
	return env
}

func awaitReady(ctx context.Context, process *agent.Process) (contract.Ready, error) {
	for {
		select {
		case line, ok := <-process.Lines:
			if !ok {
				<-process.Exited()
				return contract.Ready{}, fmt.Errorf("ended before it was ready: %s", process.Exit())
			}
			var ready contract.Ready
			if json.Unmarshal([]byte(line), &ready) == nil && ready.Ready {
				return ready, nil
			}
		case <-ctx.Done():
			return contract.Ready{}, ctx.Err()
		}
	}
}

// ask puts a question to every process at once and adds the answers up. A figure
// that one process leaves out is left out of the sum.
func (f *fleet) ask(ctx context.Context, question string) (contract.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answers := make([]contract.Stats, len(f.processes))
	failed := make([]error, len(f.processes))
	var all sync.WaitGroup
	for i, process := range f.processes {
		all.Go(func() { answers[i], failed[i] = ask(ctx, process, question) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return contract.Stats{}, err
	}
	sum := answers[0]
	for _, a := range answers[1:] {
		sum.Connections += a.Connections
		sum.HeapInUseBytes = add(sum.HeapInUseBytes, a.HeapInUseBytes)
		sum.HeapLiveBytes = add(sum.HeapLiveBytes, a.HeapLiveBytes)
		sum.StackBytes = add(sum.StackBytes, a.StackBytes)
		sum.Goroutines = add(sum.Goroutines, a.Goroutines)
		sum.GCCycles = add(sum.GCCycles, a.GCCycles)
		sum.GCPauseSeconds = add(sum.GCPauseSeconds, a.GCPauseSeconds)
		sum.GCCPUSeconds = add(sum.GCCPUSeconds, a.GCCPUSeconds)
		sum.UserSeconds = add(sum.UserSeconds, a.UserSeconds)
		sum.SystemSeconds = add(sum.SystemSeconds, a.SystemSeconds)
	}
	return sum, nil
}

func ask(ctx context.Context, process *agent.Process, question string) (contract.Stats, error) {
	var stats contract.Stats
	if err := process.Write(ctx, question); err != nil {
		return stats, err
	}
	select {
	case line, ok := <-process.Lines:
		if !ok {
			<-process.Exited()
			return stats, fmt.Errorf("server ended: %s", process.Exit())
		}
		if err := json.Unmarshal([]byte(line), &stats); err != nil {
			return stats, fmt.Errorf("server answered %q to %s, not the JSON of the contract", line, question)
		}
		return stats, nil
	case <-ctx.Done():
		return stats, fmt.Errorf("server did not answer %s: %w", question, ctx.Err())
	}
}

// ended says how the first process that has ended did so, "" while all live.
func (f *fleet) ended() string {
	for i, process := range f.processes {
		select {
		case <-process.Exited():
			return fmt.Sprintf("server process %d of %d ended: %s", i+1, len(f.processes), process.Exit())
		default:
		}
	}
	return ""
}

// awaitNews waits a moment for the end of a process to be told: whoever measures
// or asks a server that dies notices before its exit status is known.
func (f *fleet) awaitNews() {
	for deadline := time.Now().Add(3 * time.Second); f.ended() == "" && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
}

// stop ends the processes as the contract says, and kills those that do not
// listen. It returns when none is left.
func (f *fleet) stop(ctx context.Context) {
	for _, process := range f.processes {
		process.CloseInput(ctx) // one that has ended already is what we want
	}
	end(ctx, f.processes)
}

// end waits for processes whose input has ended, and kills what does not end.
func end(ctx context.Context, processes []*agent.Process) {
	deadline := time.After(20 * time.Second)
	for _, process := range processes {
		select {
		case <-process.Exited():
			continue
		case <-deadline:
		case <-ctx.Done():
		}
		process.Kill(context.WithoutCancel(ctx))
		<-process.Exited()
	}
}

func add[T int64 | float64](a, b *T) *T {
	if a == nil || b == nil {
		return nil
	}
	sum := *a + *b
	return &sum
}
