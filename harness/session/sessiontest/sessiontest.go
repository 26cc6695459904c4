// Package sessiontest has a scripted server and a scripted swarm, so that what a
// trial decides can be tested without a process, a socket or a wait.
//
// Both are perfect: every connection opens, every message comes back, every count
// agrees, and the figures grow by fixed amounts. A test changes single answers by
// the hooks of [Script]. Commands take the time that they would really take, so a
// test runs in a bubble of [testing/synctest], whose clock jumps ahead.
package sessiontest

import (
	"context"
	"errors"
	"sync"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/reading"
	"connbench/harness/session"
	"connbench/servers/contract"
)

// Script says how servers and swarms behave. [New] returns a perfect one. It
// implements phase.Hosts as well.
type Script struct {
	// Costs are what connections and messages cost.
	Costs Costs
	// Processes is the number of server processes, at least 1, and Shared is true
	// where server and swarm run on one kernel.
	Processes int
	Shared    bool

	// The hooks are called with a perfect answer, which they may change. The answer to
	// whatever asked is the error, where a hook returns one. Hooks may call the methods
	// of Script. OnMeasure and OnUsage are also called from the sampler's goroutine.
	OnOpen    func(o session.Options) error
	OnDo      func(c control.Command, r *control.Result) error
	OnAsk     func(question string, s *contract.Stats) error
	OnMeasure func(detail bool, m *agent.Measurement) error
	OnUsage   func(u *agent.Tree) error
	// OnStop is what is wrong with the end of the server, and OnRestart with its restart.
	OnStop, OnRestart error
	// OnCount changes the kernel's count of the server's connections.
	OnCount func(n *int64) error

	lock  sync.Mutex
	host  host
	now   *world // of the latest session
	opens []session.Options
	did   []control.Command
	// hostLost is an [agent.LostError] where a host was lost.
	hostLost error
}

// Costs are what the scripted processes take. All memory is in bytes.
type Costs struct {
	// ConnectsPerSecond and EchoesPerSecond are how fast the swarm is where nothing
	// else limits it.
	ConnectsPerSecond, EchoesPerSecond float64
	// LatencyUS is the time that every handshake and every echo takes, in microseconds.
	LatencyUS float64

	// What a server process takes when it is empty, and what each connection adds:
	// resident memory, heap with garbage, live heap, stacks.
	EmptyRSS, RSS, Heap, LiveHeap, Stack int64
	// DownSeconds is how long a restart takes.
	DownSeconds float64
	// Leak is resident memory that stays of each connection that was dropped.
	Leak int64
	// Active is resident memory of a connection that has sent messages since the server
	// settled, MessageLeak what stays of each message.
	Active, MessageLeak int64
	// Kernel is the slab memory of a socket: of each end of a connection.
	Kernel int64

	// AcceptUS and EchoUS are the server's CPU time for a connect and for a message,
	// IdleCores its CPU time a second while nothing happens; the swarm takes as much.
	AcceptUS, EchoUS, IdleCores float64

	// TotalBytes is the host's memory.
	TotalBytes int64
}

// New returns the script of a perfect server under a perfect swarm on one host.
func New() *Script {
	return &Script{
		Costs: Costs{
			ConnectsPerSecond: 10_000, EchoesPerSecond: 50_000, LatencyUS: 100,
			EmptyRSS: 8 << 20, RSS: 4096, Heap: 2048, LiveHeap: 1024, Stack: 512, Kernel: 1024,
			DownSeconds: 0.5, AcceptUS: 20, EchoUS: 5, IdleCores: 0.01, TotalBytes: 16 << 30,
		},
		Processes: 1, Shared: true,
	}
}

// Open is a [session.Opener].
func (s *Script) Open(ctx context.Context, o session.Options) (session.Server, session.Swarm, error) {
	s.lock.Lock()
	s.opens = append(s.opens, o)
	w := newWorld(s, o)
	s.now = w
	s.lock.Unlock()
	server, swarm := server{w}, &swarm{world: w, progress: func(int, int64) {}}
	if s.OnOpen != nil {
		if err := s.OnOpen(o); err != nil {
			return server, swarm, err
		}
	}
	return server, swarm, ctx.Err()
}

// Opened are the options of the sessions that were opened, in their order.
func (s *Script) Opened() []session.Options {
	s.lock.Lock()
	defer s.lock.Unlock()
	return append([]session.Options(nil), s.opens...)
}

// Did are the commands that the swarm was given, over all sessions.
func (s *Script) Did() []control.Command {
	s.lock.Lock()
	defer s.lock.Unlock()
	return append([]control.Command(nil), s.did...)
}

// Lose takes away connections of the open session, as if the server had closed them.
// The next command reports them.
func (s *Script) Lose(connections int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.now.open -= connections
	s.now.lost += connections
}

// KillServer ends the server of the open session. how describes its end: "exit
// status 2". Nothing can be asked of it any more.
func (s *Script) KillServer(how string) { s.end(errors.New(how)) }

// BreakContract has the server of the open session killed for what it did.
func (s *Script) BreakContract(what string) { s.end(&session.ContractError{What: what}) }

func (s *Script) end(how error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.now.ended, s.now.open = how, 0
}

// LoseHost takes away a host of the lab, and with it the server.
func (s *Script) LoseHost(name, why string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.hostLost = &agent.LostError{Host: name, Why: why}
	s.now.ended, s.now.open = s.hostLost, 0
}

// Lost implements phase.Hosts.
func (s *Script) Lost() error {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.hostLost
}

// Say is what the server wrote last to its standard error.
func (s *Script) Say(words string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.now.words = words
}

// Count adds to a kernel counter of the server's host, or of a client host elsewhere.
func (s *Script) Count(elsewhere bool, counter string, n int64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	counters := &s.host.counters
	if elsewhere {
		counters = &s.host.elsewhere
	}
	if *counters == nil {
		*counters = map[string]int64{}
	}
	(*counters)[counter] += n
}

// Steal takes CPU time of the server's host: stolen by the hypervisor, or spent by
// other programs.
func (s *Script) Steal(stolenSeconds, foreignSeconds float64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.host.stolen += stolenSeconds
	s.host.foreign += foreignSeconds
}

// Throttle has the CPU quota of a control group keep the host's tasks from running.
func (s *Script) Throttle(seconds float64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.host.throttled == nil {
		s.host.throttled = new(float64)
	}
	*s.host.throttled += seconds
}

// TakeMemory takes memory of the server's host for somebody else, in bytes.
func (s *Script) TakeMemory(bytes int64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.host.taken += bytes
}

// OpenSockets opens TCP sockets of other programs on the server's host, or closes them
// where n is negative.
func (s *Script) OpenSockets(n int64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.host.otherSockets += n
}

// TimeWait implements phase.Hosts: every connection that was closed is in TIME_WAIT.
func (s *Script) TimeWait(context.Context) (*int64, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return new(s.host.timeWait), nil
}

// ServerHost implements phase.Hosts.
func (s *Script) ServerHost(context.Context) (reading.System, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.now.measure(true).System, nil
}

// Counters implements phase.Hosts.
func (s *Script) Counters(context.Context) map[string]int64 {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.Shared {
		return nil
	}
	all := map[string]int64{}
	for _, name := range counters {
		all[name] = s.host.elsewhere[name]
	}
	for name, n := range s.host.elsewhere {
		all[name] = n
	}
	return all
}

// errServerEnded is what a question to a dead server is answered by.
var errServerEnded = errors.New("server ended")
