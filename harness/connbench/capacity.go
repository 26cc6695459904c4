package main

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/lab/paper"
	"connbench/harness/plain"
	"connbench/harness/plan"
	"connbench/harness/probe"
	"connbench/harness/record"
	"connbench/harness/sizing"
	"connbench/harness/table"
)

func capacityCommand() *cobra.Command {
	f := &flags.Flags{}
	var rate, cores *float64
	var payload *int
	c := &cobra.Command{
		Use:   "capacity [RUN]",
		Short: "Work out what a number of connections needs, or how many a machine holds",
		Long: `Work out what --connections would need of memory, cores, descriptors, addresses and
ports, or how many connections fit into --budget and how many messages --cores carry;
without these flags, for this machine's memory and cores. Each variant gets a row, with the
intervals of its measured figures. Whatever goes beyond the measured connections or
messages is marked as extrapolated.

With --lab the answer is for the hosts that a lab file lists, as far as it says what
they have: what the server and each client need, how many ports it takes, and how long
connecting takes. No host is reached.

The figures are those of RUN. Without RUN each variant has those of the newest run
below --results that is finished, valid, quiet and large enough, and the cheapest
variant that fits this machine is named. CPU times are those of the run's machine.`,
		Example: `  connbench capacity --connections 1000000 --messages-per-second 50000
  connbench capacity results/RUN --budget 16GiB --cores 8
  connbench capacity --connections 10000000 --messages-per-second 100000 --lab k8s.toml
  connbench capacity`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: flags.AnyFolder,
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
			server, where, err := serverOf(f.Lab, &need)
			if err != nil {
				return err
			}
			if need.Connections == 0 && need.MemoryBytes == 0 {
				if server.MemoryBytes == 0 {
					return explain.Hint(explain.Usagef("%s does not say how much memory the server has", f.Lab), "name --connections or --budget")
				}
				need.MemoryBytes = float64(server.MemoryBytes)
				need.Cores = cmp.Or(need.Cores, server.Cores)
			}
			answer, err := bench.Capacity(c.Context(), f.Folders, strings.Join(args, ""), need)
			if err != nil {
				return err
			}
			if f.JSON {
				return plain.JSON(c.OutOrStdout(), answer)
			}
			out := c.OutOrStdout()
			fmt.Fprintf(out, "%s\n\n", where)
			if len(args) == 0 && need.Connections > 0 && server.MemoryBytes > 0 {
				if err := answer.WriteChoice(out, table.Width(out), need, float64(server.MemoryBytes), cmp.Or(server.Cores, math.Inf(1))); err != nil {
					return err
				}
			}
			return answer.WriteText(out, table.Width(out), need)
		},
	}
	f.Add(c, "lab", "connections", "budget", "results", "servers", "json")
	// More than these, no machine has or does.
	const mostRate, mostCores, mostPayload = 1e12, 1e6, 1 << 30
	c.Flags().Var(flags.Optional("number", flags.Positive(mostRate), &rate), "messages-per-second", "echoes a second over all connections (default: none)")
	c.Flags().Var(flags.Optional("number", flags.Positive(mostCores), &cores), "cores", "estimate the messages per second that this many cores carry")
	c.Flags().Var(flags.Optional("count", flags.PositiveInteger(mostPayload), &payload), "message-bytes", "payload of a message (default: as measured)")
	for _, flag := range []string{"messages-per-second", "cores", "message-bytes"} {
		flags.MustComplete(c, flag, cobra.NoFileCompletions)
	}
	return c
}

// serverOf is what the server may use: this machine, or the server host of a lab file, which
// becomes part of the need. where says in words what that is.
func serverOf(labFile string, need *sizing.Need) (server paper.Resources, where string, err error) {
	if labFile != "" {
		on, err := lab.OnPaper(labFile)
		if err != nil {
			return server, "", err
		}
		need.Lab = &on
		return on.Server, sizing.Describe(need.Lab), nil
	}
	here, err := thisMachine()
	if err != nil {
		return server, "", err
	}
	server = paper.Resources{MemoryBytes: here.MemoryBytes, Cores: float64(len(here.UsableCPUs))}
	return server, fmt.Sprintf("this machine: %s, %s", table.Memory(here.MemoryBytes), table.Plural(len(here.UsableCPUs), "core")), nil
}

// orZero is what p points to, or 0.
func orZero[T int | int64 | float64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
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
