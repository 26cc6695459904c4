package table

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/olekukonko/tablewriter/pkg/twwarp"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
	"golang.org/x/term"

	"connbench/harness/plain"
)

// Width is the width of a terminal in columns. It is unbounded for anything else, so that
// tables in files and pipes are not cut.
func Width(w io.Writer) int {
	if file, ok := w.(interface{ Fd() uintptr }); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return math.MaxInt
}

// leastWrap is the least width to which a column is wrapped.
const leastWrap = 20

// Print writes rows below head for a terminal of the given width in columns. It wraps the
// widest column where they are wider.
func Print(w io.Writer, width int, head []string, rows [][]string) error {
	const between = 3
	widths := make([]int, len(head))
	total := 2
	for i, title := range head {
		widths[i] = twwidth.Width(title)
		for _, row := range rows {
			widths[i] = max(widths[i], twwidth.Width(row[i]))
		}
		total += widths[i] + between
	}
	widest := 0
	for i := range widths {
		if widths[i] > widths[widest] {
			widest = i
		}
	}
	if over := total - width; over > 0 {
		room := max(leastWrap, widths[widest]-over)
		for i, row := range rows {
			lines, _ := twwarp.WrapString(row[widest], room)
			rows[i] = append([]string(nil), row...)
			rows[i][widest] = strings.Join(lines, "\n")
		}
	}
	style := renderer.NewBlueprint(tw.Rendition{
		Symbols: tw.NewSymbols(tw.StyleLight),
		Borders: tw.Border{Left: tw.Off, Right: tw.Off, Top: tw.Off, Bottom: tw.Off},
	})
	left := make([]tw.Align, len(head))
	for i := range left {
		left[i] = tw.AlignLeft
	}
	if err := draw(w, style, head, rows, left); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// Wrap writes words for a terminal, cut at spaces: prefix before the first line, indent
// before the others.
func Wrap(w *bytes.Buffer, prefix, indent, words string, width int) {
	w.WriteString(prefix)
	column := twwidth.Width(prefix)
	for i, word := range strings.Fields(plain.Line(words)) {
		length := twwidth.Width(word)
		switch {
		case i == 0:
		case column+1+length > width:
			w.WriteString("\n" + indent)
			column = twwidth.Width(indent)
		default:
			w.WriteByte(' ')
			column++
		}
		w.WriteString(word)
		column += length
	}
	w.WriteByte('\n')
}
