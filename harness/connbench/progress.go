package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"connbench/harness/plan"
	"connbench/harness/record"
)

// watcher shows people how a run goes on: one live line on a terminal, plain
// lines elsewhere.
type watcher struct {
	out      io.Writer
	terminal bool

	lock   sync.Mutex
	bars   *mpb.Progress
	bar    *mpb.Bar
	trials int
	number int
	name   string
	phase  string
	open   int
	rate   float64
	began  time.Time
	// lastAt is when rate was computed, lastOpen and lastMessages the counts then.
	lastAt       time.Time
	lastOpen     int
	lastMessages int64
	// guess is how long a trial takes, until one has ended.
	guess time.Duration
}

func newWatcher(out *os.File) *watcher {
	return &watcher{out: out, terminal: term.IsTerminal(int(out.Fd()))}
}

// Say prints a line of its own, above the live line if there is one.
func (w *watcher) Say(format string, args ...any) {
	w.lock.Lock()
	out := w.out
	if w.bars != nil {
		out = w.bars
	}
	w.lock.Unlock()
	fmt.Fprintf(out, format+"\n", args...)
}

// assumedRate is how many connections a second are assumed to open until one
// trial has shown it. It only serves the first guess of the time left.
const assumedRate = 4000

// Begin shows the display for a run of so many trials.
func (w *watcher) Begin(trials int, p plan.Plan, target int) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.trials, w.began = trials, time.Now()
	ramps := 1.0
	if p.Ramp.Settled {
		ramps = 2
	}
	steps := ramps * float64(p.Ramp.Steps)
	w.guess = plan.Seconds(3 + ramps*float64(target)/assumedRate + steps*(p.Ramp.PauseSeconds+0.1) +
		p.Hold.Seconds + p.Ping.Seconds + p.Sweep.Duration() + p.Echo.WarmupSeconds + p.Echo.Seconds + p.Saturate.WarmupSeconds + p.Saturate.Seconds + p.Complexity.Duration())
	if !w.terminal {
		return
	}
	w.bars = mpb.New(mpb.WithOutput(w.out), mpb.WithWidth(30), mpb.WithRefreshRate(250*time.Millisecond))
	w.bar = w.bars.AddBar(int64(trials), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return w.line() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return w.left() })),
	)
}

// Close takes the live line away. It may be called twice.
func (w *watcher) Close() {
	w.lock.Lock()
	bars, bar := w.bars, w.bar
	w.bars, w.bar = nil, nil
	w.lock.Unlock()
	if bars != nil {
		bar.Abort(true)
		bars.Wait()
	}
}

func (w *watcher) line() string {
	w.lock.Lock()
	defer w.lock.Unlock()
	return fmt.Sprintf("%d/%d %s  %s  %d open  %.0f/s ", w.number, w.trials, w.name, w.phase, w.open, w.rate)
}

func (w *watcher) left() string {
	w.lock.Lock()
	defer w.lock.Unlock()
	return " " + w.remaining().Round(time.Second).String() + " left"
}

// remaining goes by the trials that have ended, by the guess before that.
func (w *watcher) remaining() time.Duration {
	done := w.number - 1
	total := w.guess * time.Duration(w.trials)
	if done > 0 {
		total = time.Since(w.began) / time.Duration(done) * time.Duration(w.trials)
	}
	return max(0, total-time.Since(w.began))
}

// Trial begins.
func (w *watcher) Trial(number, of int, name string, round int) {
	w.lock.Lock()
	w.number, w.name, w.phase = number, name, ""
	if w.trials != of && w.bar != nil {
		w.bar.SetTotal(int64(of), false)
	}
	w.trials = of
	left := w.remaining().Round(time.Second)
	w.lock.Unlock()
	if !w.terminal {
		w.Say("trial %d of %d: %s, round %d, about %s left", number, of, name, round, left)
	}
}

// Phase begins.
func (w *watcher) Phase(name string, seconds float64) {
	w.lock.Lock()
	if name == "start" || name == "settled ramp" {
		w.open = 0
	}
	w.phase, w.rate = name, 0
	w.lastAt, w.lastOpen, w.lastMessages = time.Now(), w.open, 0
	open := w.open
	w.lock.Unlock()
	if w.terminal || name == "start" {
		return
	}
	if seconds > 0 {
		w.Say("  %s, %g s, %d connections", name, seconds, open)
	} else {
		w.Say("  %s", name)
	}
}

// Update tells the counts, of which the display shows the rate.
func (w *watcher) Update(open int, messages int64) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.open = open
	now := time.Now()
	if seconds := now.Sub(w.lastAt).Seconds(); seconds > 0.1 {
		events := float64(open - w.lastOpen)
		if messages > 0 {
			events = float64(messages - w.lastMessages)
		}
		w.rate = max(0, events/seconds)
		w.lastAt, w.lastOpen, w.lastMessages = now, open, messages
	}
}

// Done sums up the trial that just ended.
func (w *watcher) Done(t record.Trial, again bool) {
	w.lock.Lock()
	bar := w.bar
	w.lock.Unlock()
	if bar != nil {
		bar.Increment()
	}
	line := fmt.Sprintf("%s/%s round %d: %d connections (%s)", t.Variant, t.Class, t.Round, t.Connections.Reached, t.Stop.Reason)
	if rate := t.Ramp.ConnectsPerSecond; rate != nil {
		line += fmt.Sprintf(", %.0f/s", *rate)
	}
	if rss := t.PerConnection.RSSBytes; rss != nil {
		line += fmt.Sprintf(", RSS %.0f B each", *rss)
	}
	if t.Echo != nil {
		line += fmt.Sprintf(", echo p99 %.0f µs", t.Echo.P99US)
	}
	if t.Noisy {
		line += "; NOISY host"
		if again {
			line += ", runs again at the end of the round"
		}
	}
	for _, reason := range t.Invalid {
		line += "; INVALID: " + reason
	}
	w.Say("%s", line)
}
