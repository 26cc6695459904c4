package compare

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"connbench/harness/atomicfile"
	"connbench/harness/figure"
	"connbench/harness/table"
)

// show writes one side of the row with its unit.
func (r Row) show(s Side) string {
	return table.Summary(s.all, r.figure.Unit).String() + " " + table.Unit(r.figure.Unit)
}

// said is the change as far as it may be said, "~" where there may be none. A share of
// what was close to 0 means nothing: there it is the difference.
func (r Row) said() string {
	switch {
	case r.Verdict == Same, r.Verdict == TooFew:
		return "~"
	case !r.tested():
		return table.Missing
	case r.Delta == nil:
		return signed(r.change(false), table.Value(r.figure.Unit))
	}
	return signed(*r.Delta, table.Percent)
}

// tested is true where the verdict is that of the statistical test.
func (r Row) tested() bool {
	return !slices.Contains([]Verdict{Incomparable, Doubted, Noisy, ClientBound}, r.Verdict)
}

// signed puts the sign before what format makes of a change.
func signed(x float64, format func(float64) string) string {
	if x < 0 {
		return "-" + format(-x)
	}
	return "+" + format(x)
}

// environmentTable lists the differences, nil where there are none.
func (c Comparison) environmentTable() *table.Table {
	if len(c.Environment) == 0 {
		return nil
	}
	t := &table.Table{Columns: []table.Column{
		{Title: "environment", Text: true}, {Title: "old", Text: true}, {Title: "new", Text: true}, {Title: "not comparable", Text: true},
	}}
	for _, d := range c.Environment {
		t.Rows = append(t.Rows, []table.Cell{table.Words(d.Name), table.Words(shorten(d.Old)), table.Words(shorten(d.New)), table.Words(d.Spoils)})
	}
	return t
}

// shorten cuts a text that would make a table unreadable.
func shorten(text string) string {
	const longest = 48
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return text
}

// figuresTable lists the figures that are worth a row.
func (c Comparison) figuresTable() table.Table {
	return rowsTable(slices.DeleteFunc(slices.Clone(c.Rows), func(row Row) bool { return !row.headline }))
}

// rowsTable lists rows, with footnotes for rounds that were not believed or noisy.
func rowsTable(rows []Row) table.Table {
	t := table.Table{Columns: []table.Column{
		{Title: "figure", Text: true}, {Title: "variant", Text: true}, {Title: "old"}, {Title: "new"}, {Title: "delta"}, {Title: "p"},
		{Title: "", Text: true},
	}}
	var notes table.Footnotes
	cell := func(row Row, s Side) table.Cell {
		cell := table.Summary(s.summary, row.figure.Unit)
		cell.Mark = notes.Mark(s.note())
		return cell
	}
	before := ""
	for _, row := range rows {
		title := ""
		if row.Figure != before {
			title = row.figure.FullTitle() + ", " + table.Unit(row.figure.Unit)
		}
		before = row.Figure
		verdict := string(row.Verdict)
		if row.Verdict == Same {
			verdict = ""
		}
		t.Rows = append(t.Rows, []table.Cell{
			table.Words(title), table.Words(row.Variant), cell(row, row.Old), cell(row, row.New),
			table.Words(row.said()), table.Words(fmt.Sprintf("%.3f n=%d+%d", row.P, row.Old.Rounds, row.New.Rounds)),
			table.Words(verdict),
		})
	}
	t.Notes = notes.Lines()
	return t
}

// summary says in a few lines what came out.
func (c Comparison) summary() []string {
	count := map[Verdict]int{}
	for _, row := range c.Rows {
		if row.headline {
			count[row.Verdict]++
		}
	}
	var lines []string
	differ := count[Better] + count[Worse]
	if compared := differ + count[Same]; compared > 0 {
		lines = append(lines, fmt.Sprintf("%d of %s differ (p ≤ 0.05); ~ is a difference within the noise. "+
			"If the runs were the same, chance alone would make about %.0f seem to differ.",
			differ, table.Plural(compared, "comparison"), math.Ceil(float64(compared)*0.05)))
	}
	if n := count[TooFew]; n > 0 {
		lines = append(lines, fmt.Sprintf("%s had too few rounds to be judged: each run needs at least three.", table.Plural(n, "comparison")))
	}
	if n := count[Incomparable]; n > 0 {
		lines = append(lines, fmt.Sprintf("%s cannot be judged because the environments differ.", table.Plural(n, "figure")))
	}
	if n := count[Doubted]; n > 0 {
		lines = append(lines, fmt.Sprintf("%s cannot be judged because the figure is unreliable in one of the runs.", table.Plural(n, "comparison")))
	}
	if n := count[Noisy]; n > 0 {
		lines = append(lines, fmt.Sprintf("%s cannot be judged because too few rounds were quiet: each run needs at least three.", table.Plural(n, "comparison")))
	}
	if n := count[ClientBound]; n > 0 {
		lines = append(lines, fmt.Sprintf("%s cannot be judged because the clients, not the server, set the figure.", table.Plural(n, "comparison")))
	}
	if margin := c.largestMargin(); margin >= 0.01 {
		lines = append(lines, fmt.Sprintf("Noise of the hosts may change CPU times, latencies and rates by up to %s: such changes count as within noise.", table.Percent(margin)))
	}
	lines = append(lines, c.warnings()...)
	lines = append(lines, c.Notes...)
	for _, text := range c.Unjudged {
		lines = append(lines, "not judged: "+text)
	}
	for _, text := range c.Failed {
		lines = append(lines, "FAILED "+text)
	}
	return lines
}

// warnings lists what the test warns of, with the number of comparisons of the table.
func (c Comparison) warnings() []string {
	count := map[string]int{}
	for _, row := range c.Rows {
		if row.headline && row.tested() {
			for _, warning := range row.Warnings {
				count[warning]++
			}
		}
	}
	var lines []string
	for _, warning := range slices.Sorted(maps.Keys(count)) {
		lines = append(lines, fmt.Sprintf("The Mann-Whitney U test warns of %s: %s.", table.Plural(count[warning], "comparison"), warning))
	}
	return lines
}

// largestMargin is the largest of the margins of what was judged.
func (c Comparison) largestMargin() float64 {
	most := 0.0
	for _, row := range c.Rows {
		if row.headline && (row.Verdict == Same || row.Verdict == Better || row.Verdict == Worse) {
			most = max(most, row.Margin)
		}
	}
	return most
}

// WriteText writes the comparison for a terminal of a width in columns.
func (c Comparison) WriteText(w io.Writer, width int) error {
	var out bytes.Buffer
	table.Wrap(&out, "", "  ", "old: "+c.Old, width)
	table.Wrap(&out, "", "  ", "new: "+c.New, width)
	out.WriteByte('\n')
	if t := c.environmentTable(); t == nil {
		fmt.Fprint(&out, "The environments are the same.\n\n")
	} else if err := t.WriteText(&out, width); err != nil {
		return err
	}
	figures := c.figuresTable()
	if err := figures.WriteText(&out, width); err != nil {
		return err
	}
	for _, line := range append(figures.Notes, c.summary()...) {
		table.Wrap(&out, "", "  ", line, width)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// WriteMarkdown writes the comparison as Markdown.
func (c Comparison) WriteMarkdown(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Old: %s\n\nNew: %s\n\n", table.Markdown(c.Old), table.Markdown(c.New))
	if t := c.environmentTable(); t == nil {
		fmt.Fprint(&out, "The environments are the same.\n\n")
	} else if err := t.WriteMarkdown(&out); err != nil {
		return err
	}
	fmt.Fprintln(&out)
	figures := c.figuresTable()
	if err := figures.WriteMarkdown(&out); err != nil {
		return err
	}
	for _, line := range append(figures.Notes, c.summary()...) {
		fmt.Fprintf(&out, "\n%s\n", table.Markdown(line))
	}
	_, err := w.Write(out.Bytes())
	return err
}

// Comment writes the comparison into a file, see [Comparison.WriteComment].
func (c Comparison) Comment(file string) error {
	var out bytes.Buffer
	if err := c.WriteComment(&out); err != nil {
		return err
	}
	return atomicfile.Write(file, out.Bytes())
}

// WriteComment writes the comparison as a comment on a change: the verdict, memory per
// connection and whatever changed, and the rest folded away.
func (c Comparison) WriteComment(w io.Writer) error {
	var out, all bytes.Buffer
	switch n := len(c.Failed); {
	case n > 0:
		fmt.Fprintf(&out, "### connbench: %s\n\n", table.Plural(n, "regression"))
		for _, text := range c.Failed {
			fmt.Fprintf(&out, "- %s\n", table.Markdown(text))
		}
	case len(c.Unjudged) > 0:
		fmt.Fprintf(&out, "### connbench: no significant regression, but %s could not be judged\n", table.Plural(len(c.Unjudged), "condition"))
	default:
		fmt.Fprint(&out, "### connbench: no significant regression\n")
	}
	first := rowsTable(slices.DeleteFunc(slices.Clone(c.Rows), func(row Row) bool {
		bytes := row.headline && row.figure.Kind == figure.Memory && row.figure.PartOf == ""
		return !bytes && row.Verdict != Better && row.Verdict != Worse
	}))
	fmt.Fprintln(&out)
	if err := first.WriteMarkdown(&out); err != nil {
		return err
	}
	for _, line := range first.Notes {
		fmt.Fprintf(&out, "\n%s\n", table.Markdown(line))
	}
	if err := c.WriteMarkdown(&all); err != nil {
		return err
	}
	fmt.Fprintf(&out, "\n<details><summary>All figures</summary>\n\n%s\n</details>\n", all.String())
	_, err := w.Write(out.Bytes())
	return err
}
