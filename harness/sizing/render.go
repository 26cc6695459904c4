package sizing

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"connbench/harness/figure"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// WriteText writes the answer to a need for a terminal of a width in columns: a row for
// each variant, and what it rests on.
func (a Answer) WriteText(out io.Writer, width int, need Need) error {
	t := table.Table{Columns: []table.Column{{Title: "variant", Text: true}, {Title: "memory", Unit: "B/conn"}}}
	column := func(asked bool, title, unit string) bool {
		if asked {
			t.Columns = append(t.Columns, table.Column{Title: title, Unit: unit})
		}
		return asked
	}
	limited := slices.ContainsFunc(a.Estimates, func(e Estimate) bool { return e.FirstLimit != "" })
	memory := column(need.Connections > 0, "in all", "GiB")
	connections := column(!memory, "connections", "")
	cores := column(need.MessagesPerSecond > 0, "cores", "")
	messages := column(need.Cores > 0, "messages", "msg/s")
	column(need.Lab != nil, "each client", "GiB")
	column(need.Lab != nil && need.MessagesPerSecond > 0, "each client", "cores")
	column(need.Lab != nil, "connecting", "min")
	if limited {
		title := "first limit here"
		if need.Lab != nil {
			title = "first limit"
		}
		t.Columns = append(t.Columns, table.Column{Title: title, Text: true})
	}
	var notes table.Footnotes
	for _, e := range a.Estimates {
		per := between(e.BytesPerConnection, 1)
		per.Mark = notes.Mark(e.Doubt) + notes.Mark(e.source())
		row := []table.Cell{table.Words(e.Variant), per}
		for _, c := range []struct {
			asked bool
			x     *Interval
			unit  float64
		}{{memory, e.MemoryBytes, 1 << 30}, {connections, e.Connections, 1}, {cores, e.Cores, 1}, {messages, e.MessagesPerSecond, 1}} {
			if c.asked {
				row = append(row, between(c.x, c.unit))
			}
		}
		if need.Lab != nil {
			row = append(row, over(e.Hosts.ClientBytes, 1<<30))
			if need.MessagesPerSecond > 0 {
				row = append(row, over(e.Hosts.ClientCores, 1))
			}
			row = append(row, over(e.Hosts.ConnectSeconds, 60))
		}
		if limited {
			row = append(row, table.Words(e.FirstLimit))
		}
		t.Rows = append(t.Rows, row)
	}
	if err := t.WriteText(out, width); err != nil {
		return err
	}
	lines := append(notes.Lines(), a.supplies(need)...)
	var b bytes.Buffer
	for _, line := range append(lines, a.Assumptions...) {
		table.Wrap(&b, "", "  ", line, width)
	}
	_, err := out.Write(b.Bytes())
	return err
}

// supplies say what connections need besides memory and CPU.
func (a Answer) supplies(need Need) (lines []string) {
	descriptors, pairs, connections := 0, 0, 0
	for _, e := range a.Estimates {
		descriptors, pairs = max(descriptors, e.Descriptors), max(pairs, e.Pairs)
		if e.Connections != nil && e.Device == "" {
			connections = max(connections, int(e.Connections.Median))
		}
	}
	so := "The largest of these numbers needs"
	if need.Connections > 0 {
		so = table.Plural(need.Connections, "connection") + " need"
		if need.Connections == 1 {
			so += "s"
		}
	}
	if descriptors > 0 {
		number := table.Plural(descriptors, "descriptor")
		if need.Connections == 0 { // no more digits than the memory was measured to
			number = table.Number(float64(descriptors)) + " descriptors"
		}
		text := so + " " + number
		if most := a.DescriptorsPerProcess; most > 0 && descriptors > most {
			text += fmt.Sprintf("; the run's limit is %s for each process: take several processes, or a higher limit", table.Count(most))
		}
		lines = append(lines, text+".")
	}
	if pairs > 0 {
		whose := "run"
		if labPorts(need.Lab) > 0 {
			whose = "lab"
		}
		lines = append(lines, fmt.Sprintf("%s at least %s of a client's address with an address and port of the server; one has %s ports (net.ipv4.ip_local_port_range of the %s's clients).",
			so, table.Plural(pairs, "pair"), table.Count(a.PortsPerAddress), whose))
	}
	if need.Lab != nil && connections > 0 {
		lines = append(lines, labSupplies(need.Lab, connections, pairs)...)
	}
	return lines
}

// over is x in the given unit.
func over(x *float64, unit float64) table.Cell {
	if x == nil {
		return table.Words(table.Missing)
	}
	return table.Words(table.Number(*x / unit))
}

// simplest begins the name of the I/O model whose code is the simplest: handlers may block,
// and read from top to bottom.
const simplest = "goroutine per connection"

// WriteChoice names the variant of the least memory that fits into the memory and cores of a
// machine, or of a lab's server, what another would cost whose code is simpler, and the
// others that fit.
func (a Answer) WriteChoice(out io.Writer, width int, need Need, memoryBytes, cores float64) error {
	where := "this machine"
	if need.Lab != nil {
		where = "the lab"
	}
	text := fmt.Sprintf("No variant is known to fit %s.", where)
	if fits := a.Fitting(need, memoryBytes, cores); len(fits) > 0 {
		least := fits[0]
		text = fmt.Sprintf("The cheapest that fits %s is %s: %s of memory", where, least.Variant, gibibytes(least))
		if least.Cores != nil {
			text += fmt.Sprintf(" and %s cores", table.Number(least.Cores.Median))
		}
		text += fmt.Sprintf(" (%s).", least.Model)
		simple := slices.IndexFunc(fits, func(e Estimate) bool { return strings.HasPrefix(e.Model, simplest) })
		if simple > 0 {
			text += fmt.Sprintf(" The simplest code that fits is %s, %s: %s.", fits[simple].Variant, simplest, gibibytes(fits[simple]))
		}
		var others []string
		for i, e := range fits[1:] {
			if i+1 != simple {
				others = append(others, fmt.Sprintf("%s (%s)", e.Variant, gibibytes(e)))
			}
		}
		if len(others) > 0 {
			text += " These fit too: " + table.List(others) + "."
		}
	}
	var b bytes.Buffer
	table.Wrap(&b, "", "  ", text, width)
	b.WriteByte('\n')
	_, err := out.Write(b.Bytes())
	return err
}

// gibibytes is the memory that an estimate comes to.
func gibibytes(e Estimate) string { return table.Memory(int64(e.MemoryBytes.Median)) }

// source says which run an estimate is of, and how far it goes beyond what was measured.
func (e Estimate) source() string {
	text := fmt.Sprintf("measured up to %s", table.Plural(e.Measured, "connection"))
	var beyond []string
	if e.Beyond > 1 {
		beyond = append(beyond, fmt.Sprintf("%s times the %s", table.Number(e.Beyond), table.Plural(e.Measured, "connection")))
	}
	if e.BeyondRate > 1 {
		beyond = append(beyond, fmt.Sprintf("%s times the %s messages a second", table.Number(e.BeyondRate), table.Number(e.MeasuredRate)))
	}
	if len(beyond) > 0 {
		text = "EXTRAPOLATED: " + table.List(beyond) + " measured"
	}
	if e.Run != "" {
		text += " (" + e.Run + ")"
	}
	if e.Waived != "" {
		text += "; " + e.Waived
	}
	return text
}

// between writes a median with its interval, in the given unit.
func between(x *Interval, unit float64) table.Cell {
	if x == nil {
		return table.Words(table.Missing)
	}
	return table.Summary(stats.Summary{Values: []float64{x.Low, x.Median, x.High}, Median: x.Median, Low: x.Low, High: x.High}, figure.Unit{Scale: 1 / unit})
}
