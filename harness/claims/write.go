package claims

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connbench/harness/record"
	"connbench/harness/suite"
	"connbench/harness/table"
)

// Run is a set of claims with its evidence, as claims.json.gz has it.
type Run struct {
	Started   time.Time `json:"started"`
	Command   string    `json:"command"`
	Connbench string    `json:"connbench"`
	// Host is the machine that everything ran on.
	Host   record.Host `json:"host"`
	Claims []Claim     `json:"claims"`
	// Trials are the evidence.
	Trials []Evidence `json:"trials"`
}

// Evidence is a trial with what was predicted of it.
type Evidence struct {
	Name    string `json:"name"`
	Lab     string `json:"lab"`
	Variant string `json:"variant"`
	Shows   string `json:"shows"`
	// Plan is as it was run.
	Plan any `json:"plan"`
	// Missing says why the trial was not made; nil Outcome.
	Missing string         `json:"missing,omitempty"`
	Outcome *suite.Outcome `json:"outcome,omitempty"`
}

// Write writes claims.md and claims.json.gz into the folder dir, which it makes.
func (r Run) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := r.WriteMarkdown(&text); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "claims.md"), text.Bytes(), 0o644); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(dir, "claims.json.gz"))
	if err != nil {
		return err
	}
	defer file.Close()
	packed := gzip.NewWriter(file)
	if err := json.NewEncoder(packed).Encode(r); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return file.Close()
}

// WriteMarkdown writes a table of all verdicts, each claim with its evidence, and
// the trials.
func (r Run) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `# Common claims about connections, tested

Each claim is predicted from the limits of this machine, measured in trials that ask
for more connections than those allow, and judged by what stopped them. claims.json.gz
has the trials whole.

Command: %s. Machine: %s, %d CPUs, %s, Linux %s, RLIMIT_NOFILE %s. %s.

| claim | verdict |
| --- | --- |
`, "`"+r.Command+"`", r.Host.CPUModel, r.Host.CPUs, table.Memory(r.Host.MemoryBytes), r.Host.Kernel, r.Host.Limits["nofile_hard"], r.Started.Format("2 January 2006"))
	for _, c := range r.Claims {
		fmt.Fprintf(&b, "| %s | %s |\n", c.Claim, c.Verdict)
	}
	for _, c := range r.Claims {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", c.Claim, c.Truth)
		fmt.Fprintf(&b, "| | |\n| --- | --- |\n| said by | %s |\n| predicted | %s |\n| measured | %s |\n| verdict | **%s** |\n| trials | %s |\n",
			c.Source, c.Predicted, c.Measured, c.Verdict, strings.Join(c.Trials, ", "))
	}
	fmt.Fprint(&b, "\n## The trials\n\n| trial | what it shows | lab | server | predicted | reached | stopped by | evidence |\n| --- | --- | --- | --- | ---: | ---: | --- | --- |\n")
	for _, e := range r.Trials {
		if e.Outcome == nil {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | – | – | not made | %s |\n", e.Name, e.Shows, e.Lab, e.Variant, table.Markdown(e.Missing))
			continue
		}
		outcomes := Outcomes{e.Name: *e.Outcome}
		evidence := ""
		if facts := e.Outcome.Trial.Stop.Evidence; len(facts) > 0 {
			evidence = table.Markdown(facts[0])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", e.Name, e.Shows, e.Lab, e.Variant,
			outcomes.ceiling(e.Name), outcomes.reached(e.Name), outcomes.reason(e.Name), evidence)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
