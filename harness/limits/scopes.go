package limits

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Sides of a limit.
const (
	sideServer = "server"
	sideClient = "client"
	sideBoth   = "both"
)

// calculation is the state of Compute.
type calculation struct {
	Topology
	server  Facts
	clients []Client
	// want is the number of connections that limits are to be raised to.
	want int64
}

// scope is what a limit applies to: the processes of a side, a network namespace, or
// a kernel. Several like it may share the lab's connections.
type scope struct {
	Facts
	side string
	// sockets is the number of sockets that each connection has in the scope.
	sockets int64
	// shares is the number of scopes that the connections are divided among.
	shares int64
	// processes is the number of processes that hold them; 0: as many as needed.
	processes int64
	// mostProcesses is the largest number of processes, 0: any number.
	mostProcesses int64
	// bytes is the memory that each connection takes in the scope; nil: unknown.
	bytes *float64
}

func (c *calculation) atServer(side string, sockets int64) scope {
	return scope{Facts: c.server, side: side, sockets: sockets, shares: 1, processes: int64(c.Processes), bytes: c.ServerBytes}
}

func (c *calculation) atClient(client Client) scope {
	return scope{Facts: client.Facts, side: sideClient, sockets: 1, shares: int64(len(c.clients)), processes: int64(client.Processes), bytes: c.ClientBytes}
}

// namespaces are the server's network namespace and those of clients elsewhere.
// A namespace counts a connection once, even if it has both ends.
func (c *calculation) namespaces() []scope {
	scopes := []scope{c.atServer(sideServer, 1)}
	for _, client := range c.clients {
		if client.Host.Name == c.server.Host.Name {
			scopes[0].side = sideBoth
		} else {
			scopes = append(scopes, c.atClient(client))
		}
	}
	return scopes
}

// holders are the namespaces that have sockets.
func (c *calculation) holders() []scope {
	if c.Packet {
		return []scope{c.atServer(sideServer, 1)}
	}
	return c.namespaces()
}

// kernels are the kernels that have sockets: one for both ends, or one for each.
func (c *calculation) kernels() []scope {
	if c.Shared && !c.Packet {
		return []scope{c.atServer(sideBoth, 2)}
	}
	return c.holders()
}

// limit is a row about this scope. So far all it says is the value, or that this
// could not be read.
func (s scope) limit(name string, kind Kind, where string, value *int64) Limit {
	limit := Limit{Name: name, Kind: kind, Side: s.side, Host: s.Host.Name, Where: where, Value: show(value)}
	if value == nil {
		limit.How = "not readable here; the warnings about this host say why"
	}
	return limit
}

// allow notes how many connections the scope has room for, and how that was found.
func (l *Limit) allow(s scope, connections int64, how string) {
	if connections >= farBeyond {
		l.How = how + ": more than any host can hold"
		return
	}
	total := times(max(0, connections), s.shares)
	l.Connections, l.How = &total, how
	if s.shares > 1 {
		l.How += fmt.Sprintf(", × %d client hosts", s.shares)
	}
}

// allowEach notes how many connections each process of the scope has room for.
func (l *Limit) allowEach(s scope, connections int64, how string) {
	connections = max(0, connections)
	if connections >= farBeyond {
		l.allow(s, connections, how)
		return
	}
	l.PerProcess = &connections
	if s.processes == 0 && connections > 0 { // of nothing, no number of processes makes more
		l.How = how + "; processes are added as needed"
		if s.mostProcesses > 0 {
			l.allow(s, times(connections, s.mostProcesses), fmt.Sprintf("%s, up to %d", l.How, s.mostProcesses))
		}
		return
	}
	if s.processes > 1 {
		how += fmt.Sprintf(", × %d processes", s.processes)
	}
	l.allow(s, times(connections, s.processes), how)
}

// need is the scope's share of the connections that are wanted, needEach that of each
// of its processes if no process is added.
func (c *calculation) need(s scope) int64     { return divideUp(c.want, s.shares) }
func (c *calculation) needEach(s scope) int64 { return divideUp(c.need(s), max(1, s.processes)) }

// raised is what to set a limit to: what is needed, but at least twice what it is now.
func raised(is, needed int64) int64 { return max(needed, times(is, 2)) }

// farBeyond is more than any host has of anything. Sums of it do not overflow.
const farBeyond = 1 << 50

// tightest makes a row for each scope, but of client hosts only the tightest row.
func tightest(scopes []scope, row func(scope) Limit) []Limit {
	var rows []Limit
	client := -1
	for _, at := range scopes {
		limit := row(at)
		switch {
		case at.side != sideClient:
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

// less compares bounds; nil is no bound.
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
	case *value == math.MaxInt64:
		return "unlimited"
	}
	return strconv.FormatInt(*value, 10)
}

// number reads a limit as the probe has it: a number, or "unlimited". It is nil
// where the probe has none.
func number(text string) *int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if text == "unlimited" {
		value, err = math.MaxInt64, nil
	}
	if err != nil {
		return nil
	}
	return &value
}

// sysctl is a setting of one number.
func (f Facts) sysctl(name string) *int64 { return number(f.Host.Sysctls[name]) }

// sysctlField is one of a setting's numbers, counted from 0.
func (f Facts) sysctlField(name string, i int) *int64 {
	if fields := strings.Fields(f.Host.Sysctls[name]); i < len(fields) {
		return number(fields[i])
	}
	return nil
}
