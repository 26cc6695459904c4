package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"connbench/harness/capacity"
	"connbench/harness/record"
	"connbench/harness/table"
)

func capacityCommand() *cobra.Command {
	var need capacity.Need
	var gib float64
	asJSON := false
	c := &cobra.Command{
		Use:   "capacity RUN",
		Short: "Work out from a run what a number of connections needs, or how many a machine holds",
		Long: `Work out from what a run measured what --connections would need of memory, cores,
descriptors, addresses and ports, or how many connections fit into --memory-gib;
for each variant, with the interval of what was measured. What goes beyond the
connections that the run held is marked as extrapolated.`,
		Example: `  connbench capacity results/RUN --connections 1000000 --messages-per-second 50000
  connbench capacity results/RUN --memory-gib 16 --cores 8`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			need.MemoryBytes = gib * (1 << 30)
			if need.Connections < 0 || gib < 0 || need.MessagesPerSecond < 0 || need.Cores < 0 {
				return usage(errors.New("connections, memory, messages and cores must not be negative"))
			}
			if (need.Connections > 0) == (gib > 0) {
				return usage(errors.New("name either --connections or --memory-gib"))
			}
			run, err := record.Open(args[0])
			if err != nil {
				return usage(err)
			}
			answer := capacity.Of(run, need)
			if len(answer.Estimates) == 0 {
				return fmt.Errorf("%s has no valid trial: there is nothing to go by", args[0])
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), answer)
			}
			return printCapacity(c.OutOrStdout(), answer, need)
		},
	}
	c.Flags().IntVar(&need.Connections, "connections", 0, "what so many connections need")
	c.Flags().Float64Var(&gib, "memory-gib", 0, "how many connections fit into so many GiB")
	c.Flags().Float64Var(&need.MessagesPerSecond, "messages-per-second", 0, "echoes a second over all connections")
	c.Flags().Float64Var(&need.Cores, "cores", 0, "how many messages a second so many cores carry")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printCapacity(out io.Writer, answer capacity.Answer, need capacity.Need) error {
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
	head = append(head, "by")
	rows := [][]string{}
	for _, e := range answer.Estimates {
		row := []string{e.Variant, between(e.BytesPerConnection, 1)}
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
		by := fmt.Sprintf("measured up to %s", table.Count(e.Measured))
		if e.Beyond > 1 {
			by = fmt.Sprintf("EXTRAPOLATED %s times beyond the %s measured", table.Number(e.Beyond), table.Count(e.Measured))
		}
		rows = append(rows, append(row, by))
	}
	if err := table.Print(out, table.Width(out), head, rows); err != nil {
		return err
	}
	if need.Connections > 0 {
		fmt.Fprintf(out, "descriptors of the servers: %s", table.Count(answer.Descriptors))
		if answer.Pairs > 0 {
			fmt.Fprintf(out, "; client addresses × server ports: at least %s, with %s client ports each", table.Count(answer.Pairs), table.Count(answer.PortsPerAddress))
		}
		fmt.Fprintln(out)
	}
	for _, line := range answer.Assumptions {
		fmt.Fprintln(out, line)
	}
	return nil
}

// between writes a median with its interval, in the given unit.
func between(x *capacity.Interval, unit float64) string {
	if x == nil {
		return table.Missing
	}
	median, low, high := table.Number(x.Median/unit), table.Number(x.Low/unit), table.Number(x.High/unit)
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%s to %s)", median, low, high)
}
