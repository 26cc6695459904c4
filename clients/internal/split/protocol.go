// Package split makes one swarm of several processes: the coordinator, which
// speaks clients/control, and the workers, one event loop each. The coordinator
// divides each command, the workers carry out their parts, and what they counted
// is added up; histograms too are added, count by count.
package split

import (
	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/latency"
	"connbench/clients/internal/load"
)

// order is one line from the coordinator to a worker. While a worker carries out
// one, the only other that it may be sent is control.OpStop.
type order struct {
	load.Job
	// Assignment comes with control.OpConfigure.
	Assignment *assignment `json:",omitempty"`
}

// assignment is a worker's part of the configuration. The source ports in its
// Config are always given.
type assignment struct {
	control.Config
	Reserved []addresses.PortRange
	Worker   int
	Workers  int
	// Capacity is the largest number of this worker's connections.
	Capacity int
}

// plan is the whole plan, the same in all processes.
func (a *assignment) plan() (*addresses.Tuples, error) {
	return addresses.NewTuples(a.Sources, a.Targets, addresses.PortRange{First: a.FirstPort, Last: a.LastPort}, a.Reserved)
}

// reply is one line from a worker to the coordinator. The result in it has no
// histogram: those are the counts beside it.
type reply struct {
	control.Event
	// Began and Ended are as in load.Report.
	Began   int64           `json:",omitempty"`
	Ended   int64           `json:",omitempty"`
	Latency []latency.Count `json:",omitempty"`
	Lag     []latency.Count `json:",omitempty"`
}

// share is the part that one of several gets of n: parts differ by one at most,
// and the first ones are the larger, as the shares of a [addresses.Tuples] are.
func share(n, part, parts int) int {
	s := n / parts
	if part < n%parts {
		s++
	}
	return s
}

// levels divides a total among holders that have no more than have: the largest
// give first.
func levels(have []int, total int) []int {
	sum := func(level int) (sum int) {
		for _, n := range have {
			sum += min(n, level)
		}
		return sum
	}
	level := 0
	for step := 1 << 30; step > 0; step /= 2 {
		if sum(level+step) <= total {
			level += step
		}
	}
	rest := total - sum(level)
	parts := make([]int, len(have))
	for i, n := range have {
		parts[i] = min(n, level)
		if n > level && rest > 0 {
			parts[i]++
			rest--
		}
	}
	return parts
}
