package coordinator

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/usage"
	"connbench/clients/internal/worker"
)

const (
	// ownDescriptors is what a process needs besides its connections or workers:
	// standard streams, epoll, the Go runtime's own, and some to spare.
	ownDescriptors = 32
	// workerDescriptors is what a worker costs the coordinator: two pipes, and
	// the pidfd by which Go's os/exec knows it.
	workerDescriptors = 3
)

// configure checks the configuration and starts the workers.
func (c *coordinator) configure(config *control.Config) (*control.Result, error) {
	switch {
	case c.workers != nil:
		return nil, errors.New("configure: done already")
	case config == nil:
		return nil, errors.New("configure: config is missing")
	case config.Processes < 0:
		return nil, fmt.Errorf("configure: processes: %d is negative", config.Processes)
	case config.Connections < 1:
		return nil, fmt.Errorf("configure: connections: %d is not positive", config.Connections)
	case config.Host < 0 || config.Host >= max(config.Hosts, 1):
		return nil, fmt.Errorf("configure: host: there is no number %d of %d", config.Host, max(config.Hosts, 1))
	}
	if config.Opening != nil {
		if err := config.Opening.Check(); err != nil {
			return nil, fmt.Errorf("configure: opening: %w", err)
		}
	}
	c.config = *config
	a, cpus, err := c.assign()
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	before, began := usage.CPU(), clock.Now()
	if err := c.employ(a, cpus); err != nil {
		c.end()
		c.workers = nil
		return nil, fmt.Errorf("configure: %w", err)
	}
	used := usage.CPU().Sub(before)
	return &control.Result{
		Processes: a.Workers,
		Seconds:   float64(clock.Now()-began) / 1e9,
		Usage: control.Usage{
			UserSeconds:   used.User,
			SystemSeconds: used.System,
			RSSBytes:      c.memory.Resident(),
			PSSBytes:      c.memory.Proportional(),
		},
	}, nil
}

// assign works out what the workers are assigned, but for what differs between them,
// and which CPUs they run on.
func (c *coordinator) assign() (a worker.Assignment, cpus []int, err error) {
	a = worker.Assignment{Config: c.config}
	a.Connections = share(c.config.Connections, c.config.Host, max(c.config.Hosts, 1))
	if c.layers, err = worker.LayersOf(a.Config); err != nil {
		return a, nil, err
	}
	if err := resolvePorts(&a); err != nil {
		return a, nil, err
	}
	tuples, err := a.Tuples()
	if err != nil {
		return a, nil, err
	}
	if err := c.layers.Engine.Check(tuples); err != nil {
		return a, nil, err
	}
	if cpus, err = usableCPUs(a.CPUs); err != nil {
		return a, nil, err
	}
	a.Workers, err = workersNeeded(a.Config, c.layers.Engine, len(cpus), tuples)
	return a, cpus, err
}

// employ starts the workers and gives them their assignments.
func (c *coordinator) employ(a worker.Assignment, cpus []int) error {
	if err := c.start(a.Workers, cpus); err != nil {
		return err
	}
	orders := make([]worker.Order, a.Workers)
	for i := range orders {
		part := a
		part.Worker = i
		part.Capacity = share(a.Connections, i, a.Workers)
		c.workers[i].capacity = part.Capacity
		orders[i] = worker.Order{Assignment: &part}
		orders[i].Op = control.OpConfigure
	}
	_, err := c.carry(orders, len(orders))
	return err
}

// resolvePorts asks the kernel for the reserved ports and, where none are given, for
// the source ports.
func resolvePorts(a *worker.Assignment) error {
	const folder = "/proc/sys/net/ipv4/"
	reserved, err := os.ReadFile(folder + "ip_local_reserved_ports")
	if err != nil {
		return err
	}
	if a.Reserved, err = addresses.ParseReserved(string(reserved)); err != nil {
		return err
	}
	if a.FirstPort != 0 || a.LastPort != 0 {
		return nil
	}
	local, err := os.ReadFile(folder + "ip_local_port_range")
	if err != nil {
		return err
	}
	ports, err := addresses.ParsePortRange(string(local))
	a.FirstPort, a.LastPort = ports.First, ports.Last
	return err
}

// workersNeeded returns the number of worker processes: as many as asked for; 0: one
// for each CPU, or as many as the limit of descriptors demands.
func workersNeeded(c control.Config, engine worker.Engine, cpus int, tuples *addresses.Tuples) (int, error) {
	workers := min(cmp.Or(c.Processes, cpus), c.Connections)
	if engine.OwnAddresses {
		workers = int(min(uint64(workers), tuples.Sources().Len()))
	}
	if !engine.Descriptors {
		return workers, nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	// Go raises the soft limit to the hard one at the start of every process.
	if limit.Max <= ownDescriptors {
		return 0, fmt.Errorf("RLIMIT_NOFILE is %d, and every process needs more than %d; raise it (ulimit -n)", limit.Max, ownDescriptors)
	}
	each := int(min(limit.Max-ownDescriptors, 1<<31))
	if c.Processes == 0 {
		workers = max(workers, (c.Connections+each-1)/each)
	}
	if most := each / workerDescriptors; workers > most {
		return 0, fmt.Errorf("with RLIMIT_NOFILE %d, %d connections need %d processes, and %d can be held together; raise it (ulimit -n)", limit.Max, c.Connections, workers, most)
	}
	return workers, nil
}
