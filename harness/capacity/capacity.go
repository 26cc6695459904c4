// Package capacity works out, from what a run measured, what a number of
// connections would need, or how many a machine would hold. It is arithmetic on
// medians and their intervals, and says where it goes beyond what was measured.
package capacity

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"connbench/harness/figures"
	"connbench/harness/record"
	"connbench/harness/stats"
)

// Need is what is asked. One of Connections and MemoryBytes is given.
type Need struct {
	Connections int
	// MemoryBytes is what servers and kernel may take of a machine's memory.
	MemoryBytes float64
	// MessagesPerSecond are echoes over all connections; 0: idle.
	MessagesPerSecond float64
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
	// Measured is the largest number of connections that the run held, and Beyond
	// how many times that the estimate goes; 1 or less is within.
	Measured int     `json:"measured"`
	Beyond   float64 `json:"beyond"`
}

// Answer is what a run says about a need.
type Answer struct {
	Estimates []Estimate `json:"estimates"`
	// Descriptors is what the server processes must be allowed together;
	// PortsPerAddress how many connections one client address can have to one
	// address and port of the server, by the port range of the run's clients, and
	// Pairs how many such pairs of client address and server port are needed. All
	// are 0 where the number of connections is not asked for.
	Descriptors     int `json:"descriptors"`
	PortsPerAddress int `json:"ports_per_address"`
	Pairs           int `json:"pairs"`
	// Assumptions say what the figures rest on.
	Assumptions []string `json:"assumptions"`
}

// Of answers a need from a run.
func Of(run *record.Run, need Need) Answer {
	shared := run.BothEnds()
	a := Answer{Estimates: []Estimate{}}
	payload := 0
	for _, v := range figures.Variants(run) {
		if len(v.Valid) == 0 {
			continue
		}
		e := Estimate{Variant: v.String()}
		for _, trial := range v.Valid {
			e.Measured = max(e.Measured, trial.Connections.Reached)
			if trial.Echo != nil {
				payload = trial.Echo.PayloadBytes
			}
		}
		e.BytesPerConnection = bytesPer(v, shared)
		if bytes := e.BytesPerConnection; bytes != nil {
			if need.Connections > 0 {
				n := float64(need.Connections)
				e.Connections = &Interval{n, n, n}
				e.MemoryBytes = &Interval{n * bytes.Median, n * bytes.Low, n * bytes.High}
			} else if bytes.Low > 0 {
				e.Connections = &Interval{math.Floor(need.MemoryBytes / bytes.Median), math.Floor(need.MemoryBytes / bytes.High), math.Floor(need.MemoryBytes / bytes.Low)}
			}
		}
		if e.Connections != nil && e.Measured > 0 {
			e.Beyond = e.Connections.Median / float64(e.Measured)
		}
		if us := v.Summary(figures.Must("cpu.echo_us")); us.N() > 0 && us.Low > 0 {
			if need.MessagesPerSecond > 0 {
				r := need.MessagesPerSecond / 1e6
				e.Cores = &Interval{us.Median * r, us.Low * r, us.High * r}
			}
			if need.Cores > 0 {
				c := need.Cores * 1e6
				e.MessagesPerSecond = &Interval{c / us.Median, c / us.High, c / us.Low}
			}
		}
		a.Estimates = append(a.Estimates, e)
	}
	if need.Connections > 0 {
		a.Descriptors = need.Connections
		if a.PortsPerAddress = ports(run); a.PortsPerAddress > 0 {
			a.Pairs = (need.Connections + a.PortsPerAddress - 1) / a.PortsPerAddress
		}
	}
	a.Assumptions = assumptions(shared, payload, need)
	return a
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

// ports is the size of the clients' port range, 0 where it is not known.
func ports(run *record.Run) int {
	for _, host := range run.Manifest.Hosts {
		for _, role := range host.Roles {
			if role != record.RoleClient {
				continue
			}
			bounds := strings.Fields(host.Sysctls["net.ipv4.ip_local_port_range"])
			if len(bounds) != 2 {
				continue
			}
			first, errFirst := strconv.Atoi(bounds[0])
			last, errLast := strconv.Atoi(bounds[1])
			if errFirst == nil && errLast == nil && last >= first {
				return last - first + 1
			}
		}
	}
	return 0
}

func assumptions(shared bool, payload int, need Need) []string {
	list := []string{"Memory grows by the same for each connection, as a line through the steps of the ramp; an empty server comes on top."}
	if shared {
		list = append(list, "Server and clients shared a kernel: half of its memory is taken as the server's.")
	}
	if need.MessagesPerSecond > 0 || need.Cores > 0 {
		list = append(list, fmt.Sprintf("A message costs what it did in the echo phase, %d bytes each; the CPU is that of the server's processes.", payload))
	}
	if need.Connections > 0 {
		list = append(list, "Descriptors leave out the few that each process needs for other things. A pair is one client address with one address and port of the server: more addresses or more ports on either side give more.")
	}
	return list
}
