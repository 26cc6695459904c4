package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/explain"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/probe"
	"connbench/harness/record/folder"
	"connbench/harness/sizing"
	"connbench/harness/table"
)

func capacityCommand() *cobra.Command {
	f := &flags{}
	var rate, cores *float64
	var payload *int
	c := &cobra.Command{
		Use:   "capacity RUN",
		Short: "Work out from a run what a number of connections needs, or how many a machine holds",
		Long: `Work out from what a run measured what --connections would need of memory, cores,
descriptors, addresses and ports, or how many connections fit into --budget and how
many messages --cores carry; without any, this machine's memory and cores. For each
variant, with the interval of what was measured. What goes beyond the connections or
the messages of the run is marked as extrapolated.`,
		Example: `  connbench capacity results/RUN --connections 1000000 --messages-per-second 50000
  connbench capacity results/RUN --budget 16GiB --cores 8
  connbench capacity results/RUN`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: anyFolder,
		RunE: func(c *cobra.Command, args []string) error {
			need := sizing.Need{MessagesPerSecond: orZero(rate), MessageBytes: orZero(payload), Cores: orZero(cores), MemoryBytes: float64(orZero(f.BudgetBytes))}
			if f.Connections != nil && *f.Connections != plan.Max {
				need.Connections = int(*f.Connections)
			}
			switch {
			case need.Connections > 0 && f.BudgetBytes != nil:
				return explain.Usagef("name either --connections or --budget")
			case payload != nil && rate == nil && cores == nil:
				return explain.Usagef("--message-bytes takes --messages-per-second or --cores as well")
			}
			run, err := folder.Open(args[0])
			if err != nil {
				return explain.Usage(err)
			}
			if need.Connections == 0 && need.MemoryBytes == 0 {
				if err := ofThisMachine(&need); err != nil {
					return err
				}
				if !f.json {
					fmt.Fprintf(c.OutOrStdout(), "this machine: %s, %s cores\n\n", table.Memory(int64(need.MemoryBytes)), table.Number(need.Cores))
				}
			}
			answer := sizing.Of(run, need)
			if len(answer.Estimates) == 0 {
				return fmt.Errorf("%s has no valid trial: there is nothing to go by", args[0])
			}
			if f.json {
				return plain.JSON(c.OutOrStdout(), answer)
			}
			return printCapacity(c.OutOrStdout(), answer, need)
		},
	}
	f.add(c, "connections", "budget", "json")
	// More than these, no machine has or does.
	const mostRate, mostCores, mostPayload = 1e12, 1e6, 1 << 30
	c.Flags().Var(value{"number", into(&rate, positive(mostRate))}, "messages-per-second", "echoes a second over all connections (default: none)")
	c.Flags().Var(value{"number", into(&cores, positive(mostCores))}, "cores", "how many messages a second so many cores carry")
	c.Flags().Var(value{"count", into(&payload, positiveInteger(mostPayload))}, "message-bytes", "payload of a message (default: as measured)")
	for _, flag := range []string{"messages-per-second", "cores", "message-bytes"} {
		mustComplete(c, flag, cobra.NoFileCompletions)
	}
	return c
}

// orZero is what p points to, or 0.
func orZero[T int | int64 | float64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}

// ofThisMachine asks what this machine's memory and cores hold.
func ofThisMachine(need *sizing.Need) error {
	reader, err := probe.Open()
	if err != nil {
		return err
	}
	host, missing := reader.Host("")
	if host.MemoryBytes == 0 || host.CPUs == 0 {
		return explain.Hint(fmt.Errorf("this machine's memory or CPUs cannot be read (%s)", strings.Join(missing, "; ")), "name --connections or --budget")
	}
	need.MemoryBytes = float64(host.MemoryBytes)
	if need.Cores == 0 {
		need.Cores = float64(len(host.UsableCPUs))
	}
	return nil
}

func printCapacity(out io.Writer, answer sizing.Answer, need sizing.Need) error {
	head := []string{"variant", "bytes a connection"}
	if need.Connections > 0 {
		head = append(head, "memory, GiB")
	} else {
		head = append(head, "connections")
	}
	if need.MessagesPerSecond > 0 {
		head = append(head, "cores")
	}
	if need.Cores > 0 {
		head = append(head, "messages a second")
	}
	head = append(head, "descriptors", "pairs", "by")
	rows := [][]string{}
	var notes table.Footnotes
	for _, e := range answer.Estimates {
		row := []string{e.Variant, between(e.BytesPerConnection, 1) + notes.Mark(e.Doubt)}
		if need.Connections > 0 {
			row = append(row, between(e.MemoryBytes, 1<<30))
		} else {
			row = append(row, between(e.Connections, 1))
		}
		if need.MessagesPerSecond > 0 {
			row = append(row, between(e.Cores, 1))
		}
		if need.Cores > 0 {
			row = append(row, between(e.MessagesPerSecond, 1))
		}
		descriptors, pairs := table.Missing, table.Missing
		switch {
		case need.Connections > 0:
			descriptors = table.Count(e.Descriptors)
		case e.Descriptors > 0: // no more digits than the memory was measured to
			descriptors = table.Number(float64(e.Descriptors))
		}
		if e.Pairs > 0 {
			pairs = table.Count(e.Pairs)
		}
		rows = append(rows, append(row, descriptors, pairs, by(e)))
	}
	if err := table.Print(out, table.Width(out), head, rows); err != nil {
		return err
	}
	for _, line := range notes.Lines() {
		fmt.Fprintln(out, line)
	}
	if answer.PortsPerAddress > 0 {
		fmt.Fprintf(out, "A pair has %s ports (net.ipv4.ip_local_port_range of the run's clients).\n", table.Count(answer.PortsPerAddress))
	}
	if answer.DescriptorsPerProcess > 0 {
		fmt.Fprintf(out, "A process may have %s descriptors open there: more connections take several processes, or a higher limit.\n", table.Count(answer.DescriptorsPerProcess))
	}
	for _, line := range answer.Assumptions {
		fmt.Fprintln(out, line)
	}
	return nil
}

// by says how far an estimate goes beyond what was measured.
func by(e sizing.Estimate) string {
	var beyond []string
	if e.Beyond > 1 {
		beyond = append(beyond, fmt.Sprintf("%s times the %s connections", table.Number(e.Beyond), table.Count(e.Measured)))
	}
	if e.BeyondRate > 1 {
		beyond = append(beyond, fmt.Sprintf("%s times the %s messages a second", table.Number(e.BeyondRate), table.Number(e.MeasuredRate)))
	}
	if len(beyond) > 0 {
		return "EXTRAPOLATED: " + strings.Join(beyond, ", ") + " measured"
	}
	return fmt.Sprintf("measured up to %s", table.Count(e.Measured))
}

// between writes a median with its interval, in the given unit.
func between(x *sizing.Interval, unit float64) string {
	if x == nil {
		return table.Missing
	}
	median, low, high := table.Number(x.Median/unit), table.Number(x.Low/unit), table.Number(x.High/unit)
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%s to %s)", median, low, high)
}
