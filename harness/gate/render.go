package gate

import (
	"fmt"
	"io"
	"slices"

	"connbench/harness/table"
	"connbench/harness/variant"
	"connbench/servers/conform"
)

// WriteVerdicts writes verdicts, by the program's name, for a terminal of a width in
// columns: a row for each check and a column for each program, then each failure in full.
func WriteVerdicts(w io.Writer, width int, programs []variant.Program, verdicts map[string]Verdict) error {
	header := []string{"check", "what the server must do"}
	for _, program := range programs {
		header = append(header, program.Choice.String())
	}
	rows := [][]string{}
	var details []string
	for _, check := range conform.Checks() {
		row := []string{check.Name, check.Title}
		for _, program := range programs {
			results := verdicts[program.Choice.String()].Results
			i := slices.IndexFunc(results, func(r conform.Result) bool { return r.Check == check.Name })
			row = append(row, mark(results, i))
			if i >= 0 && results[i].Detail != "" {
				details = append(details, fmt.Sprintf("%s, %s: %s", program.Choice, check.Name, results[i].Detail))
			}
		}
		rows = append(rows, row)
	}
	if err := table.Print(w, width, header, rows); err != nil {
		return err
	}
	for _, detail := range details {
		fmt.Fprintln(w, detail)
	}
	return nil
}

func mark(results []conform.Result, i int) string {
	switch {
	case i < 0:
		return "not run"
	case !results[i].Passed:
		return "FAIL"
	case results[i].Detail != "":
		return "skipped"
	}
	return "ok"
}
