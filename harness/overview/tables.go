package overview

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"connbench/harness/cause"
	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// The tables of every run: what its connections are, cost and carry, where the kernel's
// bytes go, and what is left at the end.
var (
	_ = Add(100, Table{
		Name: figure.TableCapacity, Title: "Capacity: how many connections, and what stopped the next one",
		Columns: capacityColumns, Shown: always,
		Notes: func(run Run) []string {
			notes := whoseWebSocket(run.Manifest.Variants)
			if run.Manifest.Limit != "" {
				notes = append(notes, "Predicted before the first trial: "+run.Manifest.Limit)
			}
			return notes
		},
	})
	_ = Add(200, Table{
		Name: figure.TableCost, Title: "Cost: what one connection takes",
		Columns: Labels, Shown: always,
	})
	_ = Add(300, Table{
		Name: figure.TableLoad, Title: "Load: what the connections carry",
		Columns: func(run Run) []Column { return append(Labels(run), clientBoundColumn(run)) },
	})
	_ = Add(500, Table{
		Name: figure.TableKernel, Title: "Kernel: where a connection's bytes go",
		Columns: func(run Run) []Column { return append(Labels(run), kernelColumns(run)...) },
		Shown:   func(run Run) bool { return len(kernelColumns(run)) > 0 },
	})
	_ = Add(600, Table{
		Name: figure.TableAfter, Title: "After: what is left when all connections are closed",
		Columns: Labels,
	})

	_ = AddNote(figure.Kernel, WhoseKernel)
)

// whoseWebSocket says which variants do not use the WebSocket implementation of their
// library. It returns nothing if all do.
func whoseWebSocket(variants []record.Variant) (notes []string) {
	names := map[string][]string{} // of the variants, by what speaks WebSocket
	for _, v := range variants {
		if v.Class == record.ClassAttached {
			continue // nobody knows
		}
		if v.Protocol != "" {
			continue // it is spoken to without WebSocket
		}
		if !slices.Contains(names[v.WebSocket], v.Name) {
			names[v.WebSocket] = append(names[v.WebSocket], v.Name)
		}
	}
	others := len(names[""]) > 0
	delete(names, "")
	for _, what := range slices.Sorted(maps.Keys(names)) {
		notes = append(notes, fmt.Sprintf("WebSocket of %s: %s.", table.List(names[what]), what))
	}
	if len(notes) > 0 && others {
		notes[len(notes)-1] += " That of the others is their library's."
	}
	return notes
}

func always(Run) bool { return true }

// Labels is the column that names the variants.
func Labels(run Run) []Column { return []Column{named(run.Label)} }

// named is the column of variants' names, with a footnote for each that the gate has let
// pass with a waiver, or that has no kernel sockets.
func named(name func(figure.Variant) string) Column {
	c := Words(0, "variant", name)
	c.Doubt = figure.Variant.Note
	return c
}

// capacityColumns name the variants in full, and say what stopped their ramps.
func capacityColumns(run Run) []Column {
	const stop = figure.PlaceConnections
	columns := []Column{
		named(func(v figure.Variant) string { return v.Name }),
		Words(0, "class", func(v figure.Variant) string { return v.Class }),
		Words(0, "I/O model", func(v figure.Variant) string { return v.Model }),
		count(table.Column{Title: "processes", Means: "Server processes that were started. Some start others, which are measured with them."}, 0,
			func(t *record.Trial) int { return t.ServerProcesses }),
		count(table.Column{Title: "target", Unit: "conn", Means: "Connections asked for."}, 0,
			func(t *record.Trial) int { return t.Connections.Target }),
		Words(stop, "stopped by", func(v figure.Variant) string { return StopReasons(v.Valid) }),
	}
	if memory := serverMemory(run.Manifest); memory > 0 && slices.ContainsFunc(run.Variants, filledMemory) {
		columns = append(columns, inMemory(memory, stop))
	}
	return append(columns, Words(Last, "valid trials", func(v figure.Variant) string {
		return fmt.Sprintf("%d of %d", len(v.Valid), len(v.Valid)+len(v.Invalid))
	}))
}

// inMemory is a column of the connections reached per GiB of the server host's memory,
// in bytes.
func inMemory(memory int64, place int) Column {
	c := count(table.Column{
		Title: "in memory", Unit: "conn/GiB",
		Means: "Connections reached per GiB of the server host's memory, where that is what stopped the ramp.",
	}, place, func(t *record.Trial) int {
		return int(float64(t.Connections.Reached) / float64(memory) * (1 << 30))
	})
	of := c.Cell
	c.Cell = func(v figure.Variant) table.Cell {
		if !filledMemory(v) {
			return table.Words(table.Missing)
		}
		return of(v)
	}
	return c
}

// count is a column of whole numbers that trials have.
func count(c table.Column, place int, of func(*record.Trial) int) Column {
	return Column{Column: c, Place: place, Cell: func(v figure.Variant) table.Cell {
		var values []float64
		for _, trial := range v.Valid {
			values = append(values, float64(of(trial)))
		}
		return table.Summary(stats.Summarize(values), figure.UnitConnections)
	}}
}

// serverMemory is the memory of the server's host in bytes, 0 if that is unknown.
func serverMemory(m record.Manifest) int64 {
	for _, host := range m.Hosts {
		if slices.Contains(host.Roles, record.RoleServer) {
			return host.MemoryBytes
		}
	}
	return 0
}

// filledMemory is true where each valid trial went on until memory stopped it.
func filledMemory(v figure.Variant) bool {
	return len(v.Valid) > 0 && !slices.ContainsFunc(v.Valid, func(t *record.Trial) bool {
		return !cause.FullMemory(t.Stop.Reason)
	})
}

// StopReasons lists what ended the ramps, the most frequent first.
func StopReasons(trials []*record.Trial) string {
	times := map[string]int{}
	var reasons []string
	for _, trial := range trials {
		if times[trial.Stop.Reason]++; times[trial.Stop.Reason] == 1 {
			reasons = append(reasons, trial.Stop.Reason)
		}
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return times[b] - times[a] })
	if len(reasons) == 0 {
		return table.Missing
	}
	if len(reasons) > 1 {
		for i, reason := range reasons {
			reasons[i] = fmt.Sprintf("%s (%d)", reason, times[reason])
		}
	}
	return strings.Join(reasons, ", ")
}

// WhoseKernel says which ends of the connections the kernel's memory holds, where it
// might be both.
func WhoseKernel(run *record.Run) []string {
	switch {
	case run.BothEnds():
		return []string{"Kernel memory holds both ends of each connection: server and clients share a host."}
	case run.Manifest.OneKernel():
		return []string{"Kernel memory is the server's side alone: the clients' engine (packet) has no sockets."}
	case len(run.Manifest.Hosts) > 1:
		return []string{"Kernel memory is the server's side alone: the server is alone on its kernel."}
	}
	return nil
}

// clientBoundColumn names the loads in which the swarm set the pace.
func clientBoundColumn(run Run) Column {
	c := Words(Last, "client-bound", func(v figure.Variant) string { return clientBound(v.Valid) })
	for _, v := range run.Variants {
		if text := clientBound(v.Valid); text != "no" && text != table.Missing {
			c.Notes = []string{"Client-bound: in that phase the clients, not the server, set the pace; the server could have done more."}
		}
	}
	return c
}

func clientBound(trials []*record.Trial) string {
	times, bound := map[string]int{}, map[string]int{}
	for _, trial := range trials {
		for name, load := range trial.Loads() {
			times[name]++
			if load.ClientBound {
				bound[name]++
			}
		}
	}
	if len(times) == 0 {
		return table.Missing
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(bound)) {
		if bound[name] < times[name] {
			name = fmt.Sprintf("%s (%d of %d)", name, bound[name], times[name])
		}
		names = append(names, name)
	}
	return cmp.Or(strings.Join(names, ", "), "no")
}

// kernelKinds is the number of kinds of kernel memory that have a column, the largest.
const kernelKinds = 9

// kernelColumns are the largest kinds of kernel memory per connection.
func kernelColumns(run Run) []Column {
	largest := map[string]float64{}
	for _, v := range run.Variants {
		for _, trial := range v.Valid {
			for kind := range trial.KernelCaches {
				largest[kind] = max(largest[kind], kernelOf(kind, v).Median)
			}
		}
	}
	kinds := slices.SortedFunc(maps.Keys(largest), func(a, b string) int {
		return cmp.Or(cmp.Compare(largest[b], largest[a]), cmp.Compare(a, b))
	})
	var columns []Column
	for _, kind := range kinds[:min(kernelKinds, len(kinds))] {
		title, means := strings.ReplaceAll(kind, "_", " "), "Growth per connection."
		if cache, ok := strings.CutPrefix(kind, "slab:"); ok {
			title, means = cache, "Growth of this slab cache per connection, whole slabs."
		}
		columns = append(columns, Column{
			Column: table.Column{Title: title, Unit: table.Unit(figure.UnitBytes), Means: means},
			Cell: func(v figure.Variant) table.Cell {
				s := kernelOf(kind, v)
				if figure.NoSlope(s) != "" {
					return table.Words(table.Missing)
				}
				return table.Summary(s, figure.UnitBytes)
			},
			Doubt: func(v figure.Variant) string { return figure.NoSlope(kernelOf(kind, v)) },
		})
	}
	if len(kinds) > kernelKinds {
		columns[len(columns)-1].Notes = []string{fmt.Sprintf("The %d largest kinds; trials.jsonl has all.", kernelKinds)}
	}
	return columns
}

// kernelOf is a kind of kernel memory per connection. One that a trial does not list is
// next to nothing there.
func kernelOf(kind string, v figure.Variant) stats.Summary {
	var values []float64
	for _, trial := range v.Valid {
		if len(trial.KernelCaches) > 0 {
			values = append(values, trial.KernelCaches[kind])
		}
	}
	return stats.Summarize(values)
}
