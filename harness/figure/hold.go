package figure

import (
	"connbench/harness/environment"
	"connbench/harness/record"
)

// IdleCPU is what the server spends while nothing is sent.
var IdleCPU = Add(PlaceCPU+50, Figure{
	Name: "cpu.idle_cores", Title: "CPU while idle", Unit: UnitCores, Kind: CPU, Better: Lower, Phase: "hold",
	Means:   "CPU seconds of the server per second while all connections are open and nothing is sent.",
	Of:      func(t *record.Trial) *float64 { return t.CPU.IdleCores },
	Depends: with(Speed, environment.Plan("connections")),
	Tables:  []Table{TableCost, TableComparison},
})
