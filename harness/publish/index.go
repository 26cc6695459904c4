package publish

import (
	"bytes"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"connbench/harness/atomicfile"
	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/table"
)

// Markers in README.md between which the index stands.
const (
	begin = "<!-- runs: begin (generated, do not edit) -->"
	end   = "<!-- runs: end -->"
)

// WriteIndex writes the list of published runs in the README.md of folder results anew,
// newest first. A run that cannot be read is an error that names its folder.
func WriteIndex(results string) error {
	file := filepath.Join(results, "README.md")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s has no place for the index: it needs the lines %s and %s", file, begin, end)
	}
	runs, err := Published(results)
	if err != nil {
		return err
	}
	index, err := index(runs)
	if err != nil {
		return err
	}
	return atomicfile.Write(file, []byte(before+begin+"\n"+index+end+after))
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
			table.Words(date(run)), table.Words(machine(run)), table.Words(kernel(run)), table.Words(plan), table.Words(run.Manifest.Lab),
			table.Words(table.Count(len(run.Trials))), table.Words(table.Count(most)),
		})
		name := filepath.Base(run.Dir)
		target := "./" + url.PathEscape(name)
		fmt.Fprintf(&links, "- [%s](%s): [tables](%s/tables.md), [page](%s/index.html)\n", table.Markdown(name), target, target, target)
	}
	if err := list.WriteMarkdown(&out); err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "\n%s\nEach variant in all of these runs. Bytes may be compared across machines, times and rates may not, and those of emulated CPUs not with any:\n\n", links.String())
	shown := slices.DeleteFunc(figure.All(), func(f figure.Figure) bool { return !f.In(figure.TableIndex) })
	if err := writeAcross(&out, runs, shown); err != nil {
		return "", err
	}
	for _, family := range figure.Families() {
		of := slices.DeleteFunc(slices.Clone(runs), func(run *record.Run) bool { return len(family.Members(run)) == 0 })
		if len(of) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n%s\n\n", family.Intro)
		if err := writeAcross(&out, of, family.Members(of...)); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

// writeAcross writes a table with a row for each variant of each run, a variant's newest
// first.
func writeAcross(out *bytes.Buffer, runs []*record.Run, shown []figure.Figure) error {
	t := table.Table{Columns: []table.Column{
		{Title: "variant", Text: true}, {Title: "machine", Text: true}, {Title: "plan", Text: true}, {Title: "date", Text: true},
	}}
	for _, f := range shown {
		t.Columns = append(t.Columns, table.Column{Title: f.FullTitle(), Unit: table.Unit(f.Unit)})
	}
	var notes table.Footnotes
	rows := map[string][][]table.Cell{}
	for _, run := range runs {
		for _, v := range figure.Variants(run) {
			row := []table.Cell{table.Words(v.String()), table.Words(machine(run)), table.Words(run.Trials[0].Plan + ", " + run.Manifest.Lab), table.Words(date(run))}
			for _, f := range shown {
				cell := table.Summary(v.Summary(f), table.Value(f.Unit))
				cell.Mark = notes.Mark(v.Caveat(f))
				row = append(row, cell)
			}
			rows[v.String()] = append(rows[v.String()], row)
		}
	}
	for _, variant := range slices.Sorted(maps.Keys(rows)) {
		t.Rows = append(t.Rows, rows[variant]...)
	}
	if err := t.WriteMarkdown(out); err != nil {
		return err
	}
	for _, line := range notes.Lines() {
		fmt.Fprintf(out, "\n%s\n", table.Markdown(line))
	}
	return nil
}

// date is when a run began.
func date(run *record.Run) string { return run.Manifest.Started.UTC().Format("2006-01-02 15:04") }

// server is the host that the server ran on.
func server(run *record.Run) record.Host {
	for _, host := range run.Manifest.Hosts {
		for _, role := range host.Roles {
			if role == record.RoleServer {
				return host
			}
		}
	}
	return record.Host{}
}

// SameMachine tells whether the server of run ran on a machine like here: one on
// which all figures can be expected to be the same.
func SameMachine(run *record.Run, here record.Host) bool {
	then := server(run)
	return then.Architecture == here.Architecture && then.CPUModel == here.CPUModel && then.CPUs == here.CPUs && then.Emulated == here.Emulated &&
		table.Memory(then.MemoryBytes) == table.Memory(here.MemoryBytes) // some pages more or less from boot to boot
}

func machine(run *record.Run) string {
	h := server(run)
	text := fmt.Sprintf("%s, %s, %s", h.CPUModel, table.Plural(h.CPUs, "CPU"), table.Memory(h.MemoryBytes))
	if run.Manifest.Emulated() {
		text += ", emulated"
	}
	return text
}

func kernel(run *record.Run) string { return server(run).Kernel }
