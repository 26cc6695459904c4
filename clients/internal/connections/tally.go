package connections

import (
	"connbench/clients/control"
	"connbench/clients/internal/latency"
)

// Tally counts what happens during one command.
type Tally struct {
	// Result holds the counts so far. Of the rest, only StoppedBy is used.
	control.Result
	// Began and Ended bound the command's time, in nanoseconds of [clock.Now].
	Began, Ended int64
	// Latency and Lag take the times of control.Result.Latency and Lag.
	Latency, Lag *latency.Recorder

	// pushed and pushedBytes count messages that peers sent of their own accord.
	pushed, pushedBytes int64
	failures            map[control.FailureKind]int64
}

// Report is what a worker's part of a command came to.
type Report struct {
	// Result lacks the histogram and what can only be said of the process or of all
	// workers.
	control.Result
	Began, Ended int64
	Latency, Lag []latency.Count
}

func newTally() Tally {
	return Tally{
		Latency:  latency.NewRecorder(),
		Lag:      latency.NewRecorder(),
		failures: map[control.FailureKind]int64{},
	}
}

// Fail counts a failure.
func (t *Tally) Fail(phase control.Phase, why control.Error) { t.fail(phase, why, 1) }

func (t *Tally) fail(phase control.Phase, why control.Error, count int64) {
	t.failures[control.FailureKind{Phase: phase, Error: why}] += count
}

// Unanswer counts a message that has no answer, and its age in nanoseconds.
func (t *Tally) Unanswer(age int64) {
	t.Unanswered++
	t.Latency.Record(age)
}

// push counts a message that a peer sent of its own accord.
func (t *Tally) push(bytes int) {
	t.pushed++
	t.pushedBytes += int64(bytes)
}

// ForgetPushes leaves out the messages that came of their own accord between two commands.
func (t *Tally) ForgetPushes() { t.pushed, t.pushedBytes = 0, 0 }

// Count adds to a count that not every command has.
func (t *Tally) Count(name string, n int64) {
	if t.Counts == nil {
		t.Counts = map[string]int64{}
	}
	t.Counts[name] += n
}

// Take returns what was counted, and begins anew.
func (t *Tally) Take() Report {
	if t.pushed > 0 {
		t.Count(control.CountPushed, t.pushed)
		t.Count(control.CountPushedBytes, t.pushedBytes)
		t.ForgetPushes()
	}
	r := Report{
		Result:  t.Result,
		Began:   t.Began,
		Ended:   t.Ended,
		Latency: t.Latency.Take(),
		Lag:     t.Lag.Take(),
	}
	for kind, count := range t.failures {
		r.Failures = append(r.Failures, control.Failure{Phase: kind.Phase, Error: kind.Error, Count: count})
	}
	clear(t.failures)
	t.Result = control.Result{}
	t.Began, t.Ended = 0, 0
	return r
}
