package bench

import (
	"fmt"
	"io"

	"connbench/harness/cause"
	"connbench/harness/limits"
	"connbench/harness/plain"
	"connbench/harness/table"
)

// WriteText writes the limits for a terminal of a width in columns, with the one that
// comes first, and what memory is counted by.
func (p Prediction) WriteText(out io.Writer, width int) error {
	rows := [][]string{}
	for _, l := range p.Limits {
		allows, mark := table.Missing, ""
		switch {
		case l.Connections != nil:
			allows = table.Count(int(*l.Connections))
		case l.Kind == limits.KindRate:
			allows = "rate only"
		}
		if l.Binding {
			mark = "◀ first"
		}
		rows = append(rows, []string{l.Name, l.Side, l.Where, l.Value, allows, mark, l.How, l.Raise})
	}
	if err := table.Print(out, width, []string{"limit", "side", "set by", "value", "connections", "", "because", "raise it"}, rows); err != nil {
		return err
	}
	switch {
	case p.Cost != nil:
		fmt.Fprintln(out, p.Cost)
	case p.Untrusted != "":
		fmt.Fprintf(out, "bytes per connection are unknown: %s\n", plain.Line(p.Untrusted))
	}
	limit, ok := p.Binding()
	if !ok {
		fmt.Fprintln(out, "no limit is known")
		return nil
	}
	fmt.Fprintf(out, "predicted ceiling: %s, by %s\n", table.Plural(int(*p.Ceiling), "connection"), limit.Name)
	if c := cause.Named(limit.Reason); c != nil && c.Advice != limit.Raise {
		fmt.Fprintln(out, "to get further:", c.Advice)
	}
	return nil
}
