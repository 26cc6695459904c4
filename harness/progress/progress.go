// Package progress shows people how a run goes on.
package progress

import (
	"time"

	"connbench/harness/record"
)

// Progress shows how a run goes on. Its methods may be called from several
// goroutines.
type Progress interface {
	// Say tells one line.
	Say(format string, args ...any)
	// Begin starts a run of so many trials; guess is how long one may take, and
	// counts until one has ended.
	Begin(trials int, guess time.Duration)
	// Trial starts a trial. A noisy trial runs again, so of may grow.
	Trial(number, of int, name string, round int)
	// Phase starts a phase of the trial; seconds is how long it will take, 0 where
	// that depends.
	Phase(name string, seconds float64)
	// Update tells the number of open connections, and of messages in this phase.
	Update(open int, messages int64)
	// Done ends the trial; again says that it will be repeated.
	Done(result record.Trial, again bool)
	// Close ends the run. It may be called twice, and before Begin.
	Close()
}

// Discard shows nothing.
type Discard struct{}

// All do nothing.
func (Discard) Say(string, ...any)          {}
func (Discard) Begin(int, time.Duration)    {}
func (Discard) Trial(int, int, string, int) {}
func (Discard) Phase(string, float64)       {}
func (Discard) Update(int, int64)           {}
func (Discard) Done(record.Trial, bool)     {}
func (Discard) Close()                      {}
