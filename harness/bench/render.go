package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"connbench/harness/cause"
	"connbench/harness/limits"
	"connbench/harness/plain"
	"connbench/harness/table"
)

// WriteText writes the predicted ceiling for a terminal of a width in columns, and then every
// limit with the number of connections that it allows and what raises it, the lowest first.
// asked is the number of connections that somebody wants, 0 for none.
func (p Prediction) WriteText(out io.Writer, width, asked int) error {
	var b bytes.Buffer
	p.writeCeiling(&b, width, asked)
	for _, part := range parts {
		list := slices.DeleteFunc(slices.Clone(p.Limits), func(l limits.Limit) bool { return !part.has(l) })
		slices.SortStableFunc(list, func(x, y limits.Limit) int { return cmp.Compare(allowed(x), allowed(y)) })
		if len(list) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", part.title)
		for _, l := range list {
			part.write(&b, l, width)
		}
	}
	_, err := out.Write(b.Bytes())
	return err
}

// writeCeiling writes the answer: how many, by which limit, and what that rests on.
func (p Prediction) writeCeiling(b *bytes.Buffer, width, asked int) {
	limit, ok := p.Binding()
	if !ok {
		fmt.Fprintln(b, "predicted ceiling: unknown, since no limit here is known")
	} else {
		table.Wrap(b, "", "  ", fmt.Sprintf("predicted ceiling: %s (first limit: %s)", table.Plural(int(*p.Ceiling), "connection"), limit.Name), width)
		if p.PerProcess != nil && *p.PerProcess < *p.Ceiling {
			text := "one server process: " + table.Plural(int(*p.PerProcess), "connection")
			if n := p.Processes(asked); n > 1 {
				text += fmt.Sprintf("; %s need %s processes", table.Count(asked), table.Count(n))
			}
			table.Wrap(b, "", "  ", text, width)
		}
		if c := cause.Named(limit.Reason); c != nil && c.Advice != limit.Raise {
			table.Wrap(b, "", "  ", "to get further: "+c.Advice, width)
		}
	}
	switch {
	case p.Cost != nil:
		table.Wrap(b, "", "  ", "memory: "+p.Cost.String(), width)
	case p.Untrusted != "":
		table.Wrap(b, "", "  ", "memory: bytes per connection are unknown: "+p.Untrusted, width)
	}
}

// part is a part of the list: limits of one kind.
type part struct {
	title string
	has   func(l limits.Limit) bool
	write func(b *bytes.Buffer, l limits.Limit, width int)
}

var parts = []part{
	{"Limits of open connections:", func(l limits.Limit) bool { return l.Kind == limits.KindOpen && l.Connections != nil }, writeLimit},
	{"Limits on active or closing connections (not on idle ones):", func(l limits.Limit) bool {
		return (l.Kind == limits.KindLoad || l.Kind == limits.KindClose) && l.Connections != nil
	}, writeLimit},
	{"Limits of the connect rate, not of the number:", func(l limits.Limit) bool { return l.Kind == limits.KindRate }, writeNoNumber},
	{"No limit here:", func(l limits.Limit) bool { return l.Kind != limits.KindRate && l.Connections == nil }, writeNoNumber},
}

// allowed is the number that a limit is sorted by.
func allowed(l limits.Limit) int64 {
	if l.Connections == nil {
		return 0
	}
	return *l.Connections
}

// numberWidth is the width of the column of numbers.
const numberWidth = 14

// writeLimit writes the number that a limit allows, what it is, how the number comes about
// and what raises it.
func writeLimit(b *bytes.Buffer, l limits.Limit, width int) {
	indent := strings.Repeat(" ", numberWidth+2)
	head := setting(l)
	if l.Binding {
		head += " ◀ first"
	}
	table.Wrap(b, fmt.Sprintf("%*s  ", numberWidth, table.Count(int(*l.Connections))), indent, head, width)
	table.Wrap(b, indent, indent, grouped(l.How), width)
	if l.PerProcess != nil {
		fmt.Fprintf(b, "%sin each process: %s\n", indent, table.Count(int(*l.PerProcess)))
	}
	if l.Raise != "" {
		table.Wrap(b, indent, indent+"  ", "raise: "+l.Raise, width)
	}
}

// writeNoNumber writes what a limit is, and why it has no number.
func writeNoNumber(b *bytes.Buffer, l limits.Limit, width int) {
	const indent = "  "
	table.Wrap(b, indent, indent+indent, setting(l)+": "+grouped(l.How), width)
}

// WriteExceeded writes, for a terminal of a width in columns, limits that a number of
// connections exceeds, each with what raises it.
func WriteExceeded(out io.Writer, exceeded []limits.Limit, width int) error {
	var b bytes.Buffer
	b.WriteByte('\n')
	for _, l := range exceeded {
		table.Wrap(&b, "", "  ", fmt.Sprintf("%s (%s = %s): at most %s connections; to raise it: %s", l.Name, l.Where, l.Value, table.Count(int(*l.Connections)), l.Raise), width)
	}
	_, err := out.Write(b.Bytes())
	return err
}

// long are whole numbers of more digits than anybody counts. No group of an address is one,
// and numbers of processes are names.
var long = regexp.MustCompile(`(process )?\b[0-9]{5,18}\b`)

// grouped is a text with commas in its numbers.
func grouped(text string) string {
	return long.ReplaceAllStringFunc(text, func(digits string) string {
		n, err := strconv.Atoi(digits)
		if err != nil {
			return digits // it is a process
		}
		return table.Count(n)
	})
}

// setting is a limit with what sets it.
func setting(l limits.Limit) string {
	text := l.Name
	if l.Side != "both" {
		text += ", " + l.Side
	}
	if text += " (" + l.Where; l.Value != "" {
		text += " = " + l.Value
	}
	return plain.Line(text + ")")
}
