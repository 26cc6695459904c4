package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"connbench/clients/control"
	"connbench/harness/record"
)

// firstTry is the number of connections with which a search begins: fewer send too
// few messages for a percentile.
const firstTry = 32

// complexity finds, for each amount of work that a message takes, how many active
// connections a fresh server keeps. A failure leaves out what could not be found;
// what the trial has measured before stands.
func (r *run) complexity(ctx context.Context) {
	natural := r.meter
	defer func() { r.meter = natural }()
	p := r.Plan.Complexity
	r.record.Complexity = &record.Complexity{
		P99LimitUS: p.P99US, MessagesPerSecond: p.MessagesPerSecond,
		Kept: map[string]int{}, StoppedBy: map[string]string{}, Levels: []record.Level{},
	}
	// From the most work to the least: what was kept with more of it is a good
	// number to begin with.
	begin := firstTry
	for _, work := range slices.Backward(p.WorkUS) {
		r.Progress.Phase(fmt.Sprintf("complexity %d µs", work), 0)
		s, err := r.bear(ctx, work, begin)
		if err != nil {
			if ctx.Err() != nil {
				err = errors.New("interrupted")
			}
			r.warn("complexity, %d µs: %v", work, err)
			return
		}
		key := record.WorkKey(work)
		r.record.Complexity.Kept[key], r.record.Complexity.StoppedBy[key] = s.kept, s.lost
		begin = max(firstTry, s.kept)
	}
}

// bear searches with a fresh server.
func (r *run) bear(ctx context.Context, workUS, begin int) (search, error) {
	defer r.shut(ctx)
	if err := r.open(ctx, workUS); err != nil {
		return search{}, err
	}
	r.watch = startWatch(ctx, r)
	defer r.watch.stop()
	r.watch.setPhase("complexity")
	if _, err := r.meter.read(); err != nil {
		return search{}, err
	}
	defer func() { r.further = append(r.further, r.meter) }()

	open, most := 0, r.record.Connections.Reached
	s := search{next: min(begin, most), most: most, resolution: r.Plan.Complexity.Resolution}
	for !s.done() {
		active := s.next
		if active > open {
			result, err := r.command(ctx, r.rampTo(active))
			if err != nil {
				return s, err
			}
			if open = result.Open; open < active {
				return s, fmt.Errorf("the ramp ended at %d of %d connections", open, active)
			}
		}
		load := r.Plan.Complexity.At(active)
		var at *record.Load
		err := r.load(ctx, "complexity", load, &at, control.Command{
			Op: control.OpEcho, Connections: active, RatePerSecond: load.RatePerSecond,
		})
		if at != nil {
			at.Histogram = "" // dozens of them, of which the percentiles are all that is asked
			r.record.Complexity.Levels = append(r.record.Complexity.Levels, record.Level{WorkUS: workUS, Connections: active, Load: *at})
			open -= at.Lost // the next number needs as many anew
		}
		if err != nil {
			return s, err
		}
		s.tried(lost(*at, r.record.Complexity.P99LimitUS))
	}
	return s, nil
}

// search finds the largest number of connections that is kept: it doubles until
// one is not kept, or halves until one is, and then divides what lies between.
type search struct {
	// next is the number to try, most the largest that may be.
	next, most int
	resolution float64
	// kept is the largest number that was kept, over the least that was not and
	// lost why; 0 and "" before there is one.
	kept, over int
	lost       string
}

// tried says what came of next: why it is lost, or "" where it was kept.
func (s *search) tried(lost string) {
	if lost == "" {
		s.kept = s.next
	} else {
		s.over, s.lost = s.next, lost
	}
	switch {
	case s.over == 0:
		s.next = min(2*s.kept, s.most)
	case s.kept == 0:
		s.next = s.over / 2
	default:
		s.next = int(math.Round(math.Sqrt(float64(s.kept) * float64(s.over))))
	}
	if s.kept == s.most {
		s.lost = record.KeptAll
	}
}

// done is true when there is nothing left to try.
func (s *search) done() bool {
	switch {
	case s.kept == s.most:
		return true
	case s.over == 0:
		return false
	case s.kept == 0:
		return s.over == 1
	}
	return s.over <= s.kept+1 || float64(s.over) <= float64(s.kept)*s.resolution
}
