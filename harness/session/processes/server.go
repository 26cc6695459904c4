// Package processes starts the real server and swarm processes of a session on the hosts
// of a lab, and talks to them through the agents.
package processes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/agent/children"
	"connbench/harness/lab"
	"connbench/harness/plan"
	"connbench/harness/session"
	"connbench/harness/variant"
	"connbench/servers/contract"
	"connbench/servers/contract/certificate"
)

// Session describes the server and swarm processes of sessions.
type Session struct {
	Plan    plan.Plan
	Lab     *lab.Lab
	Program variant.Program
	// ServerPath and SwarmPaths are the paths of the programs on their hosts. SwarmPaths has
	// the order of Lab.Clients.
	ServerPath string
	SwarmPaths []string
	// Connections is the largest number of connections that will be asked for. Servers is
	// the number of server processes that share them.
	Connections, Servers int
	// Certificate is the file of the server's key and certificate on its host, and Authority
	// the one who has signed it, in PEM; both are for programs that speak TLS.
	Certificate, Authority string
}

// Open implements [session.Opener].
func (p Session) Open(ctx context.Context, o session.Options) (session.Server, session.Swarm, error) {
	server, err := startServer(ctx, p, o)
	if err != nil {
		return server, nil, fmt.Errorf("server %s: %w", p.Program.Choice, err)
	}
	var tls *control.TLS
	if layer := p.Program.Secured; layer != "" {
		tls = &control.TLS{Authority: p.Authority, ServerName: certificate.ServerName, Resume: layer == variant.SecurityResumed}
	}
	config := configOf(p.Plan, p.Program.Protocol, server.addresses, p.Connections, tls)
	config.Compression, config.Text = p.Program.Compressed, len(p.Plan.Compression) > 0
	if p.Program.Protocol == control.ProtocolHTTP {
		config.Hear = o.Hear
	}
	swarm, err := startSwarm(ctx, p.Lab.Clients, p.SwarmPaths, p.Plan.Client.OpenFiles, config)
	return server, swarm, err
}

// configOf is the swarm's configuration for a plan and what the server speaks. Without tls,
// connections are plain.
func configOf(p plan.Plan, spoken string, targets []string, connections int, tls *control.TLS) control.Config {
	config := control.Config{
		Engine: p.Client.Engine, Protocol: spoken, Targets: targets,
		FirstPort: p.Client.FirstPort, LastPort: p.Client.LastPort, Processes: p.Client.Processes,
		Connections: connections, Seed: p.Seed,
	}
	if tls != nil {
		config.Security, config.TLS = control.SecurityTLS, tls
	}
	return config
}

func broken(format string, args ...any) error {
	return &session.ContractError{What: fmt.Sprintf(format, args...)}
}

// server is the program under test. It has several processes, each on its own port, if
// one may not have enough descriptors.
type server struct {
	Session
	host      *lab.Host
	addresses []string
	patience  time.Duration // for an answer

	lock      sync.Mutex
	running   []*agent.Process
	answers   map[*agent.Process]contract.Stats // the last of each
	listening []contract.Options                // of each process, with the ports that it got
}

// processes are those that run. A restart replaces them.
func (s *server) processes() []*agent.Process {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.running
}

// startServer starts the processes and waits until all of them listen.
func startServer(ctx context.Context, p Session, o session.Options) (*server, error) {
	settings, host := p.Plan.Server, p.Lab.Server
	s := &server{Session: p, host: host.Host, patience: plan.Seconds(settings.AnswerSeconds), answers: map[*agent.Process]contract.Stats{}}
	var asked []contract.Options // of each process
	if p.Program.Device != "" && len(host.Device) == 0 {
		return s, &session.StartError{Err: fmt.Errorf("lab %s gives no device (%s); LAB=netns does", p.Lab.Name, p.Program.Device)}
	}
	for i := range p.Servers {
		port := 0
		if settings.Port > 0 {
			port = settings.Port + i*settings.Ports
		}
		options := optionsOf(host, p.Plan, p.Program, port, o.WorkMicroseconds)
		options.Protocol, options.Compression, options.Broadcast = p.Program.Protocol, p.Program.Compressed, o.Broadcast
		if p.Program.Secured != "" {
			options.TLS = p.Certificate
		}
		asked = append(asked, options)
	}
	return s, s.start(ctx, asked)
}

// start starts a process with each of the options, and waits until all of them listen.
func (s *server) start(ctx context.Context, asked []contract.Options) error {
	settings, host := s.Plan.Server, s.Lab.Server
	ctx, cancel := context.WithTimeout(ctx, plan.Seconds(settings.ReadySeconds))
	defer cancel()
	var started []*agent.Process
	for _, options := range asked {
		process, err := host.Agent.Start(ctx, children.Start{
			Command:     confined(settings.OpenFiles, append(s.Program.CommandAt(s.ServerPath), options.Args()...)),
			Environment: Environment(s.Plan, len(host.CPUs)),
			CPUs:        host.CPUs,
			Grouped:     true,
		})
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("the host did not start it within %g s", settings.ReadySeconds)
		}
		if err != nil {
			return &session.StartError{Err: err}
		}
		started = append(started, process)
		s.lock.Lock()
		s.running = slices.Clone(started)
		s.lock.Unlock()
	}
	s.addresses, s.listening = nil, nil
	for i, process := range started {
		ready, err := awaitReady(ctx, process)
		if errors.Is(err, context.DeadlineExceeded) {
			err = broken("was not ready within %g s", settings.ReadySeconds)
		}
		if err != nil {
			return err
		}
		if err := ready.Check(asked[i]); err != nil {
			return broken("is not where it should be: %v", err)
		}
		options := asked[i]
		options.Listen = nil
		for _, address := range ready.Addresses {
			address = netip.MustParseAddrPort(address).String() // Check has parsed it
			if slices.Contains(s.addresses, address) {
				return broken("is not where it should be: two processes say that they listen on %s", address)
			}
			s.addresses = append(s.addresses, address)
			options.Listen = append(options.Listen, address)
		}
		s.listening = append(s.listening, options)
	}
	return nil
}

// Restart implements [session.Server].
func (s *server) Restart(ctx context.Context) error {
	old := s.processes()
	for _, process := range old {
		if err := process.Kill(ctx); err != nil {
			return err
		}
	}
	if err := end(ctx, old); err != nil {
		return err
	}
	if err := leftBehind(old); err != nil {
		return err
	}
	return s.start(ctx, s.listening)
}

// Addresses implements [session.Server].
func (s *server) Addresses() []string { return s.addresses }

// Measure implements [session.Server].
func (s *server) Measure(ctx context.Context, detail bool) (agent.Measurement, error) {
	return s.host.Agent.Measure(ctx, s.processes(), detail)
}

func optionsOf(host lab.Server, p plan.Plan, program variant.Program, port, workUS int) contract.Options {
	o := contract.Options{
		MaxMessage: p.Server.MaxMessageBytes,
		Backlog:    p.Server.Backlog,
		Loops:      len(host.CPUs),
		Class:      program.Class,

		WorkMicroseconds: workUS,
	}
	addresses := host.Addresses
	if program.Device != "" {
		addresses = host.Device
	}
	for _, address := range addresses {
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

// confined returns a command with a limit of open files; 0 is the host's. A shell sets both
// the soft and the hard limit, because Go raises the soft one.
func confined(openFiles int, command []string) []string {
	if openFiles == 0 {
		return command
	}
	return append([]string{"sh", "-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(openFiles)}, command...)
}

// Environment returns the variables that the harness sets for every server.
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
				return contract.Ready{}, fmt.Errorf("ended before it was ready: %w", endOf(process))
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

// Ask implements [session.Server]. If one process leaves a figure out, the sum has none.
func (s *server) Ask(ctx context.Context, question string) (contract.Stats, error) {
	processes := s.processes()
	answers := make([]contract.Stats, len(processes))
	failed := make([]error, len(processes))
	var all sync.WaitGroup
	for i, process := range processes {
		all.Go(func() { answers[i], failed[i] = s.ask(ctx, process, question) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return contract.Stats{}, err
	}
	sum := answers[0]
	for _, a := range answers[1:] {
		sum.Connections += a.Connections
		sum.HeapInUseBytes = session.Add(sum.HeapInUseBytes, a.HeapInUseBytes)
		sum.HeapLiveBytes = session.Add(sum.HeapLiveBytes, a.HeapLiveBytes)
		sum.StackBytes = session.Add(sum.StackBytes, a.StackBytes)
		sum.Goroutines = session.Add(sum.Goroutines, a.Goroutines)
		sum.GCCycles = session.Add(sum.GCCycles, a.GCCycles)
		sum.GCPauseSeconds = session.Add(sum.GCPauseSeconds, a.GCPauseSeconds)
		sum.GCCPUSeconds = session.Add(sum.GCCPUSeconds, a.GCCPUSeconds)
		sum.UserSeconds = session.Add(sum.UserSeconds, a.UserSeconds)
		sum.SystemSeconds = session.Add(sum.SystemSeconds, a.SystemSeconds)
	}
	return sum, nil
}

// ask asks one process.
func (s *server) ask(ctx context.Context, process *agent.Process, question string) (contract.Stats, error) {
	select {
	case line, ok := <-process.Lines:
		if ok {
			return contract.Stats{}, broken("it wrote %q to its standard output, a line that nobody had asked for", cut(line))
		}
	default:
	}
	err := process.Write(ctx, question)
	if errors.Is(err, unix.ETIMEDOUT) {
		err = broken("server does not take the question %s: %v", question, err)
	}
	if err != nil {
		return contract.Stats{}, err
	}
	select {
	case line, ok := <-process.Lines:
		if !ok {
			<-process.Exited()
			return contract.Stats{}, fmt.Errorf("server ended: %w", endOf(process))
		}
		return s.answer(process, question, line)
	case <-time.After(s.patience):
		return contract.Stats{}, broken("server did not answer %s within %g s", question, s.patience.Seconds())
	case <-ctx.Done():
		return contract.Stats{}, ctx.Err()
	}
}

// answer parses the answer of a process.
func (s *server) answer(process *agent.Process, question, line string) (contract.Stats, error) {
	stats, err := contract.ParseStats(line)
	s.lock.Lock()
	defer s.lock.Unlock()
	if err == nil {
		err = stats.Follows(s.answers[process])
	}
	if err != nil {
		return stats, broken("server answered %q to %s: %v", cut(line), question, err)
	}
	s.answers[process] = stats
	return stats, nil
}

// cut shortens a foreign text for a quotation.
func cut(text string) string {
	const most = 100
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// Established implements [session.Server].
func (s *server) Established(ctx context.Context) (int64, error) {
	var addresses []netip.AddrPort
	for _, text := range s.addresses {
		address, err := netip.ParseAddrPort(text)
		if err != nil {
			return 0, err
		}
		addresses = append(addresses, address)
	}
	n, err := s.host.Agent.Accepted(ctx, 0, addresses)
	switch {
	case err != nil || s.Program.Device == "":
		return n, err
	case n != 0:
		return n, broken("it declares to speak TCP itself, and the kernel has %d sockets of its connections", n)
	}
	return 0, session.ErrNoSockets
}

// endOf says how a process ended.
func endOf(process *agent.Process) error {
	switch exit := process.Exit(); {
	case exit.Lost != nil:
		return exit.Lost
	case exit.Fault != "":
		return broken("it %s", exit.Fault)
	default:
		return errors.New(exit.String())
	}
}

// Ended implements [session.Server].
func (s *server) Ended() error {
	processes := s.processes()
	for i, process := range processes {
		select {
		case <-process.Exited():
			return fmt.Errorf("server process %d of %d ended: %w", i+1, len(processes), endOf(process))
		default:
		}
	}
	return nil
}

// endPatience bounds AwaitEnd.
const endPatience = 3 * time.Second

// AwaitEnd implements [session.Server].
func (s *server) AwaitEnd() {
	for deadline := time.Now().Add(endPatience); s.Ended() == nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
}

// LastWords implements [session.Server].
func (s *server) LastWords(ctx context.Context) string {
	processes := s.processes()
	for i, process := range processes {
		if words, err := process.Said(ctx); err == nil && words != "" {
			return fmt.Sprintf("server process %d of %d says: %s", i+1, len(processes), words)
		}
	}
	return ""
}

// Stderr implements [session.Server].
func (s *server) Stderr(ctx context.Context) string {
	var all strings.Builder
	processes := s.processes()
	for i, process := range processes {
		if head, err := process.Head(ctx); err == nil && head != "" {
			fmt.Fprintf(&all, "server process %d of %d:\n%s\n", i+1, len(processes), head)
		}
	}
	return all.String()
}

// Stop implements [session.Server]. It ends the processes as the contract says, and kills
// those that do not end.
func (s *server) Stop(ctx context.Context) error {
	processes := s.processes()
	for _, process := range processes {
		process.CloseInput(ctx) // on an error it has already ended
	}
	if err := end(ctx, processes); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return leftBehind(processes)
}

// leftBehind says which processes others that have ended left behind.
func leftBehind(processes []*agent.Process) error {
	for _, process := range processes {
		if left := process.Exit().Left; len(left) > 0 {
			return broken("the server left processes behind when it ended: %s", strings.Join(left, ", "))
		}
	}
	return nil
}

// stopPatience is how long a process may take to end after its input has ended, and
// killPatience after it was killed: the kernel first frees its sockets.
const (
	stopPatience = 20 * time.Second
	killPatience = 40 * time.Second
)

// end waits for processes whose input has ended, and kills those that do not end.
func end(ctx context.Context, processes []*agent.Process) error {
	late := time.After(stopPatience)
	for _, process := range processes {
		select {
		case <-process.Exited():
			continue
		case <-late:
		case <-ctx.Done():
		}
		process.Kill(context.WithoutCancel(ctx))
	}
	tooLate := time.After(killPatience)
	for _, process := range processes {
		select {
		case <-process.Exited():
		case <-tooLate:
			return fmt.Errorf("process %d runs %s after it was killed", process.PID, killPatience)
		}
	}
	return nil
}
