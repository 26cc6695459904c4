package worker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/latency"
	"connbench/clients/internal/load"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/security"
)

// Order is one line from the coordinator to a worker. While a worker carries out
// one, the only other that it may be sent is control.OpStop.
type Order struct {
	load.Job
	// Assignment comes with control.OpConfigure.
	Assignment *Assignment `json:",omitempty"`
}

// Assignment is a worker's part of the configuration. The source ports in its
// Config are always given.
type Assignment struct {
	control.Config
	Reserved []addresses.PortRange
	Worker   int
	Workers  int
	// Capacity is the largest number of this worker's connections.
	Capacity int
}

// Tuples returns the four-tuples of the whole swarm, the same in all processes.
func (a *Assignment) Tuples() (*addresses.Tuples, error) {
	return addresses.NewTuples(a.Sources, a.Targets, addresses.PortRange{First: a.FirstPort, Last: a.LastPort}, a.Reserved)
}

// Layers are everything between the network and a load.
type Layers struct {
	Engine   Engine
	Security security.Layer
	Protocol protocol.Definition
}

// LayersOf returns the layers that a configuration asks for.
func LayersOf(c control.Config) (l Layers, err error) {
	if l.Engine, err = engineNamed(c.Engine); err != nil {
		return l, err
	}
	if l.Security, err = security.Layers.Find(cmp.Or(c.Security, security.None)); err != nil {
		return l, err
	}
	spoken := cmp.Or(c.Protocol, control.ProtocolWebSocket)
	if l.Protocol, err = protocol.Protocols.Find(spoken); err != nil {
		return l, err
	}
	return l, cmp.Or(
		belongs("compression", c.Compression, control.Compressions, spoken, control.ProtocolWebSocket),
		belongs("hear", c.Hear, control.Hearings, spoken, control.ProtocolHTTP),
	)
}

// belongs is an error unless the value of a key is empty, or one of several that only one protocol
// has.
func belongs(key, value string, values []string, spoken, only string) error {
	switch {
	case value == "":
		return nil
	case !slices.Contains(values, value):
		return fmt.Errorf("unknown %s %q; there are: %s", key, value, strings.Join(values, ", "))
	case spoken != only:
		return fmt.Errorf("%s %q needs protocol %q, and it is %q", key, value, only, spoken)
	}
	return nil
}

// Reply is one line from a worker to the coordinator. The result in it has no
// histogram: those are the counts next to it.
type Reply struct {
	control.Event
	// Began and Ended are as in connections.Report.
	Began   int64           `json:",omitempty"`
	Ended   int64           `json:",omitempty"`
	Latency []latency.Count `json:",omitempty"`
	Lag     []latency.Count `json:",omitempty"`
}

// replyOf is the reply that a report becomes.
func replyOf(r connections.Report) Reply {
	return Reply{
		Event:   control.Event{Result: &r.Result},
		Began:   r.Began,
		Ended:   r.Ended,
		Latency: r.Latency,
		Lag:     r.Lag,
	}
}
