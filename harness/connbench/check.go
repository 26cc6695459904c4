package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"connbench/harness/compare"
	"connbench/harness/publish"
	"connbench/harness/record"
	"connbench/harness/table"
)

// tolerances are the changes that fail a check: what no noise of a steady host
// makes, each for the worse. Latency has none: between runs on a shared host its
// tails differ by more than any change that one would look for.
var tolerances = []string{
	"connections.reached<-1%",
	"per_connection.rss_bytes>15%", "per_connection.rss_settled_bytes>10%", "per_connection.live_heap_bytes>5%",
	"per_connection.stack_bytes>10%", "per_connection.kernel_bytes>5%",
	"cpu.accept_us>30%", "cpu.echo_us>30%", "ramp.connects_per_second<-30%",
}

type checkFlags struct {
	bench   benchFlags
	against string
}

func benchCheckCommand(p *places) *cobra.Command {
	f := &checkFlags{}
	asJSON := false
	c := &cobra.Command{
		Use:   "bench-check",
		Short: "Run a short plan, and fail where it is worse than the last published run of this machine",
		Long: `Run a plan and compare it with the newest published run of the same plan, lab
and machine, or with the run that --against names. What got worse by more than
the noise of the rounds and a tolerance is measured once more; if that says the
same, the exit status is 1. The tolerances are:

  ` + strings.Join(tolerances, "\n  "),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return benchCheck(c.Context(), c.OutOrStdout(), p, f, asJSON)
		},
	}
	f.bench.register(c, "check")
	c.Flags().StringVar(&f.against, "against", "", "the run to compare with (default: the newest published one of this machine)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the comparison, the last one where there are two, as JSON")
	return c
}

func benchCheck(ctx context.Context, out io.Writer, p *places, f *checkFlags, asJSON bool) error {
	words := out // for people
	if asJSON {
		words = io.Discard
	}
	baseline, err := f.baseline(ctx, p)
	if err != nil {
		return err
	}
	var conditions []compare.Condition
	for _, text := range tolerances {
		condition, err := compare.ParseCondition(text)
		if err != nil {
			return err
		}
		conditions = append(conditions, condition)
	}
	flags := f.bench
	for attempt := 1; ; attempt++ {
		run, err := measure(ctx, p, &flags)
		if err != nil {
			return err
		}
		comparison, err := compare.Compare(baseline, run, conditions)
		if err != nil {
			return err
		}
		last := len(comparison.Failed) == 0 || attempt == 2
		if err := comparison.WriteText(words, table.Width(out)); err != nil {
			return err
		}
		if asJSON && last {
			if err := comparison.WriteJSON(out); err != nil {
				return err
			}
		}
		fmt.Fprintln(words, "\nfiled in", run.Dir)
		switch {
		case len(comparison.Failed) == 0 && attempt == 1:
			fmt.Fprintln(words, "nothing got worse for sure")
			return nil
		case len(comparison.Failed) == 0:
			fmt.Fprintln(words, "the second measurement does not confirm it: nothing got worse for sure")
			return nil
		case attempt == 2:
			return fmt.Errorf("worse than %s, in two measurements: %s", baseline.Dir, strings.Join(comparison.Failed, "; "))
		}
		flags.variants = strings.Join(comparison.FailedVariants(), ",")
		fmt.Fprintf(words, "\nmeasured once more, to be sure: %s\n\n", flags.variants)
	}
}

// baseline is the run to compare with.
func (f *checkFlags) baseline(ctx context.Context, p *places) (*record.Run, error) {
	if f.against != "" {
		run, err := record.Open(f.against)
		return run, usage(err)
	}
	plan, err := f.bench.resolve()
	if err != nil {
		return nil, err
	}
	runs, err := publish.Published(f.bench.results)
	if err != nil {
		return nil, usage(err)
	}
	theLab, err := p.openLab(ctx, plan.Lab, plan.Client.Engine)
	if err != nil {
		return nil, err
	}
	defer theLab.Close()
	here := theLab.Server.Facts
	i := slices.IndexFunc(runs, func(run *record.Run) bool {
		return len(run.Trials) > 0 && run.Trials[0].Plan == plan.Name && run.Manifest.Lab == theLab.Name && publish.SameMachine(run, here)
	})
	if i < 0 {
		return nil, usage(errors.New("no run of plan " + plan.Name + " on such a machine is published in " + f.bench.results +
			": make one (make bench PLAN=" + plan.Name + ", make publish RUN=…), or name a run with --against"))
	}
	return runs[i], nil
}
