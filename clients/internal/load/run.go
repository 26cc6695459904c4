package load

import (
	"fmt"
	"math"
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/latency"
	"connbench/clients/internal/usage"
)

// Job is one worker's part of a command.
type Job struct {
	// Command has numbers for this worker alone.
	control.Command
	// Start is when the first message is due, in nanoseconds of [clock.Now], so
	// that all workers have the same idea of it.
	Start int64
	// Offset is the place of this worker's messages, or connects, among those of the
	// others, in intervals between two of its own, 0 to 1.
	Offset float64
	// Patience is the number of failures in a row after which OpRamp ends.
	Patience int
}

// Report is what a worker's part of a command came to.
type Report struct {
	// Result lacks the histogram and what can only be said of the process or of all
	// workers.
	control.Result
	// Began and Ended bound Result.Seconds, in nanoseconds of [clock.Now].
	Began, Ended int64
	// Latency is as in control.Result, Lag as in control.Usage.
	Latency, Lag []latency.Count
}

// task is what a command does: the shape of a load.
type task interface {
	// step does what is due at now. It returns when it is to be called again at
	// the latest, or that it is done.
	step(now int64) (next int64, done bool)

	opened(i int)  // the handshake is verified
	refused(i int) // connect or handshake failed
	lost(i int)    // an open connection ended
	closed(i int)  // a connection that was closing is gone
	writable(i int)
	answered(i int, sequence uint32, right bool) // a whole echo came
}

// never is when a task that waits for something else wants to be called again.
const never = math.MaxInt64

// quiet is the task while there is no command: connections are kept, pings
// answered, losses counted. Other tasks take from it what does not concern them.
type quiet struct{}

func (quiet) step(int64) (int64, bool)   { return never, false }
func (quiet) opened(int)                 {}
func (quiet) refused(int)                {}
func (quiet) lost(int)                   {}
func (quiet) closed(int)                 {}
func (quiet) writable(int)               {}
func (quiet) answered(int, uint32, bool) {}

// tally is the counts of one command, as they grow.
type tally struct {
	control.Result
	began, ended int64
	latency, lag *latency.Recorder
	failures     map[control.FailureKind]int64
}

func newTally() tally {
	return tally{
		latency:  latency.NewRecorder(),
		lag:      latency.NewRecorder(),
		failures: map[control.FailureKind]int64{},
	}
}

func (t *tally) fail(phase control.Phase, why error) {
	t.failures[control.FailureKind{Phase: phase, Error: control.Error(why.Error())}]++
}

// take returns what was counted, and begins anew.
func (t *tally) take() Report {
	r := Report{
		Result:  t.Result,
		Began:   t.began,
		Ended:   t.ended,
		Latency: t.latency.Take(),
		Lag:     t.lag.Take(),
	}
	for kind, count := range t.failures {
		r.Failures = append(r.Failures, control.Failure{Phase: kind.Phase, Error: kind.Error, Count: count})
	}
	clear(t.failures)
	t.Result = control.Result{}
	t.began, t.ended = 0, 0
	return r
}

// progressEvery is the time between two calls of progress.
const progressEvery = int64(200 * time.Millisecond)

// counts are what progress is about.
type counts struct {
	open     int
	messages int64
}

// Run carries out a command. interrupted is called when the engine is woken; if
// it returns true, the command ends with what it has. progress is called several
// times a second while there is something new to say: a worker that holds its
// connections is to sleep.
func (s *Swarm) Run(job Job, interrupted func() bool, progress func(open int, messages int64)) (Report, error) {
	before := usage.CPU()
	began := clock.Now()
	task, err := s.begin(job, began)
	if err != nil {
		return Report{}, err
	}
	s.task, s.stopped = task, false

	var waited int64
	said := counts{s.open, 0}
	nextProgress := began + progressEvery
	awake := began // since when
	for {
		now := clock.Now()
		next, done := task.step(now)
		if done {
			break
		}
		sleep := clock.Now()
		if job.Op != control.OpEcho && job.Op != control.OpPing {
			s.tally.lag.Record(sleep - awake)
		}
		if said != (counts{s.open, s.tally.Delivered}) {
			next = min(next, nextProgress)
		}
		woken, err := s.engine.Wait(time.Duration(max(next-sleep, 0)))
		if err != nil {
			return Report{}, fmt.Errorf("waiting for events: %w", err)
		}
		awake = clock.Now()
		waited += awake - sleep
		if woken && interrupted() {
			s.stopped = true
		}
		s.engine.Deliver(s)
		if news := (counts{s.open, s.tally.Delivered}); news != said && awake >= nextProgress {
			said, nextProgress = news, awake+progressEvery
			progress(news.open, news.messages)
		}
	}
	s.task = quiet{}
	if loads(job.Op) {
		s.endLoad(!s.stopped)
	}
	ended := clock.Now()
	used := usage.CPU().Sub(before)

	report := s.tally.take()
	report.Open = s.open
	report.Usage = control.Usage{
		UserSeconds:             used.User,
		SystemSeconds:           used.System,
		StateBytesPerConnection: s.StateBytes(),
		Busy:                    1 - float64(waited)/float64(ended-began),
	}
	return report, nil
}

// Idle handles what happens between commands, until the engine is woken.
func (s *Swarm) Idle() error {
	for {
		woken, err := s.engine.Wait(-1)
		if err != nil {
			return fmt.Errorf("waiting for events: %w", err)
		}
		s.engine.Deliver(s)
		if woken {
			return nil
		}
	}
}

// begin makes the task of a command.
func (s *Swarm) begin(job Job, now int64) (task, error) {
	switch job.Op {
	case control.OpRamp:
		return newRamp(s, job, now), nil
	case control.OpHold:
		return newHold(s, job, now), nil
	case control.OpEcho, control.OpPing:
		return newEcho(s, job), nil
	case control.OpSaturate:
		return newSaturate(s, job), nil
	case control.OpCensus:
		return newCensus(s, job), nil
	case control.OpClose:
		return newCloser(s, job, now), nil
	}
	return nil, fmt.Errorf("unknown command %q", job.Op)
}

// loads says whether a command sends messages.
func loads(op control.Op) bool {
	return op == control.OpEcho || op == control.OpPing || op == control.OpSaturate || op == control.OpCensus
}
