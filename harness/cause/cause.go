// Package cause knows why a ramp ends. Each cause is one entry of one table: what a
// record calls it, what it means, which failures and counters are its evidence, the
// sentence that names them, and what to do about it. Attribution, prediction, the
// closed list that the reader of records checks and the table in results/README.md
// all come from these entries.
package cause

import (
	"slices"
	"strings"

	"connbench/clients/control"
)

// Cause is one reason for which a ramp ends, and all that is known of it.
type Cause struct {
	// Reason is what records call it.
	Reason string
	// Meaning says in one phrase what ended the ramp.
	Meaning string
	// Failures are the kinds of failure of the swarm that are its evidence, Counters
	// the kernel counters. Facts names evidence of any other kind.
	Failures []control.FailureKind
	Counters []string
	Facts    string
	// Says returns the sentence by which the facts show this cause, "" where they do
	// not. It is asked only if no cause before it in the table has an answer.
	Says func(c *Cause, f *Facts) string
	// Advice says what to do to get further; "" where nothing is wrong.
	Advice string
	// Invalidates marks the causes that make a trial invalid even if all its phases ran:
	// the server did not do what is measured, or nobody knows why the ramp ended.
	Invalidates bool
	// Memory marks the causes in which the memory of a host or a control group is full,
	// Tuned those whose limit scripts/tune.sh raises.
	Memory, Tuned bool
}

// All is the table, root causes first: descriptors that are used up, for instance,
// also show as timeouts.
var All []*Cause

// Named returns the cause that records call by reason, nil if there is none.
func Named(reason string) *Cause {
	i := slices.IndexFunc(All, func(c *Cause) bool { return c.Reason == reason })
	if i < 0 {
		return nil
	}
	return All[i]
}

// FullMemory says whether a reason is that memory is full.
func FullMemory(reason string) bool {
	c := Named(reason)
	return c != nil && c.Memory
}

// Reasons lists what records call the causes, in the order of the table.
func Reasons() []string {
	var reasons []string
	for _, c := range All {
		reasons = append(reasons, c.Reason)
	}
	return reasons
}

// Evidence says in one phrase which facts show the cause.
func (c *Cause) Evidence() string {
	phrases := failurePhrases(c.Failures)
	for _, counter := range c.Counters {
		phrases = append(phrases, "`"+counter+"`")
	}
	if c.Facts != "" {
		phrases = append([]string{c.Facts}, phrases...)
	}
	return strings.Join(phrases, "; ")
}

// failurePhrases names kinds of failure, those of several phases with the same
// errors together.
func failurePhrases(kinds []control.FailureKind) (phrases []string) {
	var phases []control.Phase
	errors := map[control.Phase][]string{}
	for _, kind := range kinds {
		if !slices.Contains(phases, kind.Phase) {
			phases = append(phases, kind.Phase)
		}
		errors[kind.Phase] = append(errors[kind.Phase], string(kind.Error))
	}
	for len(phases) > 0 {
		same := errors[phases[0]]
		var names []string
		phases = slices.DeleteFunc(phases, func(p control.Phase) bool {
			if !slices.Equal(errors[p], same) {
				return false
			}
			names = append(names, string(p))
			return true
		})
		phrases = append(phrases, strings.Join(names, ", ")+": "+strings.Join(same, ", "))
	}
	return phrases
}
