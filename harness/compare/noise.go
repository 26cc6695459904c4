package compare

import (
	"fmt"
	"math"
	"strings"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// fewestQuiet is the number of quiet rounds from which a figure that depends on the speed
// of CPUs is judged: fewer decide nothing, see [stats.Compare].
const fewestQuiet = 3

// disturbance is what noise did to a figure in one of the runs.
type disturbance struct {
	// share is what noise may have changed the figure by in a round that is judged, the
	// median over them, and spin the median time of the fixed calculation in seconds, 0
	// where unknown.
	share, spin float64
	// noisy of rounds were noisy, and too many: words says by what.
	noisy, rounds int
	words         string
}

// tooNoisy is true where too few quiet rounds are left, though there were enough rounds.
func (d disturbance) tooNoisy() bool {
	return d.noisy > 0 && d.rounds-d.noisy < fewestQuiet && d.rounds >= fewestQuiet
}

// String says which rounds were noisy, by what, and whether they are left out; "" where
// none was.
func (d disturbance) String() string {
	switch {
	case d.noisy == 0:
		return ""
	case d.tooNoisy():
		return fmt.Sprintf("%d of %d rounds are noisy (%s)", d.noisy, d.rounds, d.words)
	}
	return fmt.Sprintf("%d noisy of %d rounds left out (%s)", d.noisy, d.rounds, d.words)
}

// quiet leaves out the noisy rounds of a figure that depends on the speed of CPUs. It
// keeps all where too few would be left.
func quiet(f figure.Figure, v figure.Variant) (figure.Variant, disturbance) {
	var rounds, calm []*record.Trial
	var worst record.Quality
	for _, t := range v.Valid {
		if value, _ := f.Value(t); value == nil {
			continue
		}
		rounds = append(rounds, t)
		if t.Noisy {
			worst = worse(worst, t.Quality)
		} else {
			calm = append(calm, t)
		}
	}
	d := disturbance{rounds: len(rounds), noisy: len(rounds) - len(calm), words: describe(worst)}
	if !d.tooNoisy() && len(calm) > 0 {
		v.Valid = calm
	}
	var shares, spins []float64
	for _, t := range v.Valid {
		shares = append(shares, share(t.Quality))
		spins = append(spins, t.Quality.SpinSeconds...)
	}
	if len(shares) > 0 {
		d.share = stats.Summarize(shares).Median
	}
	if len(spins) > 0 {
		d.spin = stats.Summarize(spins).Median
	}
	return v, d
}

// share is the part of a trial's CPU time that noise may have taken or slowed down: what
// others took, and how much slower a fixed calculation ran at its slowest.
func share(q record.Quality) float64 {
	sum := 0.0
	for _, part := range []*float64{q.StealShare, q.ForeignShare, q.ThrottledShare} {
		if part != nil {
			sum += *part
		}
	}
	if q.SpinRatio != nil {
		sum += math.Max(0, *q.SpinRatio-1)
	}
	return sum
}

// margin is the change, as a share, that noise may make of a figure between two runs:
// that of the noisier run, and by how much a fixed calculation took longer in one of
// them. noise says why the figure cannot be judged, "" where it can.
func margin(old, new disturbance) (share float64, noise string) {
	var words []string
	for _, side := range []struct {
		name string
		disturbance
	}{{"old", old}, {"new", new}} {
		if side.tooNoisy() {
			words = append(words, side.name+": "+side.String())
		}
	}
	share = math.Max(old.share, new.share)
	if old.spin > 0 && new.spin > 0 {
		share += math.Max(old.spin, new.spin)/math.Min(old.spin, new.spin) - 1
	}
	return share, strings.Join(words, "; ")
}

// worse takes the worst of two trials.
func worse(a, b record.Quality) record.Quality {
	larger := func(a, b *float64) *float64 {
		if a == nil || b != nil && *b > *a {
			return b
		}
		return a
	}
	return record.Quality{
		StealShare: larger(a.StealShare, b.StealShare), ForeignShare: larger(a.ForeignShare, b.ForeignShare),
		ThrottledShare: larger(a.ThrottledShare, b.ThrottledShare), SpinRatio: larger(a.SpinRatio, b.SpinRatio),
	}
}

// describe says what disturbed a trial.
func describe(q record.Quality) string {
	var parts []string
	for _, part := range []struct {
		share *float64
		words string
	}{
		{q.ForeignShare, "other programs took up to %s of the CPUs"}, {q.StealShare, "the hypervisor took up to %s"},
		{q.ThrottledShare, "a quota stopped tasks for up to %s of the time"},
	} {
		if part.share != nil && *part.share >= 0.01 {
			parts = append(parts, fmt.Sprintf(part.words, table.Percent(*part.share)))
		}
	}
	if q.SpinRatio != nil && *q.SpinRatio >= 1.05 {
		parts = append(parts, fmt.Sprintf("a fixed calculation took up to %s times as long as at its fastest", table.Number(*q.SpinRatio)))
	}
	if len(parts) == 0 {
		return "see the warnings of its trials"
	}
	return table.List(parts)
}
