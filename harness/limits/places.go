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

// place is where a limit holds: in each process of a side, in a network
// namespace, in a kernel. There may be several alike, each with its share of the
// lab's connections.
type place struct {
	Facts
	side string
	// sockets is the number that each connection has there.
	sockets int64
	// shares is the number of places that the connections are divided among.
	shares int64
	// processes is the number of processes that hold them; 0: as many as it takes.
	processes int64
	// mostProcesses is how many it can be at most, 0: any number.
	mostProcesses int64
	// bytes is what each connection takes of memory there.
	bytes *float64
}

func (c *calculation) atServer(side string, sockets int64) place {
	return place{Facts: c.server, side: side, sockets: sockets, shares: 1, processes: int64(c.Processes), bytes: c.ServerBytes}
}

func (c *calculation) atClient(client Client) place {
	return place{Facts: client.Facts, side: sideClient, sockets: 1, shares: int64(len(c.clients)), processes: int64(client.Processes), bytes: c.ClientBytes}
}

// namespaces are the server's network namespace and those of clients elsewhere.
// What a namespace counts by connection, it counts once even if both ends are
// there.
func (c *calculation) namespaces() []place {
	places := []place{c.atServer(sideServer, 1)}
	for _, client := range c.clients {
		if client.Host.Name == c.server.Host.Name {
			places[0].side = sideBoth
		} else {
			places = append(places, c.atClient(client))
		}
	}
	return places
}

// holders are those of the namespaces that hold sockets.
func (c *calculation) holders() []place {
	if c.Packet {
		return []place{c.atServer(sideServer, 1)}
	}
	return c.namespaces()
}

// kernels are one place for both ends, or that of each kernel which holds sockets.
func (c *calculation) kernels() []place {
	if c.Shared && !c.Packet {
		return []place{c.atServer(sideBoth, 2)}
	}
	return c.holders()
}

// limit is a row about this place, of which is known so far that the value could
// not be read.
func (p place) limit(name string, kind Kind, where string, value *int64) Limit {
	limit := Limit{Name: name, Kind: kind, Side: p.side, Host: p.Host.Name, Where: where, Value: show(value)}
	if value == nil {
		limit.How = "not readable here; the warnings about this host say why"
	}
	return limit
}

// allow says that the place has room for so many connections, and how that was
// found.
func (l *Limit) allow(p place, connections int64, how string) {
	if connections >= farBeyond {
		l.How = how + ": more than any host can hold"
		return
	}
	total := times(max(0, connections), p.shares)
	l.Connections, l.How = &total, how
	if p.shares > 1 {
		l.How += fmt.Sprintf(", × %d client hosts", p.shares)
	}
}

// allowEach says that each process there has room for so many.
func (l *Limit) allowEach(p place, connections int64, how string) {
	connections = max(0, connections)
	if connections >= farBeyond {
		l.allow(p, connections, how)
		return
	}
	l.PerProcess = &connections
	if p.processes == 0 && connections > 0 { // of nothing, no number of processes makes more
		l.How = how + "; processes are added as needed"
		if p.mostProcesses > 0 {
			l.allow(p, times(connections, p.mostProcesses), fmt.Sprintf("%s, up to %d", l.How, p.mostProcesses))
		}
		return
	}
	if p.processes > 1 {
		how += fmt.Sprintf(", × %d processes", p.processes)
	}
	l.allow(p, times(connections, p.processes), how)
}

// need is the number of connections that come to this place if the lab has as
// many as wanted, needEach that of each process there if they are not added to.
func (c *calculation) need(p place) int64     { return divideUp(c.want, p.shares) }
func (c *calculation) needEach(p place) int64 { return divideUp(c.need(p), max(1, p.processes)) }

// raised is what to set a limit to: as much as is needed, and never less than it
// is, but twice as much.
func raised(is, needed int64) int64 { return max(needed, times(is, 2)) }

// farBeyond is more than any host has of anything, and can still be added up.
const farBeyond = 1 << 50

// tightest makes a row for each place. Of those of several client hosts only the
// tightest is of interest.
func tightest(places []place, row func(place) Limit) []Limit {
	var rows []Limit
	client := -1
	for _, place := range places {
		limit := row(place)
		switch {
		case place.side != sideClient:
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

// less compares numbers, of which none stands for no bound.
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
