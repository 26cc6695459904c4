package suite

import (
	"context"
	"fmt"
	"math"
	"slices"

	"connbench/clients/control"
	"connbench/harness/cause"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/plan"
	"connbench/harness/reading"
	"connbench/harness/table"
	"connbench/harness/variant"
)

// Size is how large a run is, and what bounds it.
type Size struct {
	// Target is the number of connections, Processes how many server processes
	// share them.
	Target, Processes int
	// OwnTarget is the number of connections of servers that speak TCP themselves, 0 if it is
	// Target.
	OwnTarget  int
	Prediction limits.Prediction
	// Cautions name kernel settings that will end a ramp to the maximum before memory does.
	Cautions []string
}

// Limit describes the first limit; "" if none is known.
func (s Size) Limit() string {
	limit, ok := s.Prediction.Binding()
	if !ok {
		return ""
	}
	return fmt.Sprintf("at most %s connections, limited by %s (%s = %s)", count(*limit.Connections), limit.Name, limit.Where, limit.Value)
}

func count(n int64) string { return table.Count(int(n)) }

// Predict computes the limits of the lab for the choice with the lowest limit, from the
// cost of one connection.
func Predict(ctx context.Context, p plan.Plan, l *lab.Lab, choices []variant.Choice, cost limits.Cost) (limits.Prediction, error) {
	t := limits.Topology{
		Shared: l.Shared, Packet: p.Client.Engine == control.EnginePacket, Processes: p.Server.Processes,
		Addresses: l.Server.Addresses, PortsPerProcess: p.Server.Ports, Backlog: p.Server.Backlog,
		OpenFiles:    p.Server.OpenFiles,
		Loops:        len(l.Server.CPUs),
		ReserveBytes: p.MemoryReserveBytes, Cost: cost,
		ServerHosts: len(l.Servers()), Neighbours: neighbours(l, l.Server.Host),
	}
	if !slices.ContainsFunc(choices, func(c variant.Choice) bool { return c.Device == "" }) {
		t.Device, t.Processes, t.Addresses = true, 1, l.Server.Device
	}
	if p.Connections != plan.Max {
		t.Connections = int(p.Connections)
	}
	for _, choice := range choices {
		if most := choice.Limits.MaxConnectionsPerProcess; most > 0 && (t.LibraryCap == 0 || most < t.LibraryCap) {
			t.LibraryCap = most
		}
	}
	server, err := factsOf(ctx, l.Server.Host, p.MemoryReserveBytes)
	if err != nil {
		return limits.Prediction{}, err
	}
	clients, err := clientsOf(ctx, p, l)
	if err != nil {
		return limits.Prediction{}, err
	}
	return limits.Compute(server, clients, t), nil
}

// clientsOf returns the client hosts, and what the swarm may use there.
func clientsOf(ctx context.Context, p plan.Plan, l *lab.Lab) (clients []limits.Client, err error) {
	clients = make([]limits.Client, len(l.Clients))
	err = lab.Together(len(clients), func(i int) error {
		client := l.Clients[i]
		facts, err := factsOf(ctx, client.Host, p.MemoryReserveBytes)
		clients[i] = limits.Client{
			Facts: facts, Sources: client.Sources, FirstPort: p.Client.FirstPort, LastPort: p.Client.LastPort,
			Processes: p.Client.Processes, OpenFiles: p.Client.OpenFiles,
		}
		return err
	})
	return clients, err
}

// neighbours is how many other server hosts run on the kernel of one.
func neighbours(l *lab.Lab, host *lab.Host) (n int) {
	for _, other := range l.Servers() {
		if other != host && other.Place().Kernel == host.Place().Kernel {
			n++
		}
	}
	return n
}

// RunningPart is what one host has of a server that runs already.
type RunningPart struct {
	Host    *lab.Host
	Running limits.Running
	// System is a detailed reading with the control groups of its process.
	System reading.System
}

// PredictRunning computes the limits of a server that runs already, and listens on addresses.
// Of several parts, it returns those of the one that is full first: all get as many
// connections.
func PredictRunning(ctx context.Context, p plan.Plan, l *lab.Lab, parts []RunningPart, addresses []string) (first limits.Prediction, err error) {
	clients, err := clientsOf(ctx, p, l)
	if err != nil {
		return first, err
	}
	for i, part := range parts {
		t := limits.Topology{
			Shared: l.Shared, Packet: p.Client.Engine == control.EnginePacket, Processes: 1, Running: &part.Running,
			Addresses: addresses, PortsPerProcess: 1, Loops: 1, ReserveBytes: p.MemoryReserveBytes,
			ServerHosts: len(parts), Neighbours: neighbours(l, part.Host),
		}
		if p.Connections != plan.Max {
			t.Connections = int(p.Connections)
		}
		prediction := limits.Compute(facts(part.Host.Facts, part.System, p.MemoryReserveBytes), clients, t)
		if i == 0 || prediction.Ceiling != nil && (first.Ceiling == nil || *prediction.Ceiling < *first.Ceiling) {
			first = prediction
		}
	}
	return first, nil
}

// beyondMemory is how far a ramp to the maximum aims beyond the number that memory is
// predicted to hold: memory should end the ramp, not the prediction.
const beyondMemory = 1.2

// leastBytes is less than any connection takes of a budget, in bytes, by how many of its ends
// the server's kernel holds: a server that speaks TCP itself may take 33.
func leastBytes(ends int) int64 {
	if ends > 0 {
		return limits.SocketBytes
	}
	return 32
}

// inBudget is the largest number of connections, of those that limits allow, that a budget can
// hold.
func inBudget(allowed, budget int64, ends int) int {
	return int(max(1, min(allowed, budget/leastBytes(ends))))
}

// ownTarget is inBudget for those of the choices that speak TCP themselves, 0 if there are none
// or the others' holds for them. What a connection takes of them may be known of none, so
// memory is not predicted: the budget bounds it.
func ownTarget(ctx context.Context, p plan.Plan, l *lab.Lab, choices []variant.Choice) (int, error) {
	own := slices.DeleteFunc(slices.Clone(choices), func(c variant.Choice) bool { return c.Device == "" })
	ends := 1
	if len(own) > 0 {
		ends = kernelEnds(l, p, own[0].Device)
	}
	if ends > 0 {
		return 0, nil
	}
	prediction, err := Predict(ctx, p, l, own, limits.Cost{})
	if err != nil {
		return 0, err
	}
	_, others := prediction.Ceilings()
	if others == nil {
		return 0, nil
	}
	return inBudget(*others, p.BudgetBytes, 0), nil
}

// Fit decides the number of connections and of server processes. If the lab cannot hold
// the target, the error, a mistake of the caller, names the limit. cost is the lowest
// measured cost of a connection among the choices.
func Fit(ctx context.Context, p plan.Plan, l *lab.Lab, choices []variant.Choice, cost limits.Cost) (Size, error) {
	prediction, err := Predict(ctx, p, l, choices, cost)
	if err != nil {
		return Size{}, err
	}
	s := Size{Target: int(p.Connections), Processes: p.Server.Processes, Prediction: prediction}
	if spendable := prediction.SpendableBytes; p.BudgetBytes > 0 && spendable != nil && p.BudgetBytes > *spendable {
		return s, explain.Hint(explain.Usagef("a budget of %s does not fit: connections may take %s on the server's host, without what memory_reserve_bytes keeps",
			table.Memory(p.BudgetBytes), table.Memory(max(0, *spendable))), "take a smaller budget")
	}
	if p.Connections == plan.Max {
		memory, others := prediction.Ceilings()
		if others == nil || *others < 1 {
			return s, explain.Hint(errNoCeiling, "name a number of connections")
		}
		s.Target = int(*others)
		if memory != nil {
			s.Target = max(1, min(s.Target, int(float64(*memory)*beyondMemory)))
			s.Cautions = cautions(prediction, *memory)
		}
		if p.BudgetBytes > 0 {
			s.Target, s.Cautions = inBudget(int64(s.Target), p.BudgetBytes, 1), nil
			if s.OwnTarget, err = ownTarget(ctx, p, l, choices); err != nil {
				return s, err
			}
		}
	} else if exceeded := prediction.Exceeded(s.Target); len(exceeded) > 0 {
		limit := exceeded[0]
		return s, explain.Hint(explain.Usagef("%s connections do not fit: at most %s do, limited by %s (%s = %s)",
			table.Count(s.Target), count(*limit.Connections), limit.Name, limit.Where, limit.Value), "%s, or take max", limit.Raise)
	}
	if s.Processes == 0 {
		s.Processes = prediction.Processes(s.Target)
	}
	return s, havePorts(p.Server, s.Processes)
}

// errNoCeiling is the error where the maximum is asked for, and is not known.
var errNoCeiling = explain.Usagef("connections = max cannot be worked out: no limit is known here, or one is already used up")

// havePorts returns an error if the plan's first port leaves too few ports above it
// for the processes.
func havePorts(server plan.Server, processes int) error {
	last := server.Port + processes*server.Ports - 1
	if server.Port == 0 || last <= math.MaxUint16 {
		return nil
	}
	return explain.Hint(explain.Usagef("server.port is %d: it leaves too few ports for %s processes with %d each, the last would be %d",
		server.Port, table.Count(processes), server.Ports, last), "take a smaller one, or 0 for any")
}

// cautions returns cautions about the settings that scripts/tune.sh raises.
func cautions(p limits.Prediction, memory int64) []string {
	var list []string
	for _, l := range p.Exceeded(int(memory)) {
		if c := cause.Named(l.Reason); c != nil && c.Tuned {
			list = append(list, fmt.Sprintf("%s = %s allows %s connections, and memory about %s: sudo scripts/tune.sh apply %d raises it",
				l.Where, l.Value, count(*l.Connections), count(memory), memory))
		}
	}
	return list
}
