// Package terminal shows the progress of a run on a terminal.
package terminal

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"connbench/harness/cause"
	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/progress"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Terminal shows a run on a terminal as one live line, and elsewhere as plain lines.
type Terminal struct {
	out  io.Writer
	live bool

	lock   sync.Mutex
	bars   *mpb.Progress // nil while there is no live line
	bar    *mpb.Bar
	trials int
	number int
	name   string
	phase  string
	open   int
	rate   float64
	began  time.Time
	guess  time.Duration
	// lastAt is when rate was computed, lastOpen and lastMessages the counts then.
	lastAt       time.Time
	lastOpen     int
	lastMessages int64
	// advised are the stop reasons about which something was said.
	advised map[string]bool
}

var _ progress.Progress = (*Terminal)(nil)

// New shows a run on out: live where that is a terminal that can move its
// cursor and whose user wants more than plain text.
func New(out *os.File) *Terminal {
	kind := os.Getenv("TERM")
	plain := kind == "" || kind == "dumb" || os.Getenv("NO_COLOR") != ""
	return &Terminal{out: out, live: term.IsTerminal(int(out.Fd())) && !plain}
}

// Say prints a line, above the live line if there is one.
func (t *Terminal) Say(format string, args ...any) {
	t.lock.Lock()
	out := t.out
	if t.bars != nil {
		out = t.bars
	}
	t.lock.Unlock()
	fmt.Fprintln(out, plain.Line(fmt.Sprintf(format, args...)))
}

// Begin shows the live line.
func (t *Terminal) Begin(trials int, guess time.Duration) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.trials, t.guess, t.began = trials, guess, time.Now()
	if !t.live {
		return
	}
	t.bars = mpb.New(mpb.WithOutput(t.out), mpb.WithWidth(30), mpb.WithRefreshRate(250*time.Millisecond))
	t.bar = t.bars.AddBar(int64(trials), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return t.line() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return t.left() })),
	)
}

// Close takes the live line away.
func (t *Terminal) Close() {
	t.lock.Lock()
	bars, bar := t.bars, t.bar
	t.bars, t.bar = nil, nil
	t.lock.Unlock()
	if bars != nil {
		bar.Abort(true)
		bars.Wait()
	}
}

func (t *Terminal) line() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	return plain.Line(fmt.Sprintf("%d/%d %s  %s  %s open  %s/s ", t.number, t.trials, t.name, t.phase, table.Count(t.open), table.Count(int(t.rate))))
}

func (t *Terminal) left() string {
	t.lock.Lock()
	defer t.lock.Unlock()
	return " " + t.remaining().Round(time.Second).String() + " left"
}

// remaining goes by the trials that have ended, by the guess before that.
func (t *Terminal) remaining() time.Duration {
	done := t.number - 1
	total := t.guess * time.Duration(t.trials)
	if done > 0 {
		total = time.Since(t.began) / time.Duration(done) * time.Duration(t.trials)
	}
	return max(0, total-time.Since(t.began))
}

// Trial starts a trial.
func (t *Terminal) Trial(number, of int, name string, round int) {
	t.lock.Lock()
	t.number, t.name, t.phase = number, name, ""
	if t.trials != of && t.bar != nil {
		t.bar.SetTotal(int64(of), false)
	}
	t.trials = of
	left := t.remaining().Round(time.Second)
	t.lock.Unlock()
	if !t.live {
		t.Say("trial %d of %d: %s, round %d, about %s left", number, of, name, round, left)
	}
}

// Phase starts a phase.
func (t *Terminal) Phase(name string, seconds float64) {
	t.lock.Lock()
	t.phase, t.rate = name, 0
	t.lastAt, t.lastOpen, t.lastMessages = time.Now(), t.open, 0
	open := t.open
	t.lock.Unlock()
	if t.live {
		return
	}
	if seconds > 0 {
		t.Say("  %s, %g s, %s", name, seconds, table.Plural(open, "connection"))
	} else {
		t.Say("  %s", name)
	}
}

// Update takes the counts; the live line shows their rate.
func (t *Terminal) Update(open int, messages int64) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.open = open
	now := time.Now()
	if seconds := now.Sub(t.lastAt).Seconds(); seconds > 0.1 {
		events := float64(open - t.lastOpen)
		if messages > 0 {
			events = float64(messages - t.lastMessages)
		}
		t.rate = max(0, events/seconds)
		t.lastAt, t.lastOpen, t.lastMessages = now, open, messages
	}
}

// Done sums up the trial that has ended.
func (t *Terminal) Done(result record.Trial, again bool) {
	t.lock.Lock()
	bar := t.bar
	t.lock.Unlock()
	if bar != nil {
		bar.Increment()
	}
	line := fmt.Sprintf("%s/%s round %d: %s (%s)", result.Variant, result.Class, result.Round,
		table.Plural(result.Connections.Reached, "connection"), result.Stop.Reason)
	for _, f := range figure.All() {
		if value, _ := f.Value(&result); value != nil && f.In(figure.TableProgress) {
			line += fmt.Sprintf(", %s %s %s", f.FullTitle(), table.Value(f.Unit)(*value), table.Unit(f.Unit))
		}
	}
	if result.Noisy {
		line += "; NOISY host"
		if again {
			line += ", runs again at the end of the round"
		}
	}
	for _, reason := range result.Invalid {
		line += "; INVALID: " + reason
	}
	t.Say("%s", line)
	t.advise(result.Stop.Reason)
}

// advise says what to do about a stop reason, once.
func (t *Terminal) advise(reason string) {
	c := cause.Named(reason)
	if c == nil || c.Advice == "" || t.advised[reason] {
		return
	}
	if t.advised == nil {
		t.advised = map[string]bool{}
	}
	t.advised[reason] = true
	t.Say("%s: %s; to get further: %s", reason, c.Meaning, c.Advice)
}
