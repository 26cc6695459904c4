package limits

import (
	"fmt"
	"math"
	"strconv"
)

// Sides of a limit.
const (
	sideServer = "server"
	sideClient = "client"
	sideBoth   = "both"
)

// Setup is what limits are computed of: hosts, and how servers and clients are set up
// on them.
type Setup struct {
	Topology
	server  Facts
	clients []Client
	// want is the number of connections that limits are to be raised to.
	want int64
}

// Scope is where a limit holds: in each process of a side, in a network namespace, in
// a kernel. There may be several alike, each with its share of the connections.
type Scope struct {
	Facts
	side string
	// client is what the swarm may use there, where that is of interest.
	client Client
	// sockets is the number that each connection has there.
	sockets int64
	// shares is the number of scopes that the connections are divided among, and here how
	// many of the shares are in this one.
	shares, here int64
	// processes is the number of processes that hold them; 0: as many as it takes.
	processes int64
	// mostProcesses is how many it can be at most, 0: any number.
	mostProcesses int64
	// bytes is what each connection takes of memory there.
	bytes *float64
}

func (s *Setup) atServer(side string, sockets int64) Scope {
	return Scope{
		Facts: s.server, side: side, sockets: sockets, shares: int64(max(1, s.ServerHosts)), here: 1,
		processes: int64(s.Topology.Processes), bytes: s.ServerBytes,
	}
}

func (s *Setup) atClient(client Client) Scope {
	return Scope{
		Facts: client.Facts, side: sideClient, client: client, sockets: 1, shares: int64(len(s.clients)), here: 1,
		processes: int64(client.Processes), bytes: s.ClientBytes,
	}
}

// Whoever starts processes keeps descriptors of each: the agent three pipes and a
// pidfd for a server, the swarm's first process two and one for each other.
const (
	serverStartDescriptors = 4
	workerStartDescriptors = 3
)

// Servers is each of the server's processes, with the descriptors that the plan gives
// them.
func (s *Setup) Servers() []Scope {
	if s.Device {
		return nil
	}
	at := s.atServer(sideServer, 1)
	if r := s.Running; r != nil {
		at.processes = int64(r.Processes)
		at.OpenFiles, at.SoftOpenFiles = &r.OpenFiles, &r.OpenFiles
		return []Scope{at}
	}
	at.mostProcesses = startable(at.Facts.OpenFiles, serverStartDescriptors)
	at.Facts = at.withOpenFiles(s.Topology.OpenFiles)
	return []Scope{at}
}

// Swarms is each of the swarm's processes, on each client host where they have sockets.
func (s *Setup) Swarms() (scopes []Scope) {
	if s.Packet {
		return nil
	}
	for _, client := range s.clients {
		at := s.atClient(client)
		at.mostProcesses = startable(at.Facts.OpenFiles, workerStartDescriptors)
		at.Facts = at.withOpenFiles(client.OpenFiles)
		scopes = append(scopes, at)
	}
	return scopes
}

// startable is how many processes one with so many descriptors can start that keeps
// so many of each; 0 where that is unknown.
func startable(descriptors *int64, each int64) int64 {
	if descriptors == nil {
		return 0
	}
	return max(1, (*descriptors-2*processDescriptors)/each)
}

// Sources are the addresses of each client host, to which every server process brings
// ports of its own.
func (s *Setup) Sources() (scopes []Scope) {
	for _, client := range s.clients {
		at := s.atClient(client)
		at.processes = int64(s.Topology.Processes)
		scopes = append(scopes, at)
	}
	return scopes
}

// Namespaces are the server's network namespace and those of clients elsewhere. What a
// namespace counts by connection, it counts once even if both ends are there.
func (s *Setup) Namespaces() []Scope {
	scopes := []Scope{s.atServer(sideServer, 1)}
	for _, client := range s.clients {
		if client.Name == s.server.Name {
			scopes[0].side = sideBoth
		} else {
			scopes = append(scopes, s.atClient(client))
		}
	}
	return scopes
}

// Holders are those of the namespaces that hold sockets.
func (s *Setup) Holders() []Scope {
	if s.Packet {
		return s.Host()
	}
	return s.Namespaces()
}

// Kernels are one scope for both ends, or that of each kernel which holds sockets. The server's
// has the shares of all server hosts that it runs.
func (s *Setup) Kernels() []Scope {
	scopes := s.Holders()
	if s.Shared && !s.Packet {
		scopes = []Scope{s.atServer(sideBoth, 2)}
	}
	scopes[0].here += int64(s.Neighbours)
	return scopes
}

// Sockets are those of the kernels that hold sockets of connections: as [Setup.Kernels], but
// for the end of a server that speaks TCP itself.
func (s *Setup) Sockets() []Scope {
	switch {
	case !s.Device:
		return s.Kernels()
	case s.Packet:
		return nil
	case s.Shared:
		return []Scope{s.atServer(sideClient, 1)}
	}
	return s.elsewhere()
}

// Closers are the namespaces in which sockets come to their end.
func (s *Setup) Closers() []Scope {
	switch {
	case !s.Device:
		return s.Holders()
	case s.Packet:
		return nil
	}
	return s.elsewhere()
}

// elsewhere is each client host.
func (s *Setup) elsewhere() (scopes []Scope) {
	for _, client := range s.clients {
		scopes = append(scopes, s.atClient(client))
	}
	return scopes
}

// Listener is the server's host, where the kernel accepts its connections.
func (s *Setup) Listener() []Scope {
	if s.Device {
		return nil
	}
	return s.Host()
}

// Host is the server's host.
func (s *Setup) Host() []Scope { return []Scope{s.atServer(sideServer, 1)} }

// Allow says that the scope has room for so many connections, and how that was
// found.
func (l *Limit) Allow(at Scope, connections int64, how string) {
	if connections >= farBeyond {
		l.How = how + ": more than any host can hold"
		return
	}
	total := times(max(0, connections), at.shares) / at.here
	l.Connections, l.How = &total, how
	if at.shares > 1 {
		hosts := "server"
		if at.side == sideClient {
			hosts = "client"
		}
		l.How += fmt.Sprintf(", × %d %s hosts", at.shares, hosts)
	}
	if at.here > 1 {
		l.How += fmt.Sprintf(" ÷ %d on this kernel", at.here)
	}
}

// AllowEach says that each process there has room for so many.
func (l *Limit) AllowEach(at Scope, connections int64, how string) {
	connections = max(0, connections)
	if connections >= farBeyond {
		l.Allow(at, connections, how)
		return
	}
	l.PerProcess = &connections
	if at.processes == 0 && connections > 0 { // of nothing, no number of processes makes more
		l.How = how + "; processes are added as needed"
		if at.mostProcesses > 0 {
			l.Allow(at, times(connections, at.mostProcesses), fmt.Sprintf("%s, up to %d", l.How, at.mostProcesses))
		}
		return
	}
	if at.processes > 1 {
		how += fmt.Sprintf(", × %d processes", at.processes)
	}
	l.Allow(at, times(connections, at.processes), how)
}

// perSocket says how many ends of a connection there are.
func (at Scope) perSocket() string {
	if at.sockets == 1 {
		return ""
	}
	return fmt.Sprintf(" ÷ %d ends on this host", at.sockets)
}

// need is the number of connections that come to this scope if the lab has as
// many as wanted, needEach that of each process there if they are not added to.
func (s *Setup) need(at Scope) int64     { return divideUp(times(s.want, at.here), at.shares) }
func (s *Setup) needEach(at Scope) int64 { return divideUp(s.need(at), max(1, at.processes)) }

// raised is what to set a limit to: as much as is needed, and never less than it
// is, but twice as much.
func raised(is, needed int64) int64 { return max(needed, times(is, 2)) }

// farBeyond is more than any host has of anything, and can still be added up.
const farBeyond = 1 << 50

// tightest keeps of the limits of several client hosts the one that binds first: only
// that is of interest.
func tightest(limits []Limit) []Limit {
	var rows []Limit
	client := -1
	for _, limit := range limits {
		switch {
		case limit.Side != sideClient:
			rows = append(rows, limit)
		case client < 0:
			client = len(rows)
			rows = append(rows, limit)
		case less(limit.Connections, rows[client].Connections), less(limit.PerProcess, rows[client].PerProcess):
			rows[client] = limit
		}
	}
	return rows
}

// less compares numbers; nil is no bound.
func less(a, b *int64) bool { return a != nil && (b == nil || *a < *b) }

// times multiplies numbers that are not negative; a product beyond an int64 is
// beyond every limit.
func times(a, b int64) int64 {
	if b != 0 && a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}

func divideUp(a, b int64) int64 { return (a + b - 1) / b }

func show(value *int64) string {
	switch {
	case value == nil:
		return ""
	case *value == Unlimited:
		return "unlimited"
	}
	return strconv.FormatInt(*value, 10)
}

// value is 0 for what is not known to be in use.
func value(used *int64) int64 {
	if used == nil {
		return 0
	}
	return *used
}
