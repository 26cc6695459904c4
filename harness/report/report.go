// Package report turns the files of a run into what people and programs read: tables,
// plots, a page, benchmark text, CSV. It computes everything from the files and measures
// nothing. What is shown is decided by packages figure, overview and charts.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connbench/harness/atomicfile"
	"connbench/harness/charts"
	"connbench/harness/charts/draw"
	"connbench/harness/explain"
	"connbench/harness/overview"
	"connbench/harness/plain"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Names of the files that a report writes into the folder of a run.
const (
	TablesFile     = "tables.md"
	TablesCSVFile  = "tables.csv"
	TrialsCSVFile  = "trials.csv"
	SamplesCSVFile = "samples.csv"
	BenchFile      = "bench.txt"
	TrackingFile   = "smaller-is-better.json"
	PageFile       = "index.html"
	PlotsFolder    = "plots"
)

// file is one that a report writes.
type file struct {
	name string
	// read is true if people read the file on a code host. The others are for programs.
	read  bool
	write func(w io.Writer, run *record.Run, drawings []draw.Chart) error
}

// files are all files of a report except the plots.
var files = []file{
	{TablesFile, true, writeMarkdown},
	{PageFile, true, writePage},
	{TablesCSVFile, false, func(w io.Writer, run *record.Run, _ []draw.Chart) error { return writeTablesCSV(w, run) }},
	{TrialsCSVFile, false, func(w io.Writer, run *record.Run, _ []draw.Chart) error { return writeTrialsCSV(w, run) }},
	{SamplesCSVFile, false, func(w io.Writer, run *record.Run, _ []draw.Chart) error { return writeSamplesCSV(w, run) }},
	{BenchFile, false, func(w io.Writer, run *record.Run, _ []draw.Chart) error { return writeBench(w, run) }},
	{TrackingFile, false, func(w io.Writer, run *record.Run, _ []draw.Chart) error { return writeTracking(w, run) }},
}

// Files returns the names of all files of a report, and of the folder of plots.
func Files() []string {
	names := []string{PlotsFolder}
	for _, f := range files {
		names = append(names, f.name)
	}
	return names
}

// Write writes all reports of a run into its folder and replaces those that are there.
// Errors name the file and say what is wrong with it.
func Write(run *record.Run) error { return write(run, false) }

// WritePublished writes the reports that people read on a code host: tables, page, and plots
// as SVG. It removes the others, which [Write] can make again.
func WritePublished(run *record.Run) error { return write(run, true) }

func write(run *record.Run, published bool) error {
	dir := run.Dir
	if run.Manifest.Schema == 0 {
		return explain.Hint(explain.Usagef("%s is a file", dir), "name the folder of a run")
	}
	drawings, err := charts.Of(run)
	if err != nil {
		return err
	}
	if err := writePlots(filepath.Join(dir, PlotsFolder), drawings, published); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if published && !f.read {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		var text bytes.Buffer
		if err := f.write(&text, run, drawings); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := writeFile(path, text.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, text []byte) error {
	if err := atomicfile.Write(path, text); err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	return nil
}

// writePlots writes every chart as SVG, and unless the run is published as PNG, in a folder
// that holds nothing else.
func writePlots(dir string, drawings []draw.Chart, published bool) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("%s cannot be written anew: %w", dir, err)
	}
	if len(drawings) == 0 {
		return nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("%s cannot be made: %w", dir, err)
	}
	for _, chart := range drawings {
		if err := writeFile(filepath.Join(dir, chart.Name+".svg"), chart.SVG()); err != nil {
			return err
		}
		if published {
			continue
		}
		picture, err := chart.PNG()
		if err != nil {
			return fmt.Errorf("%s: %w", chart.Name, err)
		}
		if err := writeFile(filepath.Join(dir, chart.Name+".png"), picture); err != nil {
			return err
		}
	}
	return nil
}

// Print writes the tables, remarks and summary for a terminal of the given width in
// columns.
func Print(w io.Writer, run *record.Run, width int) error {
	var out bytes.Buffer
	paragraph := func(lines []string) {
		for _, line := range lines {
			table.Wrap(&out, "", "  ", line, width)
		}
		if len(lines) > 0 {
			fmt.Fprintln(&out)
		}
	}
	printed := map[string]bool{} // most tables have the same notes
	for _, t := range overview.Tables(run) {
		paragraph([]string{t.Title})
		if err := t.WriteText(&out, width); err != nil {
			return err
		}
		var notes []string
		for _, note := range t.Notes {
			if !printed[note] {
				notes = append(notes, note)
			}
			printed[note] = true
		}
		paragraph(notes)
	}
	for _, section := range overview.Remarks(run) {
		fmt.Fprintln(&out, section.Title)
		paragraph(section.Lines)
	}
	paragraph(overview.Summary(run))
	_, err := w.Write(bytes.TrimRight(out.Bytes(), "\n"))
	if err == nil {
		_, err = io.WriteString(w, "\n")
	}
	return err
}

func writeMarkdown(w io.Writer, run *record.Run, drawings []draw.Chart) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# %s\n\n", table.Markdown(overview.Title(run.Manifest)))
	for _, line := range overview.Summary(run) {
		fmt.Fprintf(&out, "%s\n", table.Markdown(line))
	}
	fmt.Fprintln(&out)
	for _, fact := range facts(run) {
		fmt.Fprintf(&out, "- %s: %s\n", fact.Name, table.Markdown(fact.Text))
	}
	for _, t := range overview.Tables(run) {
		fmt.Fprintf(&out, "\n## %s\n\n", t.Title)
		if err := t.WriteMarkdown(&out); err != nil {
			return err
		}
		for _, note := range t.Notes {
			fmt.Fprintf(&out, "\n%s\n", table.Markdown(note))
		}
	}
	if len(drawings) > 0 {
		fmt.Fprint(&out, "\n## Plots\n")
	}
	for _, chart := range drawings {
		fmt.Fprintf(&out, "\n![%s](%s/%s.svg)\n\n%s\n", table.Markdown(chart.Title), PlotsFolder, chart.Name, table.Markdown(chart.About))
	}
	for _, section := range overview.Remarks(run) {
		fmt.Fprintf(&out, "\n## %s\n\n", section.Title)
		for _, line := range section.Lines {
			fmt.Fprintf(&out, "- %s\n", table.Markdown(line))
		}
	}
	if command := plain.Line(run.Manifest.Command); command != "" {
		fmt.Fprintf(&out, "\n## To repeat it\n\n    %s\n", command)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// fact is one line about what was run, where.
type fact struct{ Name, Text string }

func facts(run *record.Run) []fact {
	m := run.Manifest
	var list []fact
	add := func(name, text string) {
		if strings.TrimSpace(text) != "" {
			list = append(list, fact{name, text})
		}
	}
	machines := m.Hosts
	if m.OneKernel() { // several hosts are one machine
		machines = machines[:min(1, len(machines))]
	}
	for _, host := range machines {
		of := ""
		if len(machines) > 1 {
			of = " (" + plain.Line(strings.Join(host.Roles, ", ")) + ")"
		}
		virtual := ""
		if host.Virtual != "" {
			virtual = "virtual (" + host.Virtual + ")"
		}
		if host.Emulated {
			virtual += ", emulated in software"
		}
		add("Machine"+of, joined(", ", host.CPUModel, table.Plural(host.CPUs, "CPU"), table.Memory(host.MemoryBytes), virtual, host.Link))
		add("Kernel"+of, joined(", ", host.Kernel, host.Architecture, host.OS))
	}
	add("Plan", planName(run)+", lab "+m.Lab+", engine "+engineName(run))
	add("Started", m.Started.UTC().Format(time.DateTime)+" UTC")
	if m.Finished != nil {
		add("Took", m.Finished.Sub(m.Started).Round(time.Second).String())
	}
	add("Built with", joined(", ", m.Connbench, m.GoVersion))
	return list
}

// joined joins the texts that are not empty.
func joined(between string, texts ...string) string {
	var some []string
	for _, text := range texts {
		if text != "" {
			some = append(some, text)
		}
	}
	return strings.Join(some, between)
}

// engineName is the name of the swarm's engine, which is in every trial.
func engineName(run *record.Run) string {
	if len(run.Trials) == 0 {
		return "unknown"
	}
	return run.Trials[0].Engine
}

// planName is the name of the plan, which is in every trial.
func planName(run *record.Run) string {
	if len(run.Trials) == 0 {
		return "unknown"
	}
	return run.Trials[0].Plan
}
