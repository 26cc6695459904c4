package cause

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Attribute returns the first cause of the table that the facts show, and the
// evidence in sentences, that cause's own first.
func Attribute(f Facts) (*Cause, []string) {
	for _, c := range All {
		sentence := c.Says(c, &f)
		if sentence == "" {
			continue
		}
		evidence := withFailure(sentence, f.Failed)
		if f.Ramp != nil {
			for _, failure := range f.Ramp.Failures {
				evidence = append(evidence, fmt.Sprintf("%s, %d times", failure.Kind(), failure.Count))
			}
			for _, answer := range slices.Sorted(maps.Keys(f.Ramp.Answers)) {
				evidence = append(evidence, fmt.Sprintf("the server answered %s, %d times", answer, f.Ramp.Answers[answer]))
			}
		}
		evidence = slices.Concat(evidence, f.LastWords)
		if c == Unknown {
			evidence = append(evidence, f.counters()...)
		}
		return c, evidence
	}
	return Unknown, withFailure("no cause in the table fits", f.Failed)
}

// withFailure is the sentence with why the trial could not go on, said once.
func withFailure(sentence, failed string) []string {
	switch {
	case failed == "":
		return []string{sentence}
	case strings.Contains(failed, sentence):
		return []string{failed}
	}
	return []string{sentence, failed}
}
