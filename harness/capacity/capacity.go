// Package capacity works out, from what a run measured, what a number of
// connections would need, or how many a machine would hold. It is arithmetic on
// medians and their intervals, and says where it goes beyond what was measured.
package capacity

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"connbench/clients/addresses"
	figures "connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/record"
	"connbench/harness/stats"
)

// Need is what is asked. One of Connections and MemoryBytes is given.
type Need struct {
	Connections int
	// MemoryBytes is what servers and kernel may take of a machine's memory.
	MemoryBytes float64
	// MessagesPerSecond are echoes over all connections, 0: idle; MessageBytes is
	// the payload of each, 0: that of the run.
	MessagesPerSecond float64
	MessageBytes      int
	// Cores is what servers may use: it bounds the messages. 0: not asked.
	Cores float64
}

// Interval is a median with the bounds of its 95 % interval, or of the rounds
// where they were fewer than six.
type Interval struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// Estimate is the answer for one variant. What the run did not measure is nil.
type Estimate struct {
	Variant string `json:"variant"`
	// Connections is the number asked for, or that fits into the memory.
	Connections *Interval `json:"connections"`
	// BytesPerConnection is the server's resident memory and the server's share of
	// the kernel's.
	BytesPerConnection *Interval `json:"bytes_per_connection"`
	// MemoryBytes is what the connections take above an empty server.
	MemoryBytes *Interval `json:"memory_bytes"`
	// Cores is the CPU of the servers at the rate asked for.
	Cores *Interval `json:"cores"`
	// MessagesPerSecond is what the cores asked about carry.
	MessagesPerSecond *Interval `json:"messages_per_second"`
	// Descriptors is what the server processes must be allowed together, Pairs how
	// many pairs of a client's address and a server's address and port the
	// connections need at least; 0 where the clients' port range is not known.
	Descriptors int `json:"descriptors"`
	Pairs       int `json:"pairs"`
	// Measured is the largest number of connections that the run held, and Beyond
	// how many times that the estimate goes; 1 or less is within. So are
	// MeasuredRate and BeyondRate for messages a second.
	Measured     int     `json:"measured"`
	Beyond       float64 `json:"beyond"`
	MeasuredRate float64 `json:"measured_rate"`
	BeyondRate   float64 `json:"beyond_rate"`
}

// Answer is what a run says about a need.
type Answer struct {
	Estimates []Estimate `json:"estimates"`
	// PortsPerAddress is how many connections one client address can have to one
	// address and port of the server, by the port range of the run's clients, and
	// DescriptorsPerProcess the run's limit of open files; 0 where not known.
	PortsPerAddress       int `json:"ports_per_address"`
	DescriptorsPerProcess int `json:"descriptors_per_process"`
	// Assumptions say what the figures rest on.
	Assumptions []string `json:"assumptions"`
}

// Of answers a need from a run.
func Of(run *record.Run, need Need) Answer {
	shared := run.BothEnds()
	a := Answer{Estimates: []Estimate{}, PortsPerAddress: ports(run), DescriptorsPerProcess: descriptors(run)}
	payload, rounds := 0, 0
	for _, v := range figures.Variants(run) {
		if len(v.Valid) == 0 {
			continue
		}
		e := Estimate{Variant: v.String()}
		rounds = max(rounds, len(v.Valid))
		for _, trial := range v.Valid {
			e.Measured = max(e.Measured, trial.Connections.Reached)
			if echo := phase.Echo.Of(trial); echo != nil {
				payload = echo.PayloadBytes
			}
		}
		if n := float64(need.Connections); n > 0 {
			e.Connections = &Interval{n, n, n}
		}
		e.BytesPerConnection = bytesPer(v, shared)
		if bytes := e.BytesPerConnection; bytes != nil {
			if n := float64(need.Connections); n > 0 {
				e.MemoryBytes = &Interval{n * bytes.Median, n * bytes.Low, n * bytes.High}
			} else if bytes.Low > 0 {
				e.Connections = &Interval{math.Floor(need.MemoryBytes / bytes.Median), math.Floor(need.MemoryBytes / bytes.High), math.Floor(need.MemoryBytes / bytes.Low)}
			}
		}
		if e.Connections != nil {
			e.Descriptors = int(e.Connections.Median)
			if a.PortsPerAddress > 0 {
				e.Pairs = (e.Descriptors + a.PortsPerAddress - 1) / a.PortsPerAddress
			}
			if e.Measured > 0 {
				e.Beyond = e.Connections.Median / float64(e.Measured)
			}
		}
		e.carry(priceOf(v), need)
		a.Estimates = append(a.Estimates, e)
	}
	a.Assumptions = assumptions(shared, payload, rounds, need)
	return a
}

// price is the CPU time of a message, in microseconds, at the two rates of a run:
// that offered in the echo phase, and that of the saturated one, at which a server
// wakes up for many messages at once.
type price struct {
	echo, saturated         *Interval
	echoRate, saturatedRate float64
}

func priceOf(v figures.Variant) (p price) {
	of := func(cost, rate string) (*Interval, float64) {
		us, per := v.Summary(figures.Must(cost)), v.Summary(figures.Must(rate))
		if us.N() == 0 || us.Low <= 0 || per.N() == 0 || per.Median <= 0 {
			return nil, 0
		}
		return &Interval{us.Median, us.Low, us.High}, per.Median
	}
	p.echo, p.echoRate = of("cpu.echo_us", "echo.delivered_per_second")
	p.saturated, p.saturatedRate = of("saturate.server_cpu_us", "saturate.delivered_per_second")
	return p
}

// at is the price at a rate; between the two that were measured it is taken to
// follow a power of the rate, beyond them to stay.
func (p price) at(rate float64) *Interval {
	switch {
	case p.saturated == nil:
		return p.echo
	case p.echo == nil || rate >= p.saturatedRate || p.echoRate >= p.saturatedRate:
		return p.saturated
	case rate <= p.echoRate:
		return p.echo
	}
	share := math.Log(rate/p.echoRate) / math.Log(p.saturatedRate/p.echoRate)
	between := func(a, b float64) float64 { return a * math.Pow(b/a, share) }
	return &Interval{
		between(p.echo.Median, p.saturated.Median), between(p.echo.Low, p.saturated.Low), between(p.echo.High, p.saturated.High),
	}
}

// carry says what CPU messages need, or how many messages cores carry.
func (e *Estimate) carry(p price, need Need) {
	e.MeasuredRate = max(p.echoRate, p.saturatedRate)
	if e.MeasuredRate == 0 {
		return
	}
	if need.MessagesPerSecond > 0 {
		us, r := p.at(need.MessagesPerSecond), need.MessagesPerSecond/1e6
		e.Cores = &Interval{us.Median * r, us.Low * r, us.High * r}
		e.BeyondRate = need.MessagesPerSecond / e.MeasuredRate
	}
	if need.Cores > 0 { // all of them busy: saturated
		us, c := p.at(math.Inf(1)), need.Cores*1e6
		e.MessagesPerSecond = &Interval{c / us.Median, c / us.High, c / us.Low}
		e.BeyondRate = e.MessagesPerSecond.Median / e.MeasuredRate
	}
}

// bytesPer adds the server's share of the kernel's memory to the server's own as
// it runs. Bounds are added as if both were off to the same side.
func bytesPer(v figures.Variant, shared bool) *Interval {
	user := v.Summary(figures.Must("per_connection.rss_bytes"))
	settled := v.Summary(figures.Must("per_connection.rss_settled_bytes"))
	kernel := v.Summary(figures.Must("per_connection.kernel_bytes"))
	if user.N() == 0 || kernel.N() == 0 {
		return nil
	}
	// A server cannot run in less than its connections keep, though a short ramp
	// may fit into what the process had taken before.
	if settled.N() > 0 && settled.Median > user.Median {
		user = settled
	}
	share := 1.0
	if shared {
		share = 0.5
	}
	sum := func(of func(stats.Summary) float64) float64 { return of(user) + share*of(kernel) }
	return &Interval{
		Median: sum(func(s stats.Summary) float64 { return s.Median }),
		Low:    sum(func(s stats.Summary) float64 { return s.Low }),
		High:   sum(func(s stats.Summary) float64 { return s.High }),
	}
}

// ports is the number of source ports of the clients, 0 where it is not known.
func ports(run *record.Run) int {
	for _, host := range run.Manifest.Hosts {
		if !slices.Contains(host.Roles, record.RoleClient) {
			continue
		}
		usable, err := addresses.KernelPorts(host.Sysctls["net.ipv4.ip_local_port_range"], host.Sysctls["net.ipv4.ip_local_reserved_ports"])
		if err == nil {
			return int(usable.Len())
		}
	}
	return 0
}

// descriptors is the limit of open files of the server's host, 0 where it is not
// known.
func descriptors(run *record.Run) int {
	for _, host := range run.Manifest.Hosts {
		if slices.Contains(host.Roles, record.RoleServer) {
			n, err := strconv.Atoi(host.Limits["nofile_hard"])
			if err == nil {
				return n
			}
		}
	}
	return 0
}

func assumptions(shared bool, payload, rounds int, need Need) []string {
	list := []string{"Memory grows by the same for each connection, as a line through the steps of the ramp; an empty server comes on top."}
	if shared {
		list = append(list, "Server and clients shared a kernel: half of its memory is taken as the server's.")
	}
	if need.MessagesPerSecond > 0 || need.Cores > 0 {
		list = append(list, fmt.Sprintf("A message of %d bytes costs what it did in the echo phase, and what it did while saturated where that was measured; in between its cost follows a power of the rate, beyond it stays. The CPU is that of the server's processes, and grows by the same for each core.", payload))
		switch {
		case need.MessageBytes > payload:
			list = append(list, fmt.Sprintf("EXTRAPOLATED: messages of %d bytes were not measured. The CPU is that of %d bytes: at least so much.", need.MessageBytes, payload))
		case need.MessageBytes > 0 && need.MessageBytes < payload:
			list = append(list, fmt.Sprintf("EXTRAPOLATED: messages of %d bytes were not measured. The CPU is that of %d bytes: at most so much.", need.MessageBytes, payload))
		}
	}
	if rounds < 2 {
		list = append(list, "One round: how far the figures scatter is not known, so that there is no interval.")
	}
	return append(list, "Descriptors leave out the few that each process needs for other things. Pairs are those of a client's address with an address and port of the server, at least so many: more addresses or more ports on either side give more.")
}
