package overview

import (
	"fmt"
	"slices"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Title is the run's, with a mark where its CPUs were emulated.
func Title(m record.Manifest) string {
	if m.Emulated() {
		return m.Title + " (software emulation)"
	}
	return m.Title
}

// Machine says in a few words what machine the server ran on: "AMD EPYC, 2 CPUs, 23.5 GiB".
func Machine(m record.Manifest) string {
	h := m.Server()
	text := fmt.Sprintf("%s, %s, %s", h.CPUModel, table.Plural(h.CPUs, "CPU"), table.Memory(h.MemoryBytes))
	if m.Emulated() {
		text += ", emulated"
	}
	return text
}

// emulationNote is what a reader must know first of a run on emulated CPUs.
const emulationNote = "Software emulation: the hosts' CPUs are not real, so CPU times, latencies and rates are not comparable with those of hardware; counts and bytes are."

// Summary says in a few sentences what a run found: how many connections, what each
// cost, what stopped the next one.
func Summary(run *record.Run) []string {
	var lines []string
	if run.Manifest.Emulated() {
		lines = []string{emulationNote}
	}
	s := Gather(run)
	s.Variants = slices.DeleteFunc(s.Variants, func(v figure.Variant) bool { return len(v.Valid) == 0 })
	if len(s.Variants) == 0 {
		return append(lines, "No trial of this run is valid, so it has no results.")
	}
	s.Label = figure.Labels(s.Variants)
	return append(append(lines, s.opening()), s.sentences()...)
}

// opening is the first sentence.
func (run Run) opening() string {
	for _, of := range opening {
		if line := of(run); line != "" {
			return line
		}
	}
	return run.held()
}

// held says how many connections were held, and what stopped those that held fewer
// than they were asked for.
func (run Run) held() string {
	var short []string
	target := 0
	for _, v := range run.Variants {
		least := v.Valid[0]
		for _, trial := range v.Valid {
			target = max(target, trial.Connections.Target)
			if trial.Connections.Reached < least.Connections.Reached {
				least = trial
			}
		}
		if least.Connections.Reached < least.Connections.Target {
			short = append(short, fmt.Sprintf("%s held %s (stopped by: %s)", run.Label(v), table.Count(least.Connections.Reached), least.Stop.Reason))
		}
	}
	all := "Every variant"
	if len(run.Variants) == 1 {
		all = run.Label(run.Variants[0])
	}
	if len(short) == 0 {
		return fmt.Sprintf("%s held all %s connections that were asked for.", all, table.Count(target))
	}
	line := fmt.Sprintf("Of %s connections asked for, %s", table.Count(target), table.List(short))
	if len(short) < len(run.Variants) {
		line += "; the others held all"
	}
	return line + "."
}

// sentences are what figures have to say. Of a family only the first and the last
// member speak, and a figure is silent where its settled counterpart speaks: more
// connections would confirm that one.
func (run Run) sentences() []string {
	var lines []string
	figures := figure.Of(run.Run)
	for i, f := range figures {
		inner := f.Family != "" && i > 0 && i < len(figures)-1 && figures[i-1].Family == f.Family && figures[i+1].Family == f.Family
		if f.Says == nil || inner || f.Settled != "" && run.sentence(figure.Must(f.Settled)) != "" {
			continue
		}
		if line := run.sentence(f); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// sentence names the variants at the two ends of a figure, or none where several do not
// differ significantly. The floor is no contender. It is "" where no variant has the
// figure.
func (run Run) sentence(f figure.Figure) string {
	variants, tail := run.Variants, ""
	if apart := figure.Apart(variants); len(apart) > 0 {
		variants = slices.DeleteFunc(slices.Clone(variants), func(v figure.Variant) bool { return v.Device != "" })
		for _, v := range apart {
			if s := v.Summary(f); s.N() > 0 && v.ClientBound(f) == "" {
				tail += fmt.Sprintf("; %s, which has no kernel sockets, has %s and is not ranked", run.Label(v), table.Number(s.Median))
			}
		}
	}
	if others := slices.DeleteFunc(slices.Clone(variants), figure.Variant.IsFloor); len(others) > 0 {
		if floor := figure.Floor(variants, others[0]); floor != nil && len(variants) == len(others)+1 {
			if s := floor.Summary(f); s.N() > 0 {
				tail = "; the floor is " + table.Number(s.Median) + tail
			}
		}
		variants = others
	}
	for _, v := range run.Variants {
		if v.ClientBound(f) != "" || v.Summary(f).N() == 0 {
			if caveat := v.Caveat(f); caveat != "" {
				tail += fmt.Sprintf("; %s is left out (%s)", run.Label(v), caveat)
			}
		}
	}
	return run.between(variants, f, tail)
}

// between is a sentence with the values at the two ends of an order.
func (run Run) between(variants []figure.Variant, f figure.Figure, tail string) string {
	summaries, ranking := figure.Rank(variants, f)
	if len(ranking.Order) == 0 {
		return ""
	}
	before, after := f.Says.Before, f.Says.After
	first, last := ranking.Order[0], ranking.Order[len(ranking.Order)-1]
	low, high := table.Number(summaries[first].Median), table.Number(summaries[last].Median)
	_, worst := ranking.Place(first)
	best, _ := ranking.Place(last)
	switch {
	case len(ranking.Order) == 1:
		return fmt.Sprintf("%s%s%s%s.", before, low, after, tail)
	case best == 1 && low == high:
		return fmt.Sprintf("%s%s%s, whatever the variant%s.", before, low, after, tail)
	case ranking.Undecided:
		return fmt.Sprintf("%s%s (%s) to %s (%s)%s%s; with so few rounds that order may be chance.",
			before, low, run.Label(variants[first]), high, run.Label(variants[last]), after, tail)
	case best == 1:
		return fmt.Sprintf("%s%s to %s%s, a difference within the noise%s.", before, low, high, after, tail)
	case best <= worst: // a variant in the middle differs from neither end
		return fmt.Sprintf("%s%s to %s%s, most of the variants within the noise of each other%s.", before, low, high, after, tail)
	}
	return fmt.Sprintf("%s%s (%s) to %s (%s)%s%s.", before,
		low, run.tied(variants, ranking.Order[:worst]), high, run.tied(variants, ranking.Order[best-1:]), after, tail)
}

// tied names the variants that share one end of an order.
func (run Run) tied(variants []figure.Variant, at []int) string {
	var names []string
	for _, i := range at {
		names = append(names, run.Label(variants[i]))
	}
	if len(names) == 1 {
		return names[0]
	}
	return table.List(names) + ", a tie"
}
