package overview

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Section is a list of remarks under a title.
type Section struct {
	Title string
	Lines []string
}

// Remarks are what a reader must know besides the figures: what was left out and why,
// what disturbed the run, and how far its rounds lie apart.
func Remarks(run *record.Run) []Section {
	var sections []Section
	add := func(title string, lines []string) {
		if len(lines) > 0 {
			sections = append(sections, Section{title, lines})
		}
	}
	add("Not complete", incomplete(run))
	add("Fails the conformance gate, and was not measured", failing(run))
	replaced := figure.Replaced(run)
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

// masked names variants whose memory as it runs grew by less than their connections
// keep: what the process had taken for its first connections had room for more, such as
// the least heap of its collector.
func masked(run *record.Run) []string {
	r := Gather(run)
	var lines []string
	for _, f := range figure.Of(run) {
		if f.Settled == "" {
			continue
		}
		keeps := figure.Must(f.Settled)
		var names []string
		for _, v := range r.Variants {
			asItRuns, settled := v.Taken(f), v.Summary(keeps)
			if asItRuns.N() > 0 && settled.N() > 0 && asItRuns.High < settled.Low {
				names = append(names, r.Label(v))
			}
		}
		if len(names) > 0 {
			lines = append(lines, fmt.Sprintf("%s of %s grew by less than its connections keep: they fitted into what the process had taken before. "+
				"For more connections than were measured, %s is the figure to go by.", f.Title, table.List(names), keeps.Title))
		}
	}
	return lines
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

// trialLines lists what of says of the trials, the same text once with all the trials
// of which it is true.
func trialLines(run *record.Run, of func(record.Trial) []string) []string {
	var texts []string
	trials := map[string][]record.Trial{}
	for _, trial := range run.Trials {
		for _, text := range of(trial) {
			if trials[text] == nil {
				texts = append(texts, text)
			}
			trials[text] = append(trials[text], trial)
		}
	}
	var lines []string
	for _, text := range texts {
		lines = append(lines, which(run, trials[text])+": "+text)
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

// repeatability says how far the rounds of this run lie apart: for each figure half the
// range over the median, of the variant where that is largest.
func repeatability(run *record.Run) []string {
	variants := figure.Variants(run)
	var parts []string
	rounds := 0
	for _, f := range byKind(figure.Of(run)) {
		if !f.In(figure.TableRepeatability) {
			continue
		}
		worst := math.NaN()
		for _, v := range variants {
			s := v.Summary(f)
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
			parts = append(parts, fmt.Sprintf("%s ±%s", f.FullTitle(), table.Percent(worst)))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("Over %s, half the range of a variant's figures was at most: %s.", table.Plural(rounds, "round"), strings.Join(parts, ", "))}
}

// byKind sorts figures by how well they usually repeat.
func byKind(figures []figure.Figure) []figure.Figure {
	kinds := figure.Kinds()
	slices.SortStableFunc(figures, func(a, b figure.Figure) int {
		return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind)
	})
	return figures
}
