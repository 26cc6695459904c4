package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"connbench/harness/record"
	"connbench/harness/table"
)

// WriteHealth writes what a check has found for a terminal of a width in columns: a row
// for each host, and below what is wrong.
func WriteHealth(w io.Writer, width int, hosts []Health) error {
	var rows [][]string
	for _, h := range hosts {
		row := []string{h.Name, strings.Join(h.Roles, ", ")}
		if !h.Reached {
			rows = append(rows, append(row, "not reached", "", "", "", "", "", "", ""))
			continue
		}
		clock, connects := table.Missing, table.Missing
		if h.ClockAheadSeconds != nil {
			clock = fmt.Sprintf("%+.3f s", *h.ClockAheadSeconds)
		}
		if slices.Contains(h.Roles, record.RoleClient) {
			connects = table.Count(h.Connects)
		}
		machine := h.Architecture
		if h.Emulated {
			machine += ", emulated"
		}
		rows = append(rows, append(row, machine, h.Kernel, fmt.Sprint(len(h.UsableCPUs)),
			h.NoFileHard, memory(h.AvailableBytes), memory(h.FreeBytes), clock, connects))
	}
	head := []string{"host", "role", "machine", "kernel", "CPUs", "open files", "memory free", "disk free", "clock", "connects"}
	if err := table.Print(w, width, head, rows); err != nil {
		return err
	}
	for _, h := range hosts {
		for _, line := range slices.Concat(h.Problems, h.Notes) {
			fmt.Fprintf(w, "%s: %s\n", h.Name, line)
		}
	}
	return nil
}

func memory(bytes *int64) string {
	if bytes == nil {
		return table.Missing
	}
	return table.Memory(*bytes)
}
