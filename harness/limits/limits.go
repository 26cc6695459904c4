// Package limits predicts which limit of a lab stops the next connection. It is
// arithmetic on facts that were read before: it reads nothing itself, so that it
// answers for hosts that are elsewhere, or that a published run was made on.
package limits

import (
	"cmp"
	"fmt"
	"slices"

	"connbench/harness/cause"
)

// SocketBytes is less than any connection takes at one end in the kernel, in bytes: the TCP
// socket with its inode, file and directory entry is more (5,000 on Linux 6.18). It gives the
// largest number of connections that a budget can hold where the kernel has sockets of them.
const SocketBytes = 4096

// Client is a client host and what the swarm may use there.
type Client struct {
	Facts
	// Sources, FirstPort and LastPort are as in the swarm's configuration
	// (control.Config).
	Sources   []string
	FirstPort int
	LastPort  int
	// Processes is the number of processes that the swarm is split over on this
	// host; 0: as many as it needs. OpenFiles is the RLIMIT_NOFILE that they get; 0:
	// the host's.
	Processes int
	OpenFiles int
}

// Topology is how servers and clients are set up.
type Topology struct {
	// Shared is true where all hosts are one kernel: it then holds both ends of
	// each connection, unless Packet.
	Shared bool
	// Packet is true where the swarm speaks TCP itself: no end of a connection on
	// its side is a socket.
	Packet bool
	// Device is true where the server speaks TCP itself: no end of a connection on its side
	// is a socket.
	Device bool
	// Processes is the number of server processes; 0: as many as are needed, each
	// of which brings ports of its own.
	Processes int
	// OpenFiles is the RLIMIT_NOFILE that they get; 0: the host's.
	OpenFiles int
	// Addresses are the server's addresses, without port. Each process listens
	// on PortsPerProcess ports of each.
	Addresses       []string
	PortsPerProcess int
	Backlog         int
	// Running, if not nil, is a server that runs already, in place of one to be started.
	Running *Running
	// ServerHosts is the number of hosts that the server runs on, each with an equal share of
	// the connections; 0: one. Neighbours is how many of the others run on this one's kernel.
	ServerHosts, Neighbours int
	// Loops is the number of event loops in each process.
	Loops int
	// LibraryCap is the number of connections that a process of the variant takes
	// by its library's own limit; 0: any.
	LibraryCap int
	Cost
	// ReserveBytes is what must stay available on each host.
	ReserveBytes int64
	// Connections is the number asked for, which the commands that raise a limit
	// aim at; 0: a million.
	Connections int
}

// Running is a server that somebody else has started. Its limits are those of its processes.
type Running struct {
	// PID is the process with the fewest descriptors left, Processes how many accept
	// connections.
	PID, Processes int
	// OpenFiles is the soft RLIMIT_NOFILE of that process, HardOpenFiles the hard one.
	// Descriptors is how many it has open.
	OpenFiles, HardOpenFiles, Descriptors int64
	// Unit is its systemd unit, Container is true if its control group looks like one of a
	// container.
	Unit      string
	Container bool
	// Backlog is the length of its accept queue.
	Backlog int64
}

// raise says how the process gets more descriptors, for good and for now.
func (r *Running) raise(to int64) string {
	text := fmt.Sprintf("ulimit -n %d in the shell that starts it", to)
	switch {
	case r.Unit != "":
		text = fmt.Sprintf("LimitNOFILE=%d in its unit (systemctl edit %s)", to, r.Unit)
	case r.Container:
		text = fmt.Sprintf("--ulimit nofile=%d for its container", to)
	}
	return text + fmt.Sprintf("; for the running process prlimit --pid %d --nofile=%d", r.PID, to)
}

// Cost is what one connection was measured to take; nil: nobody has measured it.
type Cost struct {
	// ServerBytes is memory of the server's host, user and kernel, and of both ends where
	// the kernel is shared; ClientBytes is that of a client host.
	ServerBytes, ClientBytes *float64
	// Threads is the number of the server's threads: next to none of event loops and
	// goroutines.
	Threads *float64
}

// Kind says what a limit bounds.
type Kind string

// The kinds of limit.
const (
	// KindOpen bounds the connections that are open at a time.
	KindOpen Kind = "open"
	// KindLoad bounds those that have something under way: idle ones pass it.
	KindLoad Kind = "load"
	// KindRate bounds how fast connections can be opened, not how many.
	KindRate Kind = "rate"
	// KindClose bounds how many can be on their way out.
	KindClose Kind = "close"
)

// Limit is one row of the table.
type Limit struct {
	// Name is the limit, Side whose: "server", "client" or, where they are on one
	// host and it holds both ends, "both". Host is the host's name.
	Name string `json:"name"`
	Side string `json:"side"`
	Host string `json:"host"`
	// Where is what sets it: a sysctl, a resource limit, a file.
	Where string `json:"where"`
	// Value is what it is set to, "" where that is unknown.
	Value string `json:"value"`
	Kind  Kind   `json:"kind"`
	// Connections is the number that it allows in the whole lab; nil where it
	// bounds no number, or none that is known.
	Connections *int64 `json:"connections"`
	// PerProcess is the number that it allows each process, where it is a limit
	// of processes: of the swarm's for its descriptors, else of the server's.
	PerProcess *int64 `json:"per_process,omitempty"`
	// ofServers is true where those are server processes.
	ofServers bool
	// How says in one line how the number came about, or why there is none.
	How string `json:"how"`
	// Raise is a command, or what to do, to raise it.
	Raise string `json:"raise"`
	// Reason is the reason that a ramp stopped by this limit is recorded with.
	Reason string `json:"reason,omitempty"`
	// Binding marks the limit that comes first.
	Binding bool `json:"binding,omitempty"`
}

// Prediction is what the limits come to.
type Prediction struct {
	// Limits are all limits, in the order of a connection's way: descriptors,
	// addresses and ports, network, memory, processes, library.
	Limits []Limit `json:"limits"`
	// Ceiling is the number of connections that all of them allow, by those that
	// are known; nil where none is.
	Ceiling *int64 `json:"ceiling"`
	// PerProcess is the number that one server process can have; nil where
	// nothing bounds it.
	PerProcess *int64 `json:"per_process"`
	// SpendableBytes is the memory of the server's host that connections may take: as
	// much as its reserves, and those of the control groups, do not keep. It is nil
	// where that is not known.
	SpendableBytes *int64 `json:"spendable_bytes"`
}

// million is what commands aim at if nobody said how many connections.
const million = 1_000_000

// Compute lists the limits of a lab and finds the one that comes first. Where
// there are several client hosts, each gets an equal share of the connections,
// and of each of their limits the tightest is listed.
func Compute(server Facts, clients []Client, t Topology) Prediction {
	want := int64(cmp.Or(t.Connections, million))
	s := &Setup{Topology: t, server: server, clients: clients, want: want}
	prediction := Prediction{SpendableBytes: s.spendable()}
	for _, row := range Rows {
		var found []Limit
		for _, scope := range row.Scopes(s) {
			found = append(found, row.find(s, scope))
		}
		prediction.Limits = append(prediction.Limits, tightest(found)...)
	}
	binding := -1
	for i, limit := range prediction.Limits {
		if limit.ofServers && less(limit.PerProcess, prediction.PerProcess) {
			prediction.PerProcess = limit.PerProcess
		}
		if limit.Kind != KindOpen || limit.Connections == nil {
			continue
		}
		if binding < 0 || *limit.Connections < *prediction.Limits[binding].Connections {
			binding = i
		}
	}
	if binding >= 0 {
		prediction.Limits[binding].Binding = true
		prediction.Ceiling = prediction.Limits[binding].Connections
	}
	return prediction
}

// spendable is the memory of the server's host above the reserves.
func (s *Setup) spendable() *int64 {
	var least *int64
	if available := s.server.AvailableBytes; available != nil {
		least = new(*available - s.ReserveBytes)
	}
	if group := s.server.MemoryGroup; group != nil && group.Limit != Unlimited {
		if left := group.Limit - group.Used - group.Reserve; less(&left, least) {
			least = &left
		}
	}
	return least
}

// Binding is the limit that comes first; false where none is known.
func (p Prediction) Binding() (Limit, bool) {
	i := slices.IndexFunc(p.Limits, func(l Limit) bool { return l.Binding })
	if i < 0 {
		return Limit{}, false
	}
	return p.Limits[i], true
}

// Ceilings are the number of connections that memory allows, and the number that
// all other limits do; nil where none is known.
func (p Prediction) Ceilings() (memory, others *int64) {
	for _, l := range p.Limits {
		of := &others
		if cause.FullMemory(l.Reason) {
			of = &memory
		}
		if l.Kind == KindOpen && less(l.Connections, *of) {
			*of = l.Connections
		}
	}
	return memory, others
}

// Exceeded lists the limits that n connections break, the tightest first.
func (p Prediction) Exceeded(n int) []Limit { return p.below(n, KindOpen) }

// Cautions lists the limits that n connections break as soon as all of them have
// a message under way, or are closed at once.
func (p Prediction) Cautions(n int) []Limit { return p.below(n, KindLoad, KindClose) }

func (p Prediction) below(n int, kinds ...Kind) []Limit {
	var found []Limit
	for _, limit := range p.Limits {
		if slices.Contains(kinds, limit.Kind) && limit.Connections != nil && *limit.Connections < int64(n) {
			found = append(found, limit)
		}
	}
	slices.SortStableFunc(found, func(a, b Limit) int { return cmp.Compare(*a.Connections, *b.Connections) })
	return found
}

// Processes is the number of server processes that n connections need.
func (p Prediction) Processes(n int) int {
	if p.PerProcess == nil || n <= 0 {
		return 1
	}
	if *p.PerProcess <= 0 {
		return n // no number helps; Exceeded says why
	}
	return int((int64(n)-1) / *p.PerProcess) + 1
}
