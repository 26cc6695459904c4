package worker

import (
	"fmt"
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/load"
	"connbench/clients/internal/usage"
)

// progressEvery returns the time between two calls of progress, in nanoseconds. Many
// workers say less each: the coordinator that listens to them shares their CPUs.
func progressEvery(workers int) int64 {
	const alone, few = int64(200 * time.Millisecond), 10
	return alone * max(int64(workers)/few, 1)
}

// counts are what progress is about.
type counts struct {
	open     int
	messages int64
}

func countsOf(t *connections.Table) counts { return counts{t.Open(), t.Tally.Delivered + t.Tally.Late} }

// Run carries out a job. interrupted is called when the engine is woken; if it
// returns true, the load ends with what it has. progress is called several times a
// second, or less often if there are many workers, while there is something new to say:
// a worker that holds its connections is to sleep.
func Run(t *connections.Table, job load.Job, interrupted func() bool, progress func(open int, messages int64)) (connections.Report, error) {
	before := usage.CPU()
	t.Tally.ForgetPushes()
	t.DropSlow()
	job.Now = clock.Now()
	definition, err := load.Loads.Find(string(job.Op))
	if err != nil {
		return connections.Report{}, err
	}
	l, err := definition.Begin(t, job)
	if err != nil {
		return connections.Report{}, err
	}
	t.Tell(l)
	stopped, waited, err := loop(t, l, !definition.Scheduled, interrupted, progressEvery(job.Workers), progress)
	if err != nil {
		return connections.Report{}, fmt.Errorf("waiting for events: %w", err)
	}
	t.Tell(nil)
	l.End(clock.Now(), stopped)
	t.EndMessages(!stopped)
	used := usage.CPU().Sub(before)

	report := t.Tally.Take()
	report.Open = t.Open()
	report.Usage = control.Usage{
		UserSeconds:             used.User,
		SystemSeconds:           used.System,
		StateBytesPerConnection: t.StateBytes(),
		Busy:                    waited.busy(report.Began, report.Ended),
	}
	return report, nil
}

// loop has a load take steps until it is done. recordTurns has the times between two
// polls recorded as lag.
func loop(t *connections.Table, l load.Load, recordTurns bool, interrupted func() bool, every int64, progress func(open int, messages int64)) (stopped bool, waited waits, err error) {
	reported := counts{open: t.Open()}
	awake := clock.Now() // since when
	nextProgress := awake + every
	for {
		next, done := l.Step(clock.Now(), stopped)
		if done {
			return stopped, waited, nil
		}
		sleep := clock.Now()
		if recordTurns {
			t.Tally.Lag.Record(sleep - awake)
		}
		if reported != countsOf(t) {
			next = min(next, nextProgress)
		}
		woken, err := t.Wait(time.Duration(max(next-sleep, 0)))
		if err != nil {
			return stopped, waited, err
		}
		awake = clock.Now()
		waited.add(sleep, awake, t.Tally.Began, t.Tally.Ended)
		if woken && interrupted() {
			stopped = true
		}
		t.Deliver()
		if news := countsOf(t); news != reported && awake >= nextProgress {
			reported, nextProgress = news, awake+every
			progress(news.open, news.messages)
		}
	}
}

// waits adds up the time during which there was nothing to do while a load lasted.
// The end of a load may be known before, or be the last event so far.
type waits struct {
	within int64 // nanoseconds
	after  int64 // since ended, which was the end so far
	ended  int64
}

// add adds a wait, if it was while the load lasted, as far as that is known.
func (w *waits) add(from, to, began, ended int64) {
	if ended != w.ended { // the load went on: what was waited belongs to it
		w.within += w.after
		w.after, w.ended = 0, ended
	}
	if began == 0 {
		return
	}
	from, to = max(from, began), max(to, began)
	w.within += max(min(to, ended)-from, 0)
	w.after += max(to-max(from, ended), 0)
}

// busy returns the share of the load's time during which there was something to do.
func (w *waits) busy(began, ended int64) float64 {
	if ended != w.ended {
		w.within += w.after
	}
	if ended <= began {
		return 0
	}
	return max(1-float64(w.within)/float64(ended-began), 0)
}

// Idle handles what happens between commands, until the engine is woken.
func Idle(t *connections.Table) error {
	for {
		woken, err := t.Wait(-1)
		if err != nil {
			return fmt.Errorf("waiting for events: %w", err)
		}
		t.Deliver()
		if woken {
			return nil
		}
	}
}
