package worker

import (
	"fmt"
	"strings"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/engine/packet"
	"connbench/clients/internal/engine/socket"
)

// Engine is an engine that can be chosen, and what a swarm of several processes has
// to know of it.
type Engine struct {
	name string
	// Check returns why connections are not possible at all.
	Check func(*addresses.Tuples) error
	// Descriptors says that each connection takes a descriptor, so that their limit
	// bounds the connections of a process.
	Descriptors bool
	// OwnAddresses says that each worker has source addresses of its own.
	OwnAddresses bool
	// open makes the engine of a worker, for capacity connections, woken by a
	// descriptor.
	open func(share addresses.Share, capacity, wake int) (engine.Engine, error)
}

var engines = []Engine{
	{
		name:        control.EngineSocket,
		Check:       func(t *addresses.Tuples) error { return socket.Check(t.Sources().Ends(), t.Targets()) },
		Descriptors: true,
		open: func(_ addresses.Share, capacity, wake int) (engine.Engine, error) {
			e, err := socket.New(capacity, wake)
			if err != nil {
				return nil, fmt.Errorf("epoll: %w", err)
			}
			return e, nil
		},
	},
	{
		name:         control.EnginePacket,
		Check:        func(t *addresses.Tuples) error { return packet.Check(t.Sources().Given(), t.Targets()) },
		OwnAddresses: true,
		open: func(share addresses.Share, capacity, wake int) (engine.Engine, error) {
			e, err := packet.New(packet.Config{Share: share, Capacity: capacity, Wake: wake})
			if err != nil {
				return nil, err
			}
			return e, nil
		},
	},
}

// engineNamed finds an engine.
func engineNamed(name string) (Engine, error) {
	for _, e := range engines {
		if e.name == name {
			return e, nil
		}
	}
	return Engine{}, fmt.Errorf("unknown engine %q; there are: %s", name, strings.Join(control.Engines, ", "))
}

// share returns a worker's part of the four-tuples.
func (e Engine) share(t *addresses.Tuples, worker, workers int) addresses.Share {
	if e.OwnAddresses {
		return t.Slice(worker, workers)
	}
	return t.Share(worker, workers)
}
