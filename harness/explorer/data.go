package explorer

import (
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"connbench/harness/charts/draw"
	"connbench/harness/compare"
	"connbench/harness/environment"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/record"
	"connbench/harness/sizing"
	"connbench/harness/table"
)

// data is what the page's script works on.
type data struct {
	Figures []figureData `json:"figures"`
	// Facts are the facts on which figures depend.
	Facts   []string   `json:"facts"`
	Runs    []runData  `json:"runs"`
	Rows    []rowData  `json:"rows"`
	Caveats []string   `json:"caveats"`
	Presets []question `json:"presets"`
	// Files are the names of a run's files.
	TrialsFile string `json:"trialsFile"`
}

type figureData struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Unit   string  `json:"unit"`
	Scale  float64 `json:"scale"`
	Whole  bool    `json:"whole"`
	Finest float64 `json:"finest"`
	Kind   string  `json:"kind"`
	Better int     `json:"better"`
	Means  string  `json:"means"`
	// Needs are the facts, by their place in the list, in which two runs must agree if the
	// figure is compared.
	Needs []int `json:"needs"`
}

type runData struct {
	Name      string `json:"name"`
	Date      string `json:"date"`
	Title     string `json:"title"`
	Plan      string `json:"plan"`
	Lab       string `json:"lab"`
	Engine    string `json:"engine"`
	Machine   string `json:"machine"`
	Go        string `json:"go"`
	Connbench string `json:"connbench"`
	Command   string `json:"command"`
	// Facts are the values of the facts, by their place in the list.
	Facts []string `json:"facts"`
}

type rowData struct {
	Run     int    `json:"run"`
	Variant string `json:"variant"`
	Name    string `json:"name"`
	Class   string `json:"class"`
	Model   string `json:"model"`
	Library string `json:"library"`
	// Waived says what it does not do that all servers should do, and whether it has no
	// kernel sockets.
	Waived string `json:"waived,omitempty"`
	// Language is what it is written in.
	Language string `json:"language"`
	Color    string `json:"color"`
	// Values are those of each round in which a figure was taken and may be believed.
	// Intervals has those that are narrower than all rounds. Both go by the figure's place in
	// the list, as do Caveats, which are places in the list of caveats.
	Values    map[int][]float64  `json:"values"`
	Intervals map[int][2]float64 `json:"intervals,omitempty"`
	Caveats   map[int]int        `json:"caveats,omitempty"`
	// Unranked are the figures that are the swarm's rather than the server's.
	Unranked []int `json:"unranked,omitempty"`

	// Bytes is what a connection takes of memory, the server's and its share of the kernel's, 0
	// where it is not known; Measured is the largest number of connections.
	Bytes    float64 `json:"bytes"`
	Measured int     `json:"measured"`
	// PerCore are the messages per second that a core carried, 0 where that is not known, and
	// MeasuredRate is the highest rate that was measured.
	PerCore      float64 `json:"perCore"`
	MeasuredRate float64 `json:"measuredRate"`
}

// gather makes the page's data of runs, the newest first.
func gather(runs []*record.Run) data {
	d := data{Figures: []figureData{}, Facts: []string{}, Runs: []runData{}, Rows: []rowData{}, Caveats: []string{}, Presets: slices.Clone(questions), TrialsFile: record.TrialsFile + record.Packed}
	shown := slices.DeleteFunc(figure.Of(runs...), func(f figure.Figure) bool { return len(f.Tables) == 0 })
	facts := factsOf(runs, shown)
	for _, fact := range facts {
		d.Facts = append(d.Facts, string(fact))
	}
	for _, f := range shown {
		entry := figureData{
			Name: f.Name, Title: f.FullTitle(), Unit: table.Unit(f.Unit), Scale: f.Unit.Scale, Whole: f.Unit.Whole, Finest: f.Unit.Finest,
			Kind: string(f.Kind), Better: int(f.Better), Means: f.Means, Needs: []int{},
		}
		for i, fact := range facts {
			if compare.SpoilsFigure(fact, f) {
				entry.Needs = append(entry.Needs, i)
			}
		}
		d.Figures = append(d.Figures, entry)
	}
	for i, run := range runs {
		d.Runs = append(d.Runs, describe(run, facts))
		estimates := sizing.Of(run, sizing.Need{MemoryBytes: 1 << 30, Cores: 1}).Estimates
		for _, v := range figure.Variants(run) {
			row := d.row(v, shown)
			row.Run = i
			if known := slices.IndexFunc(run.Manifest.Variants, func(other record.Variant) bool { return other.Name == v.Name }); known >= 0 {
				row.Language = run.Manifest.Variants[known].Language
			}
			at := slices.IndexFunc(estimates, func(e sizing.Estimate) bool { return e.Variant == v.String() })
			if at >= 0 {
				row.size(estimates[at], run.Manifest.Emulated())
			}
			d.Rows = append(d.Rows, row)
		}
	}
	d.color()
	return d
}

// factsOf lists the facts of runs on which some figure depends.
func factsOf(runs []*record.Run, figures []figure.Figure) []environment.Fact {
	var facts []environment.Fact
	for _, run := range runs {
		for _, item := range environment.Of(run) {
			needed := func(f figure.Figure) bool { return compare.SpoilsFigure(item.Fact, f) }
			if !slices.Contains(facts, item.Fact) && slices.ContainsFunc(figures, needed) {
				facts = append(facts, item.Fact)
			}
		}
	}
	return facts
}

func describe(run *record.Run, facts []environment.Fact) runData {
	m := run.Manifest
	r := runData{
		Name: filepath.Base(run.Dir), Date: m.Started.UTC().Format("2006-01-02 15:04"), Title: overview.Title(m), Lab: m.Lab,
		Machine: overview.Machine(m), Go: m.GoVersion, Connbench: revision(m.Connbench), Command: m.Command,
	}
	if len(run.Trials) > 0 {
		r.Plan, r.Engine = run.Trials[0].Plan, run.Trials[0].Engine
	}
	items := environment.Of(run)
	for _, fact := range facts {
		var values []string
		for _, item := range items {
			if item.Fact == fact {
				values = append(values, item.Value)
			}
		}
		r.Facts = append(r.Facts, strings.Join(values, "; "))
	}
	return r
}

// revision shortens the name of a commit.
func revision(text string) string {
	const whole, short = 40, 12
	if len(text) == whole && !strings.Contains(text, " ") {
		return text[:short]
	}
	return text
}

// row is a variant with its figures.
func (d *data) row(v figure.Variant, figures []figure.Figure) rowData {
	model, _, _ := strings.Cut(v.Model, ":") // without how the variant does it
	row := rowData{
		Variant: v.String(), Name: v.Name, Class: v.Class, Model: model, Library: v.Library, Waived: v.Note(),
		Values: map[int][]float64{}, Intervals: map[int][2]float64{}, Caveats: map[int]int{},
	}
	for i, f := range figures {
		s := v.Summary(f)
		if s.N() > 0 {
			for _, x := range s.Values {
				row.Values[i] = append(row.Values[i], digits(f, x))
			}
			if s.Low > s.Values[0] || s.High < s.Values[s.N()-1] {
				row.Intervals[i] = [2]float64{digits(f, s.Low), digits(f, s.High)}
			}
		}
		if caveat := v.Caveat(f); caveat != "" {
			row.Caveats[i] = d.caveat(caveat)
		}
		if v.ClientBound(f) != "" {
			row.Unranked = append(row.Unranked, i)
		}
	}
	return row
}

// caveat is the place of a caveat in the list.
func (d *data) caveat(text string) int {
	at := slices.Index(d.Caveats, text)
	if at < 0 {
		at = len(d.Caveats)
		d.Caveats = append(d.Caveats, text)
	}
	return at
}

func (row *rowData) size(e sizing.Estimate, emulated bool) {
	row.Measured = e.Measured
	if e.BytesPerConnection != nil {
		row.Bytes = rounded(e.BytesPerConnection.Median)
	}
	if e.MessagesPerSecond != nil && !emulated {
		row.PerCore, row.MeasuredRate = rounded(e.MessagesPerSecond.Median), rounded(e.MeasuredRate)
	}
}

// digits keeps as many digits of a figure as what is shown comes of.
func digits(f figure.Figure, x float64) float64 {
	if f.Unit.Whole {
		return math.Round(x)
	}
	return rounded(x)
}

// rounded keeps six significant digits: three are shown, and spreads come of differences.
func rounded(x float64) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 6, 64), 64)
	if err != nil {
		return x // never
	}
	return y
}

// color gives each variant the colour that it has in all charts.
func (d *data) color() {
	var names []string
	for _, row := range d.Rows {
		names = append(names, row.Variant)
	}
	styles := draw.Styles(names)
	for i := range d.Rows {
		d.Rows[i].Color = styles[d.Rows[i].Variant].Color
	}
}
