package publish

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"connbench/harness/figures"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Markers in README.md between which the index stands.
const (
	begin = "<!-- runs: begin (generated, do not edit) -->"
	end   = "<!-- runs: end -->"
)

// WriteIndex writes the list of runs in the README.md of folder results anew,
// newest first. A folder that is no sound run is an error that names it.
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
	runs, err := published(results)
	if err != nil {
		return err
	}
	index, err := index(runs)
	if err != nil {
		return err
	}
	return record.WriteFile(file, []byte(before+begin+"\n"+index+end+after))
}

// published opens all runs of a folder, the newest first.
func published(results string) ([]*record.Run, error) {
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
		run, err := record.Open(dir)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}

func index(runs []*record.Run) (string, error) {
	if len(runs) == 0 {
		return "No run is published yet.\n", nil
	}
	list := table.Table{Columns: []table.Column{
		{Title: "machine", Text: true}, {Title: "kernel", Text: true}, {Title: "plan", Text: true}, {Title: "lab", Text: true},
		{Title: "trials"}, {Title: "date", Text: true},
	}}
	across := table.Table{Columns: []table.Column{
		{Title: "variant", Text: true}, {Title: "machine", Text: true},
		{Title: "reached", Unit: "conn"}, {Title: "RSS", Unit: "B/conn"}, {Title: "kernel", Unit: "B/conn"},
		{Title: "CPU per accept", Unit: "µs"}, {Title: "echo p99", Unit: "µs"},
	}}
	shown := []string{"connections.reached", "per_connection.rss_bytes", "per_connection.kernel_bytes", "cpu.accept_us", "echo.p99_us"}
	var out, links bytes.Buffer
	for _, run := range runs {
		plan := ""
		if len(run.Trials) > 0 {
			plan = run.Trials[0].Plan
		}
		list.Rows = append(list.Rows, []table.Cell{
			table.Words(machine(run)), table.Words(kernel(run)), table.Words(plan), table.Words(run.Manifest.Lab),
			table.Words(table.Count(len(run.Trials))), table.Words(run.Manifest.Started.UTC().Format("2006-01-02")),
		})
		name := filepath.Base(run.Dir)
		target := "./" + url.PathEscape(name)
		fmt.Fprintf(&links, "- [%s](%s): [tables](%s/tables.md), [page](%s/index.html)\n", table.Markdown(name), target, target, target)
		for _, v := range figures.Variants(run) {
			row := []table.Cell{table.Words(v.String()), table.Words(machine(run))}
			for _, figure := range shown {
				f := figures.Must(figure)
				_, format := f.Display()
				row = append(row, table.Summary(v.Summary(f), format))
			}
			across.Rows = append(across.Rows, row)
		}
	}
	if err := list.WriteMarkdown(&out); err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "\n%s\nAcross machines; compare bytes, not times:\n\n", links.String())
	if err := across.WriteMarkdown(&out); err != nil {
		return "", err
	}
	return out.String(), nil
}

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

func machine(run *record.Run) string {
	h := server(run)
	return fmt.Sprintf("%s, %s, %s", h.CPUModel, table.Plural(h.CPUs, "CPU"), table.Memory(h.MemoryBytes))
}

func kernel(run *record.Run) string { return server(run).Kernel }
