package bench

import (
	"cmp"
	"strconv"
	"strings"

	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/plan"
)

// Request is a plan, by its name, with what is asked of it otherwise. Whatever is
// empty or nil stays as the plan has it.
type Request struct {
	// Plan is the name of a built-in plan, or a file.
	Plan string
	// Lab is where, Engine the swarm's.
	Lab, Engine string
	// Variants are names, or name/class.
	Variants    []string
	Connections *plan.Count
	BudgetBytes *int64
	Rounds      *int
	// Processes is the number of server processes, 0: as many as descriptors demand.
	Processes *int
	// Base is a git revision whose servers are measured next to the present ones, in turn.
	Base string
	// Go are releases of Go: each builds the servers in Go, which are measured side by side.
	Go []string
}

// Resolve is the plan as it is to be run.
func (r Request) Resolve() (plan.Plan, error) {
	p, err := plan.LoadNamed(r.Plan)
	if err != nil {
		return p, explain.Usage(err)
	}
	return r.apply(p)
}

// apply changes p as the request says.
func (r Request) apply(p plan.Plan) (plan.Plan, error) {
	p.Lab = cmp.Or(r.Lab, p.Lab, lab.Local)
	p.Client.Engine = cmp.Or(r.Engine, p.Client.Engine)
	if len(r.Variants) > 0 {
		p.Variants = r.Variants
	}
	override(&p.Connections, r.Connections)
	override(&p.BudgetBytes, r.BudgetBytes)
	override(&p.Rounds, r.Rounds)
	override(&p.Server.Processes, r.Processes)
	if problems := p.Problems(); len(problems) > 0 {
		return p, explain.Usagef("%s", strings.Join(problems, "\n"))
	}
	return p, nil
}

func override[T any](value *T, by *T) {
	if by != nil {
		*value = *by
	}
}

// Command is what to type in the source tree to repeat the run of the request as p,
// which it resolved to.
func (r Request) Command(p plan.Plan) string {
	args := []string{"make", "bench", "PLAN=" + r.Plan, "LAB=" + p.Lab}
	add := func(name, value string) { args = append(args, name+"="+value) }
	if r.Engine != "" {
		add("ENGINE", r.Engine)
	}
	if len(r.Variants) > 0 {
		add("VARIANTS", strings.Join(r.Variants, ","))
	}
	if r.Connections != nil {
		text, _ := r.Connections.MarshalText() // never fails
		add("CONNECTIONS", string(text))
	}
	if r.BudgetBytes != nil {
		add("BUDGET", amount(*r.BudgetBytes))
	}
	if r.Rounds != nil {
		add("ROUNDS", strconv.Itoa(*r.Rounds))
	}
	if r.Processes != nil {
		add("PROCESSES", strconv.Itoa(*r.Processes))
	}
	if r.Base != "" {
		add("BASE", r.Base)
	}
	if len(r.Go) > 0 {
		add("GO", strings.Join(r.Go, ","))
	}
	return Quote(args)
}

// amount writes a number of bytes so that [plan.ParseBytes] reads the same.
func amount(bytes int64) string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := int64(1) << (10 * (4 - i)); bytes%size == 0 {
			return strconv.FormatInt(bytes/size, 10) + unit
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// Quote writes a command line so that a shell reads args from it.
func Quote(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if arg == "" || strings.ContainsFunc(arg, func(r rune) bool { return !strings.ContainsRune(literal, r) }) {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// literal are the characters that mean nothing to a shell.
const literal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./,:@%"
