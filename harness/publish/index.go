package publish

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"connbench/harness/atomicfile"
	"connbench/harness/explorer"
	"connbench/harness/overview"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/table"
)

// Markers in README.md; the index is between them.
const (
	begin = "<!-- runs: begin (generated, do not edit) -->"
	end   = "<!-- runs: end -->"
)

// WriteIndex writes the list of published runs in the README.md of folder results anew,
// newest first, and the page over all of them. A run that cannot be read is an error that
// names its folder.
func WriteIndex(results string) error {
	readme, page, err := pages(results)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(results, readmeFile), readme); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(results, explorer.File), page)
}

const readmeFile = "README.md"

// pages are the README.md of a folder of results with its list anew, and the page over all
// published runs.
func pages(results string) (readme, page []byte, err error) {
	file := filepath.Join(results, readmeFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return nil, nil, fmt.Errorf("%s has no place for the index: it needs the lines %s and %s", file, begin, end)
	}
	runs, err := Published(results)
	if err != nil {
		return nil, nil, err
	}
	index, err := index(runs)
	if err != nil {
		return nil, nil, err
	}
	page, err = explorer.Page(runs)
	return []byte(before + begin + "\n" + index + end + after), page, err
}

// Published opens the published runs of a folder, the newest first. It passes over runs
// that were not published. A run that cannot be read is an error.
func Published(results string) ([]*record.Run, error) {
	entries, err := os.ReadDir(results)
	if err != nil {
		return nil, err
	}
	var runs []*record.Run
	for i := len(entries) - 1; i >= 0; i-- { // names begin with the date
		dir := filepath.Join(results, entries[i].Name())
		if _, err := os.Stat(filepath.Join(dir, record.ManifestFile)); err != nil {
			continue
		}
		run, err := folder.Open(dir)
		if err != nil {
			return nil, err
		}
		if run.Manifest.Published != nil {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

func index(runs []*record.Run) (string, error) {
	if len(runs) == 0 {
		return "No run is published yet.\n", nil
	}
	list := table.Table{Columns: []table.Column{
		{Title: "date", Text: true}, {Title: "machine", Text: true}, {Title: "kernel", Text: true}, {Title: "plan", Text: true}, {Title: "lab", Text: true},
		{Title: "trials"}, {Title: "most connections"},
	}}
	var out, links bytes.Buffer
	for _, run := range runs {
		plan, most := "", 0
		for _, trial := range run.Trials {
			plan, most = trial.Plan, max(most, trial.Connections.Reached)
		}
		list.Rows = append(list.Rows, []table.Cell{
			table.Words(date(run)), table.Words(overview.Machine(run.Manifest)), table.Words(run.Manifest.Server().Kernel), table.Words(plan), table.Words(run.Manifest.Lab),
			table.Words(table.Count(len(run.Trials))), table.Words(table.Count(most)),
		})
		name := filepath.Base(run.Dir)
		target := "./" + url.PathEscape(name)
		fmt.Fprintf(&links, "- [%s](%s): [tables](%s/tables.md), [page](%s/index.html)\n", table.Markdown(name), target, target, target)
	}
	if err := list.WriteMarkdown(&out); err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "\n%s", links.String())
	return out.String(), nil
}

// date is when a run began.
func date(run *record.Run) string { return run.Manifest.Started.UTC().Format("2006-01-02 15:04") }

// SameMachine tells whether the server of run ran on a machine like here: one on
// which all figures can be expected to be the same.
func SameMachine(run *record.Run, here record.Host) bool {
	then := run.Manifest.Server()
	return then.Architecture == here.Architecture && then.CPUModel == here.CPUModel && then.CPUs == here.CPUs && then.Emulated == here.Emulated &&
		table.Memory(then.MemoryBytes) == table.Memory(here.MemoryBytes) // some pages more or less from boot to boot
}
