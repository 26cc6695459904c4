package reference

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// generated begins every page.
const generated = "<!-- generated: go test ./harness/reference -update -->\n\n"

// page is a page that is being written.
type page struct{ strings.Builder }

func newPage(title string) *page {
	p := &page{}
	p.WriteString(generated)
	p.WriteString("# " + title + "\n")
	return p
}

func (p *page) heading(level int, text string) {
	p.WriteString("\n" + strings.Repeat("#", level) + " " + text + "\n")
}

func (p *page) paragraph(format string, args ...any) {
	fmt.Fprintf(&p.Builder, "\n"+format+"\n", args...)
}

// table writes a Markdown table; nothing if it has no rows.
func (p *page) table(head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.WriteString("\n")
	p.row(head)
	p.row(strings.Split(strings.Repeat("--- ", len(head)), " ")[:len(head)])
	for _, row := range rows {
		p.row(row)
	}
}

func (p *page) row(cells []string) {
	for _, cell := range cells {
		p.WriteString("| " + inCell.Replace(cell) + " ")
	}
	p.WriteString("|\n")
}

// inCell escapes what would end a cell.
var inCell = strings.NewReplacer("|", `\|`, "\n\n", "<br>", "\n", "<br>")

func code(text string) string { return "`" + text + "`" }

// anchor returns the link to a heading, as code hosts make it.
func anchor(heading string) string {
	return "#" + strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

var notInAnchor = regexp.MustCompile(`[^a-z0-9 _-]`)

// holds says what a member of a file holds: its type and unit, and whether it may be
// null. object says what a struct is.
func holds(kind reflect.Type, name string, object func(reflect.Type) string) string {
	null := ""
	if kind.Kind() == reflect.Pointer {
		kind, null = kind.Elem(), " or null"
	}
	words := typeWords(kind, object)
	for _, u := range units {
		if strings.HasSuffix(name, u.suffix) {
			words += " (" + u.unit + ")"
			break
		}
	}
	return words + null
}

// units are the units by the ends of members' names.
var units = []struct{ suffix, unit string }{
	{"bytes_per_connection", "bytes"}, {"_per_second", "per second"}, {"bytes", "bytes"}, {"seconds", "s"}, {"_us", "µs"}, {"_share", "0 to 1"},
}

func typeWords(kind reflect.Type, object func(reflect.Type) string) string {
	switch {
	case kind == reflect.TypeFor[time.Time]():
		return "time"
	case kind.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return "integer or text"
	}
	switch kind.Kind() {
	case reflect.Pointer:
		return typeWords(kind.Elem(), object) + " or null"
	case reflect.Slice:
		return "list of " + plural(typeWords(kind.Elem(), object))
	case reflect.Map:
		return "object of " + plural(typeWords(kind.Elem(), object))
	case reflect.Struct:
		return object(kind)
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "number"
	case reflect.Interface:
		return "object"
	}
	return "integer"
}

// plural returns the plural of what typeWords returns.
func plural(words string) string {
	if first, rest, isChoice := strings.Cut(words, " or "); isChoice {
		return plural(first) + " or " + rest
	}
	if text, link, isLink := strings.Cut(words, "]("); isLink {
		return text + "s](" + link
	}
	return words + "s"
}
