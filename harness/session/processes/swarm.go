package processes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/agent/children"
	"connbench/harness/lab"
	"connbench/harness/plan"
	"connbench/harness/session"
)

// swarm drives the swarm programs of all client hosts in step, as one.
type swarm struct {
	hosts []*swarmHost

	lock       sync.Mutex
	onProgress func(open int, messages int64)
}

type swarmHost struct {
	name     string
	process  *agent.Process
	open     int
	messages int64
}

// longestResult is the longest line of a swarm, in bytes: a result has the histogram of
// latencies.
const longestResult = 1 << 20

// startSwarm starts and configures one swarm program on each client host. openFiles is the
// limit of open files of each of its processes; 0 is the host's.
func startSwarm(ctx context.Context, clients []lab.Client, paths []string, openFiles int, config control.Config) (*swarm, error) {
	s := &swarm{onProgress: func(int, int64) {}}
	started := make([]*agent.Process, len(clients))
	err := lab.Together(len(clients), func(i int) (err error) {
		started[i], err = clients[i].Agent.Start(ctx, children.Start{
			Command: confined(openFiles, []string{paths[i]}), CPUs: clients[i].CPUs, LongestLine: longestResult,
		})
		return err
	})
	for i, process := range started {
		if process != nil {
			s.hosts = append(s.hosts, &swarmHost{name: clients[i].Facts.Name, process: process})
		}
	}
	if err != nil {
		return s, &session.StartError{Err: err}
	}
	_, err = s.each(ctx, func(i int) control.Command {
		c := config
		c.Host, c.Hosts = i, len(clients)
		c.Sources = clients[i].Sources
		c.CPUs = clients[i].CPUs
		c.Seed = config.Seed + uint64(i)
		return control.Command{Op: control.OpConfigure, Config: &c}
	})
	return s, err
}

// OnProgress implements [session.Swarm].
func (s *swarm) OnProgress(f func(open int, messages int64)) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.onProgress = f
}

// Do implements [session.Swarm]. Each host carries out its own part of the command.
func (s *swarm) Do(ctx context.Context, c control.Command) (control.Result, error) {
	return s.each(ctx, func(int) control.Command { return c })
}

// Interrupt implements [session.Swarm].
func (s *swarm) Interrupt(ctx context.Context) {
	line, _ := json.Marshal(control.Command{Op: control.OpStop})
	for _, host := range s.hosts {
		host.process.Write(ctx, string(line)) // a lost host has stopped too
	}
}

func (s *swarm) each(ctx context.Context, command func(i int) control.Command) (control.Result, error) {
	results := make([]control.Result, len(s.hosts))
	failed := make([]error, len(s.hosts))
	var all sync.WaitGroup
	for i, host := range s.hosts {
		all.Go(func() {
			if results[i], failed[i] = s.run(ctx, host, command(i)); failed[i] != nil {
				s.Interrupt(ctx) // the others' work is useless now
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return control.Result{}, err
	}
	return session.Merge(results)
}

// share says how many of the swarm's connections a host held when it last reported.
func (s *swarm) share(host *swarmHost) string {
	s.lock.Lock()
	defer s.lock.Unlock()
	sum := 0
	for _, h := range s.hosts {
		sum += h.open
	}
	return fmt.Sprintf("with %d of the %d connections", host.open, sum)
}

// run carries out one command on one host and follows its progress.
func (s *swarm) run(ctx context.Context, host *swarmHost, c control.Command) (control.Result, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return control.Result{}, err
	}
	if err := host.process.Write(ctx, string(line)); err != nil {
		return control.Result{}, s.gone(host, err)
	}
	w := newWatchdog(c)
	defer w.Stop()
	for {
		select {
		case line, ok := <-host.process.Lines:
			if !ok {
				return control.Result{}, s.gone(host, errors.New("its output ended"))
			}
			var event control.Event
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				return control.Result{}, fmt.Errorf("the swarm on %s said %q: %w", host.name, cut(line), err)
			}
			switch event.Kind {
			case control.KindError:
				return control.Result{}, s.failed(host, event)
			case control.KindDone:
				if event.Result == nil {
					event.Result = &control.Result{Open: event.Open}
				}
				s.progress(host, event.Result.Open, 0)
				return *event.Result, nil
			case control.KindProgress:
				s.progress(host, event.Open, event.Messages)
				w.heard(event)
			}
		case <-w.C:
			host.process.Kill(context.WithoutCancel(ctx))
			return control.Result{}, fmt.Errorf("the swarm on %s %w %s: it was killed, since its %s made no progress for %s",
				host.name, session.ErrSwarmEnded, s.share(host), c.Op, w.patience)
		case <-ctx.Done():
			return control.Result{}, ctx.Err()
		}
	}
}

// stallPatience is how long a swarm may make no progress, in addition to the time that its
// command takes. Its hosts may be busy or emulated.
var stallPatience = 3 * time.Minute

// watchdog fires when the command of a swarm has stalled.
type watchdog struct {
	*time.Timer
	patience time.Duration
	open     int
	messages int64
}

func newWatchdog(c control.Command) *watchdog {
	patience := plan.Seconds(stallPatience.Seconds() + c.Seconds + c.TimeoutSeconds)
	return &watchdog{Timer: time.NewTimer(patience), patience: patience}
}

// heard notes the progress that a swarm reports. Reports without progress do not count.
func (w *watchdog) heard(e control.Event) {
	if e.Open == w.open && e.Messages == w.messages {
		return
	}
	w.open, w.messages = e.Open, e.Messages
	w.Reset(w.patience)
}

// failed says why the swarm on a host could not carry out a command.
func (s *swarm) failed(host *swarmHost, event control.Event) error {
	switch event.Trouble {
	case control.TroubleEnded: // one of its processes
		return fmt.Errorf("the swarm on %s %w %s: %s", host.name, session.ErrSwarmEnded, s.share(host), event.Error)
	case control.TroubleRefused:
		return &session.StartError{Err: fmt.Errorf("the swarm on %s: %s (%w)", host.name, event.Error, unix.EAGAIN)}
	}
	return fmt.Errorf("the swarm on %s: %s", host.name, event.Error)
}

func (s *swarm) gone(host *swarmHost, err error) error {
	select {
	case <-host.process.Exited():
		if lost := host.process.Exit().Lost; lost != nil {
			return fmt.Errorf("%w, and the swarm there %s", lost, s.share(host))
		}
		return fmt.Errorf("the swarm on %s %w %s: %s", host.name, session.ErrSwarmEnded, s.share(host), host.process.Exit())
	case <-time.After(5 * time.Second):
		return fmt.Errorf("the swarm on %s: %w", host.name, err)
	}
}

func (s *swarm) progress(host *swarmHost, open int, messages int64) {
	s.lock.Lock()
	host.open, host.messages = open, messages
	var sumOpen int
	var sumMessages int64
	for _, h := range s.hosts {
		sumOpen += h.open
		sumMessages += h.messages
	}
	report := s.onProgress
	s.lock.Unlock()
	report(sumOpen, sumMessages)
}

func (s *swarm) processes() []*agent.Process {
	var processes []*agent.Process
	for _, host := range s.hosts {
		processes = append(processes, host.process)
	}
	return processes
}

// Usage implements [session.Swarm].
func (s *swarm) Usage(ctx context.Context) (agent.Tree, error) {
	sum := agent.Tree{}
	for _, host := range s.hosts {
		tree, err := host.process.Tree(ctx)
		if err != nil {
			return sum, err
		}
		sum.RSSBytes += tree.RSSBytes
		sum.CPUSeconds += tree.CPUSeconds
	}
	return sum, nil
}

// Stop implements [session.Swarm].
func (s *swarm) Stop(ctx context.Context) error {
	for _, host := range s.hosts {
		host.process.CloseInput(ctx)
	}
	if err := end(ctx, s.processes()); err != nil {
		return fmt.Errorf("swarm: %w", err)
	}
	return nil
}
