package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/flate"

	"connbench/harness/charts/draw"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/record"
	"connbench/harness/table"
	"connbench/harness/webpage"
)

var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/page.css
	pageCSS string
	//go:embed page/page.js
	pageJS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
	pageFrame    = webpage.New(pageCSS+draw.SVGStyle, pageJS)
)

// page is what the template shows. The template escapes all of it except the drawings
// and our own style and script. If anything slips through, the page's content security
// policy lets only that script run and lets nothing load.
type page struct {
	Title         string
	Answer        []string
	Facts         []fact
	Variants      []pageVariant
	Tables        []pageTable
	Charts        []pageChart
	Remarks       []overview.Section
	Figures       []figure.Figure
	TrialHead     []string
	Trials        []pageRow
	Environment   []environment
	Plan, Command string
	Frame         webpage.Frame
}

// had are the figures that some trial of the run has, if only to doubt them.
func had(run *record.Run) []figure.Figure {
	return slices.DeleteFunc(figure.Of(run), func(f figure.Figure) bool {
		for i := range run.Trials {
			if value, doubt := f.Value(&run.Trials[i]); value != nil || doubt != "" {
				return false
			}
		}
		return true
	})
}

type pageVariant struct {
	Key, Label string
	Swatch     template.HTML
}

type pageTable struct {
	Title   string
	Columns []table.Column
	Rows    []pageRow
	Notes   []string
}

type pageRow struct {
	Variant string
	Cells   []pageCell
}

type pageCell struct {
	Head, Number       bool
	Text, Spread, Ties string
	Sort, Hover        string
}

type pageChart struct {
	Title, About string
	Packed       string
}

type environment struct {
	Title string
	Facts []fact
}

func writePage(w io.Writer, run *record.Run, drawings []draw.Chart) error {
	gathered := overview.Gather(run)
	p := page{
		Title: overview.Title(run.Manifest), Answer: overview.Summary(run), Facts: facts(run), Variants: pageVariants(gathered),
		Remarks: overview.Remarks(run), Figures: had(run), Environment: environments(run), Command: run.Manifest.Command,
		Frame: pageFrame,
	}
	plan, err := json.MarshalIndent(run.Manifest.Plan, "", "  ")
	if err != nil {
		return err
	}
	p.Plan = string(plan)
	for _, t := range overview.Tables(run) {
		p.Tables = append(p.Tables, pageOf(t, gathered.Variants))
	}
	for _, chart := range drawings {
		packed, err := pack(chart.Inline())
		if err != nil {
			return err
		}
		p.Charts = append(p.Charts, pageChart{chart.Title, chart.About, packed})
	}
	p.TrialHead, p.Trials = trialRows(run)
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, p); err != nil {
		return err
	}
	_, err = w.Write(out.Bytes())
	return err
}

// pack is a drawing as the page has it, a sixth of its size: deflated (RFC 1951), in base64. The
// package is not Go's own, whose output differs between releases: published pages are compared
// byte by byte.
func pack(svg []byte) (string, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(svg); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

func pageVariants(run overview.Run) (list []pageVariant) {
	var keys []string
	for _, v := range run.Variants {
		keys = append(keys, v.String())
	}
	styles := draw.Styles(keys)
	for _, v := range run.Variants {
		list = append(list, pageVariant{v.String(), run.Label(v), template.HTML(styles[v.String()].Swatch())})
	}
	return list
}

func pageOf(t table.Table, variants []figure.Variant) pageTable {
	p := pageTable{Title: t.Title, Columns: t.Columns, Notes: t.Notes}
	for i, cells := range t.Rows {
		row := pageRow{Variant: variants[i].String()}
		for at, c := range cells {
			cell := pageCell{Head: at == 0, Number: !t.Columns[at].Text, Text: c.Text + c.Mark, Spread: c.Spread, Ties: c.Ties}
			if c.Value != nil {
				cell.Sort = exact(*c.Value)
			}
			if s := c.Summary; s.N() > 1 {
				var values []string
				for _, x := range s.Values {
					values = append(values, table.Number(x))
				}
				cell.Hover = "all rounds: " + strings.Join(values, "  ")
			}
			row.Cells = append(row.Cells, cell)
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// trialRows lists every trial, so that nothing hides behind a median.
func trialRows(run *record.Run) (head []string, rows []pageRow) {
	shown := slices.DeleteFunc(figure.Of(run), func(f figure.Figure) bool { return !f.In(figure.TableTrials) })
	head = []string{"trial", "round", "variant", "valid", "reached", "stopped by"}
	for _, f := range shown {
		head = append(head, f.FullTitle()+", "+table.Unit(f.Unit))
	}
	replaced := figure.Replaced(run)
	for i := range run.Trials {
		t := &run.Trials[i]
		valid := "yes"
		switch {
		case replaced[t.Trial]:
			valid = "noisy, run again"
		case !t.Valid:
			valid = "no: " + strings.Join(t.Invalid, "; ")
		case t.Noisy:
			valid = "noisy"
		}
		whole := func(n int) pageCell { return pageCell{Number: true, Text: table.Count(n), Sort: strconv.Itoa(n)} }
		row := pageRow{t.Variant + "/" + t.Class, []pageCell{
			whole(t.Trial), whole(t.Round), {Text: t.Variant + "/" + t.Class}, {Text: valid}, whole(t.Connections.Reached), {Text: t.Stop.Reason},
		}}
		for _, f := range shown {
			row.Cells = append(row.Cells, trialCell(f, t))
		}
		rows = append(rows, row)
	}
	return head, rows
}

// trialCell is a figure of one trial. The reason why it is not believed shows when the
// reader points at the cell.
func trialCell(f figure.Figure, t *record.Trial) pageCell {
	x, doubt := f.Value(t)
	if x == nil {
		return pageCell{Number: true, Text: table.Missing, Hover: doubt}
	}
	return pageCell{Number: true, Text: table.Value(f.Unit)(*x), Sort: exact(*x)}
}

// environments list what the run was made with: a list for each host, for each variant
// and for versions.
func environments(run *record.Run) (list []environment) {
	m := run.Manifest
	for _, host := range m.Hosts {
		e := environment{Title: "Host " + host.Name + " (" + strings.Join(host.Roles, ", ") + ")"}
		e.Facts = append(e.Facts,
			fact{"CPU", fmt.Sprintf("%s, %s, usable %v", host.CPUModel, table.Plural(host.CPUs, "CPU"), host.UsableCPUs)},
			fact{"memory", table.Memory(host.MemoryBytes)}, fact{"kernel", host.Kernel}, fact{"OS", host.OS})
		e.Facts = append(e.Facts, settings(host.Sysctls)...)
		e.Facts = append(e.Facts, settings(host.Limits)...)
		list = append(list, e)
	}
	for _, v := range m.Variants {
		e := environment{Title: "Variant " + v.Name + "/" + v.Class}
		e.Facts = append(e.Facts, fact{"I/O model", v.Model}, fact{"library", v.Library})
		if v.WebSocket != "" {
			e.Facts = append(e.Facts, fact{"WebSocket", v.WebSocket})
		}
		e.Facts = append(e.Facts, fact{"settings", v.Settings},
			fact{"build", strings.Join(v.Build, " ")}, fact{"run", strings.Join(v.Run, " ")}, fact{"SHA-256", v.SHA256})
		e.Facts = append(e.Facts, settings(v.Environment)...)
		list = append(list, e)
	}
	versions := environment{Title: "Versions", Facts: []fact{{"connbench", m.Connbench}, {"Go", m.GoVersion}, {"seed", fmt.Sprint(m.Seed)}}}
	versions.Facts = append(versions.Facts, settings(m.Modules)...)
	return append(list, versions)
}

func settings(of map[string]string) (list []fact) {
	for _, name := range slices.Sorted(maps.Keys(of)) {
		list = append(list, fact{name, of[name]})
	}
	return list
}
