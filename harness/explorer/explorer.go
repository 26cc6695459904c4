// Package explorer writes results/index.html: one page over all published runs, that works
// offline and is a table even without its script.
package explorer

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/record"
	"connbench/harness/table"
	"connbench/harness/webpage"
)

// File is the name of the page in the folder of results.
const File = "index.html"

var (
	//go:embed page/explorer.html
	pageHTML string
	//go:embed page/explorer.css
	pageCSS string
	//go:embed page/explorer.js
	pageJS string
	// The charting library, of the npm package uplot, unchanged. Its licence is next to it.
	//go:embed page/uplot.js
	libraryJS string
	//go:embed page/uplot.css
	libraryCSS string

	pageTemplate = template.Must(template.New("explorer").Parse(pageHTML))
	frame        = webpage.New(libraryCSS+pageCSS, libraryJS+pageJS)
)

// page is what the template shows: the answer to the first question, and the data of all.
type page struct {
	Frame         webpage.Frame
	Title, Source string
	Answer        []string
	Columns       []table.Column
	Rows          []row
	Runs          []runData
	Data          data
}

type row struct {
	Variant string
	Cells   []table.Cell
}

// Page makes the page of runs, which are the newest first.
func Page(runs []*record.Run) ([]byte, error) {
	p := page{Frame: frame, Data: gather(runs)}
	p.Runs = p.Data.Runs
	for i, q := range p.Data.Presets {
		run := answering(runs, q)
		if run == nil {
			continue
		}
		q.Answer, q.From = overview.Summary(run), slices.Index(runs, run)
		p.Data.Presets[i] = q
		if p.Title == "" {
			p.open(q, run)
		}
	}
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, p)
	return out.Bytes(), err
}

// open shows the answer to a question without the help of the script.
func (p *page) open(q question, run *record.Run) {
	m := run.Manifest
	p.Title, p.Answer = q.Title, q.Answer
	p.Source = fmt.Sprintf("%s: %s, lab %s, %s. %s", overview.Title(m), overview.Machine(m), m.Lab, m.Started.UTC().Format("2006-01-02 15:04"), m.Command)
	figures := q.columns(run)
	for _, f := range figures {
		p.Columns = append(p.Columns, table.Column{Title: f.FullTitle(), Unit: table.Unit(f.Unit), Means: f.Means})
	}
	for _, v := range figure.Variants(run) {
		r := row{Variant: v.String()}
		for _, f := range figures {
			r.Cells = append(r.Cells, table.Summary(v.Summary(f), f.Unit))
		}
		p.Rows = append(p.Rows, r)
	}
}

// columns are the figures of a run that the question asks for.
func (q question) columns(run *record.Run) (list []figure.Figure) {
	for _, name := range q.Figures {
		for _, f := range figure.Of(run) {
			if f.Name == name || strings.HasSuffix(name, ".") && strings.HasPrefix(f.Name, name) {
				list = append(list, f)
			}
		}
	}
	return list
}

// answering is the run that answers a question: of the first of its plans that has runs, the
// one with the most variants, and the newest of these. It is nil where no run does.
func answering(runs []*record.Run, q question) *record.Run {
	for _, plan := range q.Plans {
		var best *record.Run
		for _, run := range runs {
			if len(run.Trials) > 0 && run.Trials[0].Plan == plan && (best == nil || len(figure.Variants(run)) > len(figure.Variants(best))) {
				best = run
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}
