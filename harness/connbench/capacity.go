package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/explain"
	"connbench/harness/history"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/probe"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/sizing"
	"connbench/harness/table"
)

func capacityCommand() *cobra.Command {
	f := &flags{}
	var rate, cores *float64
	var payload *int
	c := &cobra.Command{
		Use:   "capacity [RUN]",
		Short: "Work out what a number of connections needs, or how many a machine holds",
		Long: `Work out what --connections would need of memory, cores, descriptors, addresses and
ports, or how many connections fit into --budget and how many messages --cores carry;
without any, this machine's memory and cores. For each variant, with the interval of
the measured figures. Whatever goes beyond the measured connections or messages is
marked as extrapolated.

The figures are those of RUN. Without RUN each variant has those of the newest run
below --results that is finished, valid, quiet and large enough, and the cheapest
variant that fits this machine is named. CPU times are those of the run's machine.`,
		Example: `  connbench capacity --connections 1000000 --messages-per-second 50000
  connbench capacity results/RUN --budget 16GiB --cores 8
  connbench capacity`,
		Args:              cobra.MaximumNArgs(1),
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
			here, err := thisMachine()
			if err != nil {
				return err
			}
			if need.Connections == 0 && need.MemoryBytes == 0 {
				need.MemoryBytes = float64(here.MemoryBytes)
				need.Cores = cmp.Or(need.Cores, float64(len(here.UsableCPUs)))
			}
			answer, err := f.capacity(args, need)
			if err != nil {
				return err
			}
			if f.json {
				return plain.JSON(c.OutOrStdout(), answer)
			}
			return writeCapacity(c.OutOrStdout(), answer, need, here, len(args) == 0)
		},
	}
	f.add(c, "connections", "budget", "results", "servers", "json")
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

// capacity answers a need by the run that args name, or by the newest that can be trusted.
func (f *flags) capacity(args []string, need sizing.Need) (sizing.Answer, error) {
	if len(args) == 1 {
		run, err := folder.Open(args[0])
		if err != nil {
			return sizing.Answer{}, explain.Usage(err)
		}
		answer := sizing.Of(run, need)
		if len(answer.Estimates) == 0 {
			return answer, fmt.Errorf("%s has no valid trial: there is nothing to go by", args[0])
		}
		return answer, nil
	}
	tree, err := f.tree()
	if err != nil {
		return sizing.Answer{}, err
	}
	answer := history.Capacity(tree.Results, need)
	if len(answer.Estimates) == 0 {
		return answer, explain.Hint(fmt.Errorf("%s has no run that can be trusted", tree.Results), "make one: make bench")
	}
	return answer, nil
}

// thisMachine reads this machine's memory and CPUs.
func thisMachine() (record.Host, error) {
	reader, err := probe.Open()
	if err != nil {
		return record.Host{}, err
	}
	host, missing := reader.Host("")
	if host.MemoryBytes == 0 || len(host.UsableCPUs) == 0 {
		return host, fmt.Errorf("this machine's memory or CPUs cannot be read (%s)", strings.Join(missing, "; "))
	}
	return host, nil
}

// writeCapacity writes an answer for people. If they may choose among the variants, it names
// the one of the least memory that fits this machine.
func writeCapacity(w io.Writer, answer sizing.Answer, need sizing.Need, here record.Host, choose bool) error {
	memory, cores := float64(here.MemoryBytes), float64(len(here.UsableCPUs))
	fmt.Fprintf(w, "this machine: %s, %s\n\n", table.Memory(here.MemoryBytes), table.Plural(len(here.UsableCPUs), "core"))
	if err := answer.WriteText(w, table.Width(w), need); err != nil || !choose || need.Connections == 0 {
		return err
	}
	fits := answer.Fitting(need, memory, cores)
	if len(fits) == 0 {
		_, err := fmt.Fprintln(w, "\nNo variant is known to fit this machine.")
		return err
	}
	least := fits[0]
	text := fmt.Sprintf("\nThe cheapest that fits this machine is %s: %s of memory", least.Variant, table.Memory(int64(least.MemoryBytes.Median)))
	if least.Cores != nil {
		text += fmt.Sprintf(" and %s cores", table.Number(least.Cores.Median))
	}
	if len(fits) > 1 {
		var others []string
		for _, e := range fits[1:] {
			others = append(others, fmt.Sprintf("%s (%s)", e.Variant, table.Memory(int64(e.MemoryBytes.Median))))
		}
		text += ". These fit too: " + table.List(others)
	}
	_, err := fmt.Fprintln(w, text+".")
	return err
}
