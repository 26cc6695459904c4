package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	figures "connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// answer says in a few sentences what the run found: how many connections, what
// each cost, what stopped the next one.
func answer(run *record.Run) []string {
	if run.Manifest.Emulated() {
		return append([]string{emulationNote}, found(run)...)
	}
	return found(run)
}

// emulationNote is what a reader must know first of a run on emulated CPUs.
const emulationNote = "Software emulation: the hosts' CPUs are not real, so CPU times, latencies and rates are not comparable with those of hardware; counts and bytes are."

// title is the run's, with a mark where its times and rates are no hardware's.
func title(m record.Manifest) string {
	if m.Emulated() {
		return m.Title + " (software emulation)"
	}
	return m.Title
}

func found(run *record.Run) []string {
	variants := slices.DeleteFunc(figures.Variants(run), func(v figures.Variant) bool { return len(v.Valid) == 0 })
	if len(variants) == 0 {
		return []string{"No trial of this run is valid: it has no answer."}
	}
	label := figures.Labels(variants)
	lines := []string{answerCapacity(variants, label)}
	if budget := budgetOf(run); budget > 0 {
		lines[0] = answerBudget(variants, label, budget)
	}
	// What more connections would confirm comes first; a plan may leave it out.
	settled := answerRange(variants, label, figures.Must("per_connection.rss_settled_bytes"), "Garbage aside, each connection keeps ", " bytes of the server's resident memory")
	natural := answerRange(variants, label, figures.Must("per_connection.rss_bytes"), "Each connection cost the server ", " bytes of resident memory")
	kernel := answerRange(variants, label, figures.Must("per_connection.kernel_bytes"), "In the kernel it takes ", " bytes")
	for _, line := range []string{cmp.Or(settled, natural), kernel} {
		if line != "" {
			lines = append(lines, line)
		}
	}
	works := phase.Kept.Members(run)
	if len(works) == 0 {
		return lines
	}
	for i, work := range works {
		if i > 0 && i < len(works)-1 {
			continue
		}
		if line := answerRange(variants, label, work, work.Says.Before, work.Says.After); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func answerCapacity(variants []figures.Variant, label func(figures.Variant) string) string {
	var short []string
	target := 0
	for _, v := range variants {
		least := v.Valid[0]
		for _, trial := range v.Valid {
			target = max(target, trial.Connections.Target)
			if trial.Connections.Reached < least.Connections.Reached {
				least = trial
			}
		}
		if least.Connections.Reached < least.Connections.Target {
			short = append(short, fmt.Sprintf("%s held %s (stopped by: %s)", label(v), table.Count(least.Connections.Reached), least.Stop.Reason))
		}
	}
	all := "Every variant"
	if len(variants) == 1 {
		all = label(variants[0])
	}
	if len(short) == 0 {
		return fmt.Sprintf("%s held all %s connections that were asked for.", all, table.Count(target))
	}
	line := fmt.Sprintf("Of %s connections asked for, %s", table.Count(target), table.List(short))
	if len(short) < len(variants) {
		line += "; the others held all"
	}
	return line + "."
}

// answerBudget says how many connections fit into the plan's budget of memory.
func answerBudget(variants []figures.Variant, label func(figures.Variant) string, budget int64) string {
	var list []string
	for _, v := range variants {
		if s := v.Summary(figures.Must("budget.connections")); s.N() > 0 {
			list = append(list, label(v)+" "+table.Number(s.Median))
		} else {
			list = append(list, fmt.Sprintf("%s not known (stopped by: %s)", label(v), stopReasons(v.Valid)))
		}
	}
	return fmt.Sprintf("Connections within %s of memory: %s.", table.Memory(budget), table.List(list))
}

// answerRange names the variants at the two ends of a figure, and never one
// where several cannot be told apart. The floor is no contender.
func answerRange(variants []figures.Variant, label func(figures.Variant) string, figure figures.Figure, before, after string) string {
	floor := ""
	if i := slices.IndexFunc(variants, func(v figures.Variant) bool { return v.Name == figures.FloorName }); i >= 0 && len(variants) > 1 {
		if s := variants[i].Summary(figure); s.N() > 0 {
			floor = "; the floor is " + table.Number(s.Median)
		}
		variants = slices.Delete(slices.Clone(variants), i, i+1)
	}
	summaries := figures.Summaries(variants, figure)
	ranking := stats.Rank(summaries)
	if len(ranking.Order) == 0 {
		return ""
	}
	first, last := ranking.Order[0], ranking.Order[len(ranking.Order)-1]
	low, high := table.Number(summaries[first].Median), table.Number(summaries[last].Median)
	_, worst := ranking.Place(first)
	best, _ := ranking.Place(last)
	switch {
	case len(ranking.Order) == 1:
		return fmt.Sprintf("%s%s%s%s.", before, low, after, floor)
	case best == 1 && low == high:
		return fmt.Sprintf("%s%s%s, whatever the variant%s.", before, low, after, floor)
	case ranking.Undecided:
		return fmt.Sprintf("%s%s (%s) to %s (%s)%s%s; with so few rounds that order may be chance.",
			before, low, label(variants[first]), high, label(variants[last]), after, floor)
	case best == 1:
		return fmt.Sprintf("%s%s to %s%s, a difference within the noise%s.", before, low, high, after, floor)
	case best <= worst: // the two ends share somebody that is not told apart from either
		return fmt.Sprintf("%s%s to %s%s, most of the variants within the noise of each other%s.", before, low, high, after, floor)
	}
	return fmt.Sprintf("%s%s (%s) to %s (%s)%s%s.", before,
		low, tied(variants, label, ranking.Order[:worst]), high, tied(variants, label, ranking.Order[best-1:]), after, floor)
}

// tied names the variants that share one end of an order.
func tied(variants []figures.Variant, label func(figures.Variant) string, at []int) string {
	var names []string
	for _, i := range at {
		names = append(names, label(variants[i]))
	}
	if len(names) == 1 {
		return names[0]
	}
	return table.List(names) + ", not told apart"
}

// section is a list of remarks under a title.
type section struct {
	Title string
	Lines []string
}

// remarks are all that a reader must know beside the figures: what was left out
// and why, what disturbed the run, and how well it repeats itself.
func remarks(run *record.Run) []section {
	var sections []section
	add := func(title string, lines []string) {
		if len(lines) > 0 {
			sections = append(sections, section{title, lines})
		}
	}
	add("Not complete", incomplete(run))
	add("Fails the conformance gate, and was not measured", failing(run))
	replaced := figures.Replaced(run)
	add("Invalid trials, left out of the tables", trialLines(run, func(t record.Trial) []string {
		if t.Valid || replaced[t.Trial] {
			return nil
		}
		return t.Invalid
	}))
	noisy := func(among bool) []string {
		return trialLines(run, func(t record.Trial) []string {
			if !t.Noisy || replaced[t.Trial] != among || !t.Valid && !among {
				return nil
			}
			if len(t.Warnings) == 0 {
				return []string{"marked as noisy"}
			}
			return t.Warnings
		})
	}
	add("Noisy trials, run again on a quieter host and left out of the tables", noisy(true))
	add("Noisy trials, kept in the tables", noisy(false))
	add("Warnings", append(slices.Clone(run.Manifest.Warnings), trialLines(run, func(t record.Trial) []string {
		if t.Noisy && t.Valid || replaced[t.Trial] {
			return nil // they are named above
		}
		return t.Warnings
	})...))
	add("How to read the figures", masked(run))
	add("Repeatability", repeatability(run))
	return sections
}

// masked names variants whose memory as it runs grew less than what their
// connections keep: what the first connections made the process take, its
// collector's least heap for one, had room for those that followed.
func masked(run *record.Run) []string {
	variants := figures.Variants(run)
	label := figures.Labels(variants)
	var names []string
	for _, v := range variants {
		natural := v.Summary(figures.Must("per_connection.rss_bytes"))
		settled := v.Summary(figures.Must("per_connection.rss_settled_bytes"))
		if natural.N() > 0 && settled.N() > 0 && natural.High < settled.Low {
			names = append(names, label(v))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("RSS of %s grew by less than its connections keep: they fitted into what the process had taken before. "+
		"For more connections than were measured, settled RSS is the figure to go by.", table.List(names))}
}

func incomplete(run *record.Run) []string {
	lines := slices.Clone(run.Warnings)
	m := run.Manifest
	if m.Schema == 0 {
		return lines
	}
	switch m.State {
	case record.StateRunning:
		lines = append(lines, fmt.Sprintf("The run has not ended, or was killed: %d of %d trials are here.", len(run.Trials), m.Planned))
	case record.StateInterrupted, record.StateFailed:
		lines = append(lines, fmt.Sprintf("The run %s after %d of %d trials.", map[string]string{
			record.StateInterrupted: "was interrupted", record.StateFailed: "failed"}[m.State], len(run.Trials), m.Planned))
	}
	return lines
}

func failing(run *record.Run) []string {
	var lines []string
	for _, v := range run.Manifest.Variants {
		if v.Conforms != nil && !*v.Conforms {
			lines = append(lines, fmt.Sprintf("%s/%s (%s)", v.Name, v.Class, v.Model))
		}
	}
	return lines
}

// trialLines lists what of says of the trials, the same text once with all the
// trials that it is true of.
func trialLines(run *record.Run, of func(record.Trial) []string) []string {
	var texts []string
	bearers := map[string][]record.Trial{}
	for _, trial := range run.Trials {
		for _, text := range of(trial) {
			if bearers[text] == nil {
				texts = append(texts, text)
			}
			bearers[text] = append(bearers[text], trial)
		}
	}
	var lines []string
	for _, text := range texts {
		lines = append(lines, which(run, bearers[text])+": "+text)
	}
	return lines
}

// which names trials briefly: by their variants, where it is all trials of them.
func which(run *record.Run, trials []record.Trial) string {
	if len(trials) == len(run.Trials) && len(trials) > 1 {
		return "all trials"
	}
	of, all := map[string]int{}, map[string]int{}
	for _, t := range run.Trials {
		all[t.Variant+"/"+t.Class]++
	}
	for _, t := range trials {
		of[t.Variant+"/"+t.Class]++
	}
	var names []string
	for _, t := range trials {
		key := t.Variant + "/" + t.Class
		switch {
		case of[key] < all[key] || all[key] == 1:
			names = append(names, fmt.Sprintf("trial %d (%s, round %d)", t.Trial, key, t.Round))
		case !slices.Contains(names, key):
			names = append(names, key)
		}
	}
	return strings.Join(names, ", ")
}

// repeatability says how far the rounds of this run lie apart, for a figure of
// each kind: half the range over the median, at the worst variant.
func repeatability(run *record.Run) []string {
	variants := figures.Variants(run)
	var parts []string
	rounds := 0
	names := []string{
		"per_connection.rss_bytes", "per_connection.rss_settled_bytes", "per_connection.kernel_bytes", "ramp.connects_per_second",
		"cpu.accept_us", "cpu.echo_us",
		"echo.p50_us", "echo.p99_us",
	}
	for _, kept := range phase.Kept.Members(run) {
		names = append(names, kept.Name)
	}
	for _, name := range names {
		figure := figures.Must(name)
		worst := math.NaN()
		for _, v := range variants {
			s := v.Summary(figure)
			if s.N() < 2 || s.Median == 0 || s.Low <= 0 && s.High >= 0 {
				continue // a share of nothing
			}
			rounds = max(rounds, s.N())
			half := (s.Values[s.N()-1] - s.Values[0]) / 2 / math.Abs(s.Median)
			if math.IsNaN(worst) || half > worst {
				worst = half
			}
		}
		if !math.IsNaN(worst) {
			parts = append(parts, fmt.Sprintf("%s ±%s", figure.FullTitle(), table.Percent(worst)))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("Over %s, half the range of a variant's figures was at most: %s.", table.Plural(rounds, "round"), strings.Join(parts, ", "))}
}
