package main

import (
	"fmt"
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
			return answer.WriteText(c.OutOrStdout(), table.Width(c.OutOrStdout()), need)
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
