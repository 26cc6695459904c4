package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"connbench/clients/control"
	"connbench/harness/lab"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/report"
	"connbench/harness/suite"
	"connbench/harness/variant"
)

// benchFlags bear the names of the Makefile's variables.
type benchFlags struct {
	plan        string
	lab         string
	engine      string
	variants    string
	connections string
	budget      string
	rounds      int
	processes   int
	results     string
}

func benchCommand(p *places) *cobra.Command {
	f := &benchFlags{}
	asJSON := false
	c := &cobra.Command{
		Use:   "bench",
		Short: "Run a plan and file and print its tables",
		Long: `Run a plan: every variant in every round, each in a fresh server process under
the same swarm. Trials are filed as they end, in a new folder below --results;
the tables are printed at the end, also when the run is interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return bench(c.Context(), c.OutOrStdout(), p, f, asJSON)
		},
	}
	f.register(c, "default")
	c.Flags().BoolVar(&asJSON, "json", false, "print the medians of all figures as JSON")
	return c
}

// register gives c the flags that say what is run, and how they are completed.
func (f *benchFlags) register(c *cobra.Command, thePlan string) {
	c.Flags().StringVar(&f.plan, "plan", thePlan, "a built-in plan ("+strings.Join(plan.Names(), ", ")+") or a TOML file")
	c.Flags().StringVar(&f.lab, "lab", "", "where: "+strings.Join(lab.Names, ", ")+" (default: the plan's, or local)")
	c.Flags().StringVar(&f.engine, "engine", "", "the swarm's: "+strings.Join(control.Engines, ", ")+" (default: the plan's)")
	c.Flags().StringVar(&f.variants, "variants", "", "variants, or variant/class, separated by commas (default: the plan's)")
	c.Flags().StringVar(&f.connections, "connections", "", "connections to open, or max (default: the plan's)")
	c.Flags().StringVar(&f.budget, "budget", "", "memory that the connections may take, such as 1GiB: PSS of the servers and kernel memory (default: the plan's)")
	c.Flags().IntVar(&f.rounds, "rounds", 0, "rounds (default: the plan's)")
	c.Flags().IntVar(&f.processes, "processes", -1, "server processes, 0 for as many as descriptors demand (default: the plan's)")
	c.Flags().StringVar(&f.results, "results", "results", "folder in which the run's folder is made")
	completeWith(c, "plan", plan.Names())
	completeWith(c, "lab", labNames())
	completeWith(c, "engine", control.Engines)
}

// resolve reads the plan and applies the flags to it.
func (f *benchFlags) resolve() (plan.Plan, error) {
	p, err := plan.LoadNamed(f.plan)
	if err != nil {
		return p, usage(err)
	}
	p.Lab = cmp.Or(f.lab, p.Lab, lab.Local)
	p.Client.Engine = cmp.Or(f.engine, p.Client.Engine)
	if f.variants != "" {
		p.Variants = strings.FieldsFunc(f.variants, func(r rune) bool { return r == ',' || r == ' ' })
	}
	if f.connections != "" {
		if p.Connections, err = plan.ParseCount(f.connections); err != nil {
			return p, usage(fmt.Errorf("--connections: %w", err))
		}
	}
	if f.budget != "" {
		if p.BudgetBytes, err = plan.ParseBytes(f.budget); err != nil {
			return p, usage(fmt.Errorf("--budget: %w", err))
		}
	}
	if f.rounds != 0 {
		p.Rounds = f.rounds
	}
	if f.processes >= 0 {
		p.Server.Processes = f.processes
	}
	if problem := p.Problem(); problem != "" {
		return p, usage(errors.New(problem))
	}
	return p, nil
}

// bench runs a plan, prints its tables, and then says what went wrong.
func bench(ctx context.Context, out io.Writer, p *places, f *benchFlags, asJSON bool) error {
	run, failed := measure(ctx, p, f)
	if run == nil {
		return failed
	}
	if len(run.Trials) > 0 {
		if err := printRun(out, run, asJSON); err != nil {
			return err
		}
	}
	if !asJSON {
		fmt.Fprintln(out, "\nfiled in", run.Dir)
	}
	return failed
}

// measure runs a plan and files it with its reports. The run is nil if there is
// none; an error beside a run says what went wrong with it.
func measure(ctx context.Context, p *places, f *benchFlags) (*record.Run, error) {
	thePlan, err := f.resolve()
	if err != nil {
		return nil, err
	}
	all, err := p.discover()
	if err != nil {
		return nil, err
	}
	choices, err := choose(all, thePlan.Variants, thePlan.Classes)
	if err != nil {
		return nil, err
	}
	watch := newWatcher(os.Stderr)
	defer watch.Close()
	passing, failing, err := prepare(ctx, p, choices, watch)
	if err != nil {
		return nil, err
	}

	theLab, err := p.openLab(ctx, thePlan.Lab, thePlan.Client.Engine)
	if err != nil {
		return nil, err
	}
	defer theLab.Close()
	if err := suite.Confine(thePlan, theLab); err != nil {
		return nil, usage(err)
	}
	size, err := suite.Fit(ctx, thePlan, theLab, choices, leastBytes(p.measured(f.results), choices, theLab.Name, thePlan.Client.Engine))
	if errors.Is(err, suite.ErrTooMany) {
		return nil, usage(err)
	}
	if err != nil {
		return nil, err
	}
	measured, swarms, err := p.forHosts(ctx, theLab, passing, watch)
	if err != nil {
		return nil, err
	}
	watch.Say("plan %s: %d connections, server processes: %d", thePlan.Name, size.Target, size.Processes)
	watch.Say("first limit: %s", size.Limit())
	for _, caution := range size.Cautions {
		watch.Say("%s", caution)
	}

	dir := filepath.Join(f.results, folderName(time.Now(), theLab.Name, thePlan.Name))
	results, err := record.Create(dir)
	if err != nil {
		return nil, err
	}
	defer results.Close()
	job := suite.Job{
		Plan: thePlan, Lab: theLab, Programs: measured, Failing: failing,
		Swarms: swarms,
		Target: size.Target, Processes: size.Processes, Limit: size.Limit(),
		Command: f.command(thePlan), Results: results, Watch: watch,
	}
	watch.Begin(job.Trials(), thePlan, size.Target)
	invalid, err := job.Run(ctx)
	watch.Close()
	return finish(ctx, dir, invalid, len(failing), err)
}

// prepare builds the programs and tells those that pass the gate from those
// that do not.
func prepare(ctx context.Context, p *places, choices []variant.Choice, watch *watcher) (passing, failing []variant.Program, err error) {
	programs, err := p.buildAll(ctx, choices, runtime.GOARCH, func(choice variant.Choice) { watch.Say("building %s", choice) })
	if err != nil {
		return nil, nil, err
	}
	for _, program := range programs {
		verdict, err := suite.Judge(ctx, program, func(choice variant.Choice) { watch.Say("examining %s", choice) })
		if err != nil {
			return nil, nil, err
		}
		if verdict.Passed {
			passing = append(passing, program)
			continue
		}
		failing = append(failing, program)
		for _, result := range verdict.Results {
			if !result.Passed {
				watch.Say("%s fails the gate, and is not measured: %s: %s", program.Choice, result.Check, result.Detail)
			}
		}
	}
	if len(passing) == 0 {
		return nil, nil, errors.New("no variant passes the conformance gate: there is nothing to measure")
	}
	return passing, failing, nil
}

// forHosts are the programs that passed the gate, as the server host needs them, and
// the swarm as each client host does: hosts may be of other architectures.
func (p *places) forHosts(ctx context.Context, l *lab.Lab, passing []variant.Program, watch *watcher) (servers []variant.Program, swarms []string, err error) {
	servers = passing
	if architecture := l.Server.Facts.Architecture; architecture != runtime.GOARCH {
		var choices []variant.Choice
		for _, program := range passing {
			choices = append(choices, program.Choice)
		}
		servers, err = p.buildAll(ctx, choices, architecture, func(choice variant.Choice) { watch.Say("building %s for %s", choice, architecture) })
		if err != nil {
			return nil, nil, err
		}
	}
	for _, client := range l.Clients {
		swarm, err := p.own(ctx, "swarm", client.Facts.Architecture)
		if err != nil {
			return nil, nil, fmt.Errorf("host %s: it is %s: %w", client.Facts.Name, client.Facts.Architecture, err)
		}
		swarms = append(swarms, swarm)
	}
	return servers, swarms, nil
}

// finish writes the reports of what was measured, and says what went wrong.
func finish(ctx context.Context, dir string, invalid, failing int, failed error) (*record.Run, error) {
	run, err := record.Open(dir)
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	if len(run.Trials) > 0 {
		if err := report.Write(run); err != nil {
			return run, errors.Join(failed, err)
		}
	}
	switch {
	case ctx.Err() != nil:
		return run, fmt.Errorf("interrupted after %d of %d trials; what was measured is in %s", len(run.Trials), run.Manifest.Planned, dir)
	case failed != nil:
		return run, failed
	case invalid > 0:
		return run, fmt.Errorf("%d of %d trials are invalid: the reasons stand below the tables", invalid, len(run.Trials))
	case failing > 0:
		return run, fmt.Errorf("%d variants fail the conformance gate and were not measured", failing)
	}
	return run, nil
}

// command is what to type to repeat the run.
func (f *benchFlags) command(p plan.Plan) string {
	args := []string{"make", "bench", "PLAN=" + f.plan, "LAB=" + p.Lab}
	for _, flag := range []struct{ name, value string }{
		{"ENGINE", f.engine}, {"VARIANTS", f.variants}, {"CONNECTIONS", f.connections}, {"BUDGET", f.budget},
	} {
		if flag.value != "" {
			args = append(args, flag.name+"="+flag.value)
		}
	}
	if f.rounds != 0 {
		args = append(args, fmt.Sprintf("ROUNDS=%d", f.rounds))
	}
	if f.processes >= 0 {
		args = append(args, fmt.Sprintf("PROCESSES=%d", f.processes))
	}
	return quoted(args)
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// folderName is DATE-LAB-PLAN, with the time of day so that two runs of a day
// do not meet.
func folderName(now time.Time, lab, plan string) string {
	return now.Format("20060102-150405") + "-" + notInName.ReplaceAllString(lab, "_") + "-" + notInName.ReplaceAllString(plan, "_")
}
