package overview

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
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
	add("By I/O model", byModel(run))
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
			lines = append(lines, fmt.Sprintf("%s of %s grew by less than its connections keep: they fitted into memory that the process already had. "+
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

// trialLines lists what of says about the trials. Texts that differ only in their numbers
// become one line, which names all their trials.
func trialLines(run *record.Run, of func(record.Trial) []string) []string {
	var forms []string
	texts := map[string][]string{} // of a form
	trials := map[string][]record.Trial{}
	for _, trial := range run.Trials {
		for _, text := range of(trial) {
			form := number.ReplaceAllLiteralString(text, "#")
			if texts[form] == nil {
				forms = append(forms, form)
			}
			texts[form] = append(texts[form], text)
			if list := trials[form]; len(list) == 0 || list[len(list)-1].Trial != trial.Trial {
				trials[form] = append(list, trial)
			}
		}
	}
	var lines []string
	for _, form := range forms {
		lines = append(lines, which(run, trials[form])+": "+ranged(texts[form]))
	}
	return lines
}

// number is a number in a text, with its commas.
var number = regexp.MustCompile(`\b[0-9][0-9,]*(?:\.[0-9]+)?(?:e\+[0-9]+)?\b`)

// ranged is one text for several that differ in their numbers alone: "it took 1.3 to 1.6
// times as long".
func ranged(texts []string) string {
	value := func(text string) float64 {
		x, _ := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64) // the pattern takes numbers alone
		return x
	}
	var low, high []string
	for _, text := range texts {
		numbers := number.FindAllString(text, -1)
		if low == nil {
			low, high = numbers, slices.Clone(numbers)
			continue
		}
		for i, n := range numbers {
			if value(n) < value(low[i]) {
				low[i] = n
			}
			if value(n) > value(high[i]) {
				high[i] = n
			}
		}
	}
	i := -1
	return number.ReplaceAllStringFunc(texts[0], func(string) string {
		if i++; low[i] == high[i] {
			return low[i]
		}
		return low[i] + " to " + high[i]
	})
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
	// More would say less.
	const few = 4
	var names []string
	for _, t := range trials {
		key := t.Variant + "/" + t.Class
		switch {
		case len(trials) > few && of[key] < all[key]:
			if name := fmt.Sprintf("%s (%d of %d)", key, of[key], all[key]); !slices.Contains(names, name) {
				names = append(names, name)
			}
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
