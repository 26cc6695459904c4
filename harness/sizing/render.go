package sizing

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"connbench/harness/table"
)

// WriteText writes the answer to a need for a terminal of a width in columns: a row for
// each variant, and what it rests on.
func (a Answer) WriteText(out io.Writer, width int, need Need) error {
	head := []string{"variant", "bytes a connection"}
	if need.Connections > 0 {
		head = append(head, "memory, GiB")
	} else {
		head = append(head, "connections")
	}
	if need.MessagesPerSecond > 0 {
		head = append(head, "cores")
	}
	if need.Cores > 0 {
		head = append(head, "messages a second")
	}
	head = append(head, "descriptors", "pairs", "by")
	several := slices.ContainsFunc(a.Estimates, func(e Estimate) bool { return e.Run != "" })
	if several {
		head = append(head, "run")
	}
	rows := [][]string{}
	var notes table.Footnotes
	for _, e := range a.Estimates {
		row := []string{e.Variant, between(e.BytesPerConnection, 1) + notes.Mark(e.Doubt)}
		if need.Connections > 0 {
			row = append(row, between(e.MemoryBytes, 1<<30))
		} else {
			row = append(row, between(e.Connections, 1))
		}
		if need.MessagesPerSecond > 0 {
			row = append(row, between(e.Cores, 1))
		}
		if need.Cores > 0 {
			row = append(row, between(e.MessagesPerSecond, 1))
		}
		descriptors, pairs := table.Missing, table.Missing
		switch {
		case need.Connections > 0:
			descriptors = table.Count(e.Descriptors)
		case e.Descriptors > 0: // no more digits than the memory was measured to
			descriptors = table.Number(float64(e.Descriptors))
		}
		if e.Pairs > 0 {
			pairs = table.Count(e.Pairs)
		}
		row = append(row, descriptors, pairs, by(e))
		if several {
			row = append(row, e.Run)
		}
		rows = append(rows, row)
	}
	if err := table.Print(out, width, head, rows); err != nil {
		return err
	}
	for _, line := range notes.Lines() {
		fmt.Fprintln(out, line)
	}
	if a.PortsPerAddress > 0 {
		fmt.Fprintf(out, "A pair has %s ports (net.ipv4.ip_local_port_range of the run's clients).\n", table.Count(a.PortsPerAddress))
	}
	if a.DescriptorsPerProcess > 0 {
		fmt.Fprintf(out, "A process may have %s descriptors open there: more connections take several processes, or a higher limit.\n", table.Count(a.DescriptorsPerProcess))
	}
	for _, line := range a.Assumptions {
		fmt.Fprintln(out, line)
	}
	return nil
}

// WriteChoice names the variant of the least memory that fits into a machine's memory and
// cores, and the others that fit.
func (a Answer) WriteChoice(out io.Writer, width int, need Need, memoryBytes, cores float64) error {
	text := "No variant is known to fit this machine."
	if fits := a.Fitting(need, memoryBytes, cores); len(fits) > 0 {
		least := fits[0]
		text = fmt.Sprintf("The cheapest that fits this machine is %s: %s of memory", least.Variant, table.Memory(int64(least.MemoryBytes.Median)))
		if least.Cores != nil {
			text += fmt.Sprintf(" and %s cores", table.Number(least.Cores.Median))
		}
		var others []string
		for _, e := range fits[1:] {
			others = append(others, fmt.Sprintf("%s (%s)", e.Variant, table.Memory(int64(e.MemoryBytes.Median))))
		}
		if text += "."; len(others) > 0 {
			text += " These fit too: " + table.List(others) + "."
		}
	}
	var b bytes.Buffer
	b.WriteByte('\n')
	table.Wrap(&b, "", "", text, width)
	_, err := out.Write(b.Bytes())
	return err
}

// by says how far an estimate goes beyond what was measured.
func by(e Estimate) string {
	var beyond []string
	if e.Beyond > 1 {
		beyond = append(beyond, fmt.Sprintf("%s times the %s connections", table.Number(e.Beyond), table.Count(e.Measured)))
	}
	if e.BeyondRate > 1 {
		beyond = append(beyond, fmt.Sprintf("%s times the %s messages a second", table.Number(e.BeyondRate), table.Number(e.MeasuredRate)))
	}
	if len(beyond) > 0 {
		return "EXTRAPOLATED: " + strings.Join(beyond, ", ") + " measured"
	}
	return fmt.Sprintf("measured up to %s", table.Count(e.Measured))
}

// between writes a median with its interval, in the given unit.
func between(x *Interval, unit float64) string {
	if x == nil {
		return table.Missing
	}
	median, low, high := table.Number(x.Median/unit), table.Number(x.Low/unit), table.Number(x.High/unit)
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%s to %s)", median, low, high)
}
