package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"connbench/harness/table"
)

// show writes one side of the row with its unit.
func (r Row) show(s Side) string {
	unit, format := table.Unit(r.figure.Unit), table.Value(r.figure.Unit)
	return table.Summary(s.summary, format).String() + " " + unit
}

// said is the change as far as it may be said: ~ where there may be none. Of what
// was as good as 0 no share can be told, but how much it is more or less.
func (r Row) said() string {
	switch {
	case r.Verdict == Same, r.Verdict == TooFew:
		return "~"
	case r.Verdict == Incomparable:
		return table.Missing
	case r.Delta == nil:
		format := table.Value(r.figure.Unit)
		return signed(r.New.Median-r.Old.Median, format)
	}
	return signed(*r.Delta, table.Percent)
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

// figuresTable lists the figures of the tables.
func (c Comparison) figuresTable() table.Table {
	t := table.Table{Columns: []table.Column{
		{Title: "figure", Text: true}, {Title: "variant", Text: true}, {Title: "old"}, {Title: "new"}, {Title: "delta"}, {Title: "p"},
		{Title: "", Text: true},
	}}
	before := ""
	for _, row := range c.Rows {
		if !row.headline {
			continue
		}
		unit, format := table.Unit(row.figure.Unit), table.Value(row.figure.Unit)
		title := ""
		if row.Figure != before {
			title = row.figure.FullTitle() + ", " + unit
		}
		before = row.Figure
		verdict := string(row.Verdict)
		if row.Verdict == Same {
			verdict = ""
		}
		t.Rows = append(t.Rows, []table.Cell{
			table.Words(title), table.Words(row.Variant),
			table.Summary(row.Old.summary, format), table.Summary(row.New.summary, format),
			table.Words(row.said()), table.Words(fmt.Sprintf("%.3f n=%d+%d", row.P, row.Old.Rounds, row.New.Rounds)),
			table.Words(verdict),
		})
	}
	return t
}

// summary says in a few lines what came out.
func (c Comparison) summary() []string {
	var compared, differ, incomparable, few int
	for _, row := range c.Rows {
		if !row.headline {
			continue
		}
		switch row.Verdict {
		case Incomparable:
			incomparable++
		case TooFew:
			few++
		case Same:
			compared++
		default:
			compared++
			differ++
		}
	}
	var lines []string
	if compared > 0 {
		lines = append(lines, fmt.Sprintf("%d of %s differ (p ≤ 0.05); ~ no difference can be told from noise. "+
			"Were the runs the same, chance alone would make about %.0f seem to differ.",
			differ, table.Plural(compared, "comparison"), math.Ceil(float64(compared)*0.05)))
	}
	if few > 0 {
		lines = append(lines, fmt.Sprintf("%s had too few rounds to be judged: three in each run are the least.", table.Plural(few, "comparison")))
	}
	if incomparable > 0 {
		lines = append(lines, fmt.Sprintf("%s cannot be judged because the environments differ.", table.Plural(incomparable, "figure")))
	}
	lines = append(lines, c.Notes...)
	for _, text := range c.Unjudged {
		lines = append(lines, "not judged: "+text)
	}
	for _, text := range c.Failed {
		lines = append(lines, "FAILED "+text)
	}
	return lines
}

// WriteText writes the comparison for a terminal of a width in columns.
func (c Comparison) WriteText(w io.Writer, width int) error {
	var out bytes.Buffer
	table.Wrap(&out, "old: "+c.Old, width)
	table.Wrap(&out, "new: "+c.New, width)
	out.WriteByte('\n')
	if t := c.environmentTable(); t == nil {
		fmt.Fprint(&out, "The environments are the same.\n\n")
	} else if err := t.WriteText(&out, width); err != nil {
		return err
	}
	if err := c.figuresTable().WriteText(&out, width); err != nil {
		return err
	}
	for _, line := range c.summary() {
		table.Wrap(&out, line, width)
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
	if err := c.figuresTable().WriteMarkdown(&out); err != nil {
		return err
	}
	for _, line := range c.summary() {
		fmt.Fprintf(&out, "\n%s\n", table.Markdown(line))
	}
	_, err := w.Write(out.Bytes())
	return err
}

// WriteJSON writes the comparison with all figures, those outside the tables too.
func (c Comparison) WriteJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(c)
}
