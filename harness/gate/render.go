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
// columns: a row for each program and a column for each section of the checks, then each
// check that failed or was left out in full. With all, a row for each check and a column for
// each program comes first.
func WriteVerdicts(w io.Writer, width int, programs []variant.Program, verdicts map[string]Verdict, all bool) error {
	if all {
		if err := writeChecks(w, width, programs, verdicts); err != nil {
			return err
		}
	}
	if err := bySection(programs, verdicts).WriteText(w, width); err != nil {
		return err
	}
	for _, program := range programs {
		name := program.Choice.String()
		for _, detail := range explained(name, verdicts[name].Results, all) {
			fmt.Fprintln(w, detail)
		}
	}
	return nil
}

// WriteMarkdown writes a page of verdicts, by the program's name, which command made: the
// same table, and what each check says that failed, was waived or was left out.
func WriteMarkdown(w io.Writer, command string, programs []variant.Program, verdicts map[string]Verdict) error {
	fmt.Fprintf(w, "# What each server passes\n\nThe conformance gate puts each server through checks over real sockets, named after the sections of RFC 6455 and of the other standards they test. A server that fails a check is not measured, unless its library cannot pass it: then the check is waived, with the reason below. \"3 of 4\" means that one check is waived or was left out. Command: `%s`\n\n", command)
	if err := bySection(programs, verdicts).WriteMarkdown(w); err != nil {
		return err
	}
	fmt.Fprint(w, "\n## Waived and left out\n\n")
	for _, program := range programs {
		name := program.Choice.String()
		for _, detail := range explained(name, verdicts[name].Results, true) {
			if _, err := fmt.Fprintf(w, "- %s\n", table.Markdown(detail)); err != nil {
				return err
			}
		}
	}
	return nil
}

// bySection is a table with a row for each program and a column for each section of the
// checks.
func bySection(programs []variant.Program, verdicts map[string]Verdict) table.Table {
	t := table.Table{Columns: []table.Column{{Title: "variant", Text: true}}}
	sections := conform.Sections()
	for _, section := range sections {
		t.Columns = append(t.Columns, table.Column{Title: section, Text: true})
	}
	for _, program := range programs {
		name := program.Choice.String()
		row := []table.Cell{table.Words(name)}
		for _, section := range sections {
			row = append(row, table.Words(passed(verdicts[name].Results, section)))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// mostExplained is the largest number of checks that are explained for one program, unless
// all are asked for: a server that dies fails every check.
const mostExplained = 8

// explained tells of the checks that failed, were waived or were left out.
func explained(name string, results []conform.Result, all bool) (lines []string) {
	for _, r := range results {
		switch {
		case r.Waived != "":
			lines = append(lines, fmt.Sprintf("%s, %s waived (%s): %s", name, r.Check, r.Waived, r.Detail))
		case r.Detail != "":
			lines = append(lines, fmt.Sprintf("%s, %s %s: %s", name, r.Check, outcome(r), r.Detail))
		}
	}
	if more := len(lines) - mostExplained; more > 0 && !all {
		lines = append(lines[:mostExplained], fmt.Sprintf("%s: %s more: see --all", name, table.Plural(more, "line")))
	}
	return lines
}

// writeChecks writes a row for each check.
func writeChecks(w io.Writer, width int, programs []variant.Program, verdicts map[string]Verdict) error {
	header := []string{"check", "what the server must do"}
	for _, program := range programs {
		header = append(header, program.Choice.String())
	}
	rows := [][]string{}
	for _, check := range checksOf(programs) {
		row := []string{check.Name, check.Title}
		for _, program := range programs {
			results := verdicts[program.Choice.String()].Results
			i := slices.IndexFunc(results, func(r conform.Result) bool { return r.Check == check.Name })
			switch {
			case i >= 0:
				row = append(row, outcome(results[i]))
			case isOf(program, check.Name):
				row = append(row, "not run")
			default:
				row = append(row, "–") // of another protocol
			}
		}
		rows = append(rows, row)
	}
	return table.Print(w, width, header, rows)
}

// checksOf are the checks that the programs are examined by, each once.
func checksOf(programs []variant.Program) (checks []conform.Check) {
	for _, program := range programs {
		for _, check := range checksFor(program) {
			if !slices.ContainsFunc(checks, func(c conform.Check) bool { return c.Name == check.Name }) {
				checks = append(checks, check)
			}
		}
	}
	return checks
}

// passed is how many checks of a section passed, of how many: "6 of 7". Waived ones have not.
func passed(results []conform.Result, section string) string {
	n, all := 0, 0
	for _, r := range results {
		if r.Section != section {
			continue
		}
		all++
		if r.Passed && r.Waived == "" {
			n++
		}
	}
	switch all {
	case 0:
		return "–" // of another protocol
	case n:
		return fmt.Sprint("all ", all)
	}
	return fmt.Sprintf("%d of %d", n, all)
}

func outcome(r conform.Result) string {
	switch {
	case !r.Passed:
		return "FAIL"
	case r.Waived != "":
		return "waived"
	case r.Detail != "":
		return "skipped"
	}
	return "ok"
}
