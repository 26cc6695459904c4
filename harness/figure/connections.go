package figure

import (
	"connbench/harness/environment"
	"connbench/harness/record"
)

// Places of this package's figures in the list. Phases put theirs between or behind
// them.
const (
	PlaceConnections = 100
	PlaceRamp        = 200
	PlaceMemory      = 300
	PlaceCPU         = 400
	PlaceLoads       = 500
	PlaceAfter       = 900
)

func init() {
	Add(PlaceConnections, Figure{
		Name: "connections.reached", Title: "reached", Alone: "connections reached", Unit: UnitConnections, Kind: Capacity, Better: Higher,
		Means:     "Connections that answered the census at the end of the hold: swarm, server and kernel counted the same.",
		Of:        func(t *record.Trial) *float64 { return Int(&t.Connections.Reached) },
		Depends:   []environment.Fact{environment.Memory, environment.MemoryLimit, environment.Plan("connections")},
		Tolerance: 0.01,
		Tables:    []Table{TableCapacity, TableComparison},
	})
}
