package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"connbench/clients/control"
	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/suite"
	"connbench/harness/table"
	"connbench/harness/variant"
)

type limitsFlags struct {
	plan        string
	lab         string
	engine      string
	variant     string
	connections int
	processes   int
	results     string
	json        bool
}

func limitsCommand(p *places) *cobra.Command {
	f := &limitsFlags{}
	c := &cobra.Command{
		Use:   "limits",
		Short: "Predict which limit of this lab stops the next connection",
		Long: `List every limit that bounds connections in a lab, the number that each allows,
and the command that raises it; the one that comes first is marked. Memory is
counted by what the variant was measured to need, in the newest run below
--results that has it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			prediction, source, err := predict(c, p, f)
			if err != nil {
				return err
			}
			if f.json {
				err = writeJSON(c.OutOrStdout(), prediction)
			} else {
				err = printLimits(c, prediction, source)
			}
			if err != nil || f.connections == 0 {
				return err
			}
			return fits(c, prediction, f.connections)
		},
	}
	c.Flags().StringVar(&f.plan, "plan", "", "a built-in plan or a TOML file that says how servers and clients are set up (default: one port of one address for each process)")
	c.Flags().StringVar(&f.lab, "lab", "", "where: "+strings.Join(lab.Names, ", ")+" (default: the plan's, or local)")
	c.Flags().StringVar(&f.variant, "variant", "floor", "the server, as variant or variant/class")
	c.Flags().StringVar(&f.engine, "engine", "", "the swarm's: "+strings.Join(control.Engines, ", "))
	completeWith(c, "plan", plan.Names())
	completeWith(c, "lab", labNames())
	completeWith(c, "engine", control.Engines)
	c.Flags().IntVar(&f.connections, "connections", 0, "exit with status 1, and say what to change, if so many do not fit")
	c.Flags().IntVar(&f.processes, "processes", 0, "server processes (default: the plan's, or as many as descriptors demand)")
	c.Flags().StringVar(&f.results, "results", "results", "folder of runs that tell bytes per connection")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

func predict(c *cobra.Command, p *places, f *limitsFlags) (limits.Prediction, string, error) {
	var none limits.Prediction
	ctx := c.Context()
	if f.connections < 0 || f.processes < 0 {
		return none, "", usage(errors.New("--connections and --processes must not be negative"))
	}
	if f.engine != "" && !slices.Contains(control.Engines, f.engine) {
		return none, "", usage(fmt.Errorf("--engine %q: it is one of %s", f.engine, strings.Join(control.Engines, ", ")))
	}
	all, err := p.discover()
	if err != nil {
		return none, "", err
	}
	choices, err := choose(all, []string{f.variant}, []string{variant.ClassTuned})
	if err != nil {
		return none, "", err
	}
	thePlan := plan.Default()
	if f.plan != "" {
		if thePlan, err = plan.LoadNamed(f.plan); err != nil {
			return none, "", usage(err)
		}
	}
	thePlan.Connections = plan.Max
	if f.connections > 0 {
		thePlan.Connections = plan.Count(f.connections)
	}
	if f.processes > 0 || f.plan == "" {
		thePlan.Server.Processes = f.processes
	}
	if f.engine != "" {
		thePlan.Client.Engine = f.engine
	}
	theLab, err := p.openLab(ctx, cmp.Or(f.lab, thePlan.Lab, lab.Local), thePlan.Client.Engine)
	if err != nil {
		return none, "", err
	}
	defer theLab.Close()
	for _, host := range theLab.Hosts() {
		for _, warning := range host.Warnings {
			fmt.Fprintf(c.ErrOrStderr(), "connbench: host %s: %s\n", host.Facts.Name, warning)
		}
	}
	if err := suite.Confine(thePlan, theLab); err != nil {
		return none, "", usage(err)
	}
	bytes, source := measuredBytes(p.measured(f.results), choices[0], theLab.Name, thePlan.Client.Engine)
	prediction, err := suite.Predict(ctx, thePlan, theLab, choices, bytes)
	return prediction, source, err
}

// measured are the folders of runs that tell what a connection takes: where runs are
// filed, and the published ones.
func (p *places) measured(results string) []string {
	published := filepath.Join(filepath.Dir(p.servers), "results")
	if same, err := filepath.Abs(results); err == nil && same == published {
		return []string{published}
	}
	return []string{results, published}
}

// measuredBytes is what a connection of the choice took of the host's memory,
// user and kernel, by the median over the newest run in the first of these folders that
// measured it in such a lab with the same engine; and where that stands.
func measuredBytes(results []string, choice variant.Choice, lab, engine string) (*float64, string) {
	var runs []string
	for _, folder := range results {
		files, _ := filepath.Glob(filepath.Join(folder, "*", record.TrialsFile)) // the pattern is sound
		slices.Sort(files)
		slices.Reverse(files) // names begin with the date
		for _, file := range files {
			runs = append(runs, filepath.Dir(file))
		}
	}
	for _, dir := range runs {
		run, err := record.Open(dir)
		if err != nil {
			continue // `connbench report` says what is wrong with it
		}
		var costs []float64
		for _, t := range run.Trials {
			per := t.PerConnection
			if t.Valid && t.Lab == lab && t.Engine == engine && t.Variant == choice.Name && t.Class == choice.Class && per.RSSBytes != nil && per.KernelBytes != nil {
				costs = append(costs, *per.RSSBytes+*per.KernelBytes)
			}
		}
		if len(costs) > 0 {
			return new(stats.Summarize(costs).Median), filepath.Base(run.Dir)
		}
	}
	return nil, ""
}

// leastBytes is the least that a connection of any of the choices was measured to
// take, nil where none was.
func leastBytes(results []string, choices []variant.Choice, lab, engine string) *float64 {
	var least *float64
	for _, choice := range choices {
		if bytes, _ := measuredBytes(results, choice, lab, engine); bytes != nil && (least == nil || *bytes < *least) {
			least = bytes
		}
	}
	return least
}

func printLimits(c *cobra.Command, p limits.Prediction, source string) error {
	out := c.OutOrStdout()
	rows := [][]string{}
	for _, l := range p.Limits {
		allows, mark := "–", ""
		switch {
		case l.Connections != nil:
			allows = fmt.Sprint(*l.Connections)
		case l.Kind == limits.KindRate:
			allows = "rate only"
		}
		if l.Binding {
			mark = "◀ first"
		}
		rows = append(rows, []string{l.Name, l.Side, l.Where, l.Value, allows, mark, l.How, l.Raise})
	}
	if err := table.Print(out, table.Width(out), []string{"limit", "side", "set by", "value", "connections", "", "because", "raise it"}, rows); err != nil {
		return err
	}
	if source != "" {
		fmt.Fprintln(out, "bytes per connection: from", source)
	}
	limit, ok := p.Binding()
	if !ok {
		fmt.Fprintln(out, "no limit is known")
		return nil
	}
	fmt.Fprintf(out, "predicted ceiling: %d connections, by %s\n", *p.Ceiling, limit.Name)
	return nil
}

// fits says what must change for n connections to fit.
func fits(c *cobra.Command, p limits.Prediction, n int) error {
	exceeded := p.Exceeded(n)
	if len(exceeded) == 0 {
		fmt.Fprintf(c.OutOrStdout(), "%d connections fit\n", n)
		return nil
	}
	for _, l := range exceeded {
		fmt.Fprintf(c.ErrOrStderr(), "%s (%s = %s) allows %d: %s\n", l.Name, l.Where, l.Value, *l.Connections, l.Raise)
	}
	return fmt.Errorf("%d connections do not fit: change what stands above (%s)", n, table.Plural(len(exceeded), "limit"))
}
