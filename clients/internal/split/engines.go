package split

import (
	"cmp"
	"fmt"
	"strings"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/engine/packet"
	"connbench/clients/internal/engine/socket"
)

// engineKind is how the swarm is laid out for an engine.
type engineKind struct {
	name string
	// check says whether connections are possible at all.
	check func(*addresses.Tuples) error
	// workers is the number of processes for a number of connections: as many as
	// asked for, 0: as it sees fit.
	workers func(connections, cpus, asked int, plan *addresses.Tuples) (int, error)
	// share is a worker's part of the four-tuples.
	share func(plan *addresses.Tuples, worker, workers int) addresses.Share
	// open makes the engine of a worker, for capacity connections.
	open func(share addresses.Share, capacity, wake int) (engine.Engine, error)
}

var engines = []engineKind{
	{
		name:  control.EngineSocket,
		check: func(p *addresses.Tuples) error { return socket.Check(p.Sources().Ends(), p.Targets()) },
		workers: func(connections, cpus, asked int, _ *addresses.Tuples) (int, error) {
			return workersNeeded(connections, cpus, asked)
		},
		share: (*addresses.Tuples).Share,
		open: func(_ addresses.Share, capacity, wake int) (engine.Engine, error) {
			e, err := socket.New(capacity, wake)
			if err != nil {
				return nil, fmt.Errorf("epoll: %w", err)
			}
			return e, nil
		},
	},
	{
		name:  control.EnginePacket,
		check: func(p *addresses.Tuples) error { return packet.Check(p.Sources().Given(), p.Targets()) },
		// Descriptors do not limit it; each worker has addresses of its own.
		workers: func(connections, cpus, asked int, p *addresses.Tuples) (int, error) {
			return int(min(uint64(min(connections, cmp.Or(asked, cpus))), p.Sources().Len())), nil
		},
		share: (*addresses.Tuples).Slice,
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
func engineNamed(name string) (engineKind, error) {
	for _, e := range engines {
		if e.name == name {
			return e, nil
		}
	}
	return engineKind{}, fmt.Errorf("unknown engine %q; there are: %s", name, strings.Join(control.Engines, ", "))
}
