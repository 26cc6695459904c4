package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/stats"
)

// Summary is what the rounds say about one figure of one variant.
type Summary struct {
	Variant string `json:"variant"`
	Class   string `json:"class"`
	Figure  string `json:"figure"`
	Unit    string `json:"unit"`
	Better  string `json:"better"` // "lower", "higher" or ""
	Rounds  int    `json:"rounds"`
	// Median, Low and High are nil where the figure was not taken or is not believed.
	Median *float64 `json:"median"`
	Low    *float64 `json:"low"`
	High   *float64 `json:"high"`
	// Interval is true where Low and High are the 95 % interval of the median,
	// false where they are the smallest and the largest value.
	Interval bool `json:"interval"`
	// Warnings say why there is no interval.
	Warnings []string `json:"warnings,omitempty"`
	// Doubt says why it is not believed in some rounds or all, or why it is not ranked.
	Doubt string `json:"doubt,omitempty"`
}

// Summaries are all figures of all variants of a run, as in the tables' CSV file.
func Summaries(run *record.Run) []Summary {
	list := []Summary{}
	for _, f := range figure.Of(run) {
		for _, v := range figure.Variants(run) {
			s := v.Summary(f)
			summary := Summary{
				Variant: v.Name, Class: v.Class, Figure: f.Name, Unit: f.Unit.Name,
				Better: f.Better.String(), Rounds: s.N(), Doubt: v.Caveat(f),
			}
			if s.N() > 0 {
				summary.Median, summary.Low, summary.High = &s.Median, &s.Low, &s.High
				summary.Interval, summary.Warnings = s.Interval, s.Warnings
			}
			list = append(list, summary)
		}
	}
	return list
}

// sheet writes a CSV file that spreadsheets read as text and numbers, and never as
// formulas.
type sheet struct{ *csv.Writer }

// Write writes a row.
func (s sheet) Write(row []string) error {
	cells := make([]string, len(row))
	for i, text := range row {
		cells[i] = plain.Cell(text)
	}
	return s.Writer.Write(cells)
}

// writeTablesCSV writes the summaries as one tidy table: a row for each figure of each
// variant. What was not measured, or is not believed, is an empty field.
func writeTablesCSV(w io.Writer, run *record.Run) error {
	out := sheet{csv.NewWriter(w)}
	if err := out.Write([]string{
		"plan", "lab", "variant", "class", "model", "library", "figure", "unit", "better",
		"rounds", "median", "low", "high", "interval", "min", "max", "best_place", "worst_place", "doubt",
	}); err != nil {
		return err
	}
	variants := figure.Variants(run)
	for _, f := range figure.Of(run) {
		summaries, ranking := figure.Rank(variants, f)
		for i, v := range variants {
			row := []string{
				planName(run), run.Manifest.Lab, v.Name, v.Class, v.Model, v.Library,
				f.Name, f.Unit.Name, f.Better.String(), strconv.Itoa(summaries[i].N()),
			}
			row = append(row, summaryFields(summaries[i], ranking, i, f.Better)...)
			if err := out.Write(append(row, v.Caveat(f))); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

func summaryFields(s stats.Summary, ranking stats.Ranking, at int, better figure.Direction) []string {
	if s.N() == 0 {
		return make([]string, 8)
	}
	interval := "range"
	if s.Interval {
		interval = "95%"
	}
	best, worst := ranking.Place(at)
	if better == figure.Higher {
		best, worst = len(ranking.Order)+1-worst, len(ranking.Order)+1-best
	}
	places := []string{strconv.Itoa(best), strconv.Itoa(worst)}
	if better == figure.None || !slices.Contains(ranking.Order, at) {
		places = []string{"", ""}
	}
	return append([]string{
		exact(s.Median), exact(s.Low), exact(s.High), interval, exact(s.Values[0]), exact(s.Values[s.N()-1]),
	}, places...)
}

// exact writes x so that reading it gives x again.
func exact(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// writeTrialsCSV writes the trials as a table: a row for each trial, a column for
// each of its fields that is not a list of objects or a histogram, by its path in
// trials.jsonl.
func writeTrialsCSV(w io.Writer, run *record.Run) error {
	rows := make([]map[string]string, len(run.Trials))
	var columns []string
	known := map[string]bool{}
	for i := range run.Trials {
		rows[i] = map[string]string{}
		tell := func(path, value string) {
			if !known[path] {
				known[path] = true
				columns = append(columns, path)
			}
			rows[i][path] = value
		}
		flatten("", reflect.ValueOf(run.Trials[i]), tell)
		for name, section := range run.Trials[i].Each {
			flatten(name, reflect.ValueOf(section).Elem(), tell)
		}
	}
	// Fields of an object appear with the first trial that has it; sorted like the record,
	// they stand together.
	slices.SortStableFunc(columns, func(a, b string) int { return fieldOrder(a) - fieldOrder(b) })
	out := sheet{csv.NewWriter(w)}
	if err := out.Write(columns); err != nil {
		return err
	}
	for _, row := range rows {
		fields := make([]string, len(columns))
		for i, column := range columns {
			fields[i] = row[column]
		}
		if err := out.Write(fields); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// writeSamplesCSV writes the samples as a table, each with the variant and the
// round that it belongs to.
func writeSamplesCSV(w io.Writer, run *record.Run) error {
	out := sheet{csv.NewWriter(w)}
	columns := []string{"variant", "class", "round"}
	flatten("", reflect.ValueOf(record.Sample{}), func(path, _ string) { columns = append(columns, path) })
	if err := out.Write(columns); err != nil {
		return err
	}
	trials := map[int]record.Trial{}
	for _, trial := range run.Trials {
		trials[trial.Trial] = trial
	}
	for sample, err := range folder.Samples(run) {
		if err != nil {
			return err
		}
		row := []string{"", "", ""} // of a trial that was killed
		if trial, known := trials[sample.Trial]; known {
			row = []string{trial.Variant, trial.Class, strconv.Itoa(trial.Round)}
		}
		flatten("", reflect.ValueOf(sample), func(_, value string) { row = append(row, value) })
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// fieldOrder is the position in Trial of the field with which a path begins.
func fieldOrder(path string) int {
	first, _, _ := strings.Cut(path, ".")
	trial := reflect.TypeFor[record.Trial]()
	for i := range trial.NumField() {
		if fieldName(trial.Field(i)) == first {
			return i
		}
	}
	return trial.NumField()
}

func fieldName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

// flatten calls tell with the paths and values of all simple fields of a value.
func flatten(path string, value reflect.Value, tell func(path, value string)) {
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() {
			if value.Type().Elem().Kind() != reflect.Struct {
				tell(path, "")
			}
			return
		}
		flatten(path, value.Elem(), tell)
	case reflect.Struct:
		if when, ok := value.Interface().(time.Time); ok {
			tell(path, when.Format(time.RFC3339Nano))
			return
		}
		for i := range value.NumField() {
			field := value.Type().Field(i)
			name := fieldName(field)
			switch {
			case name == "histogram", !field.IsExported():
			case field.Anonymous:
				flatten(path, value.Field(i), tell)
			default:
				flatten(strings.TrimPrefix(path+"."+name, "."), value.Field(i), tell)
			}
		}
	case reflect.Map:
		keys := value.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			flatten(path+"."+key.String(), value.MapIndex(key), tell)
		}
	case reflect.Slice:
		if value.Type().Elem().Kind() == reflect.Struct {
			return
		}
		var items []string
		for i := range value.Len() {
			items = append(items, fmt.Sprint(value.Index(i)))
		}
		tell(path, strings.Join(items, "; "))
	case reflect.Float64:
		tell(path, exact(value.Float()))
	default:
		tell(path, fmt.Sprint(value))
	}
}
