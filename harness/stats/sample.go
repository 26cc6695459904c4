package stats

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Summary is what the rounds say of one figure.
type Summary struct {
	// Values are all rounds' values in ascending order. None is left out.
	Values []float64
	Median float64
	// Low and High are the 95 % interval of the median if Interval is true, else the
	// smallest and the largest value. Fewer than six values have no interval without
	// assumptions: any two of five enclose the median with 93.75 % at most.
	Low, High float64
	Interval  bool
	// Warnings are those of benchmath, for readers.
	Warnings []string
}

// Median is the median of values; nil if there are none.
func Median(values []float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	return new(Summarize(values).Median)
}

// Summarize summarizes a figure's values, one for each round. It does not change
// values.
func Summarize(values []float64) Summary {
	s := Summary{Values: slices.Sorted(slices.Values(values))}
	if len(s.Values) == 0 {
		s.Median, s.Low, s.High = math.NaN(), math.NaN(), math.NaN()
		return s
	}
	b := benchmath.AssumeNothing.Summary(sample(s.Values), Confidence)
	s.Median, s.Low, s.High, s.Warnings = b.Center, b.Lo, b.Hi, texts(b.Warnings)
	s.Interval = !math.IsInf(b.Lo, 0) && !math.IsInf(b.Hi, 0)
	if !s.Interval {
		s.Low, s.High = s.Values[0], s.Values[len(s.Values)-1]
	}
	return s
}

// N is the number of rounds in which the figure was taken.
func (s Summary) N() int { return len(s.Values) }

// Spread is the larger of the distances from the median to Low and High, relative
// to the median: 0.02 is ±2 %. It is NaN if the median is 0.
func (s Summary) Spread() float64 {
	if s.Median == 0 {
		return math.NaN()
	}
	return math.Max(s.High-s.Median, s.Median-s.Low) / math.Abs(s.Median)
}

func texts(warnings []error) (list []string) {
	for _, warning := range warnings {
		list = append(list, warning.Error())
	}
	return list
}

func sample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
}

// Comparison is the answer to whether two figures differ.
type Comparison struct {
	// P is the two-sided p-value of the Mann-Whitney U test: how often two equal
	// figures would lie as far apart as these by chance.
	P      float64
	N1, N2 int
	// Different is true if they differ at the 95 % level. False does not mean that
	// they are equal, only that their difference is within the noise.
	Different bool
	// ByRange is true if the ranges decided, because there were too few rounds for
	// the test.
	ByRange bool
	// Undecided is true if there are too few rounds for any decision.
	Undecided bool
	// Warnings are those of benchmath about the test, for readers.
	Warnings []string
}

// Compare says whether the figures a and b differ. It uses benchmath's Mann-Whitney
// U test wherever that can decide at all. Three rounds against three or four cannot
// reach 95 % in it (p is 2/20 and 2/35 at best), and benchmath warns of that. They
// then differ if the gap between their ranges is wider than either range. For equal
// figures that happens in at most 1 of 28 comparisons over the shapes of noise that
// the tests of this package try. Fewer than three rounds decide nothing.
func Compare(a, b []float64) Comparison {
	c := Comparison{P: 1, N1: len(a), N2: len(b)}
	if len(a) == 0 || len(b) == 0 {
		c.Undecided = true
		return c
	}
	test := benchmath.AssumeNothing.Compare(sample(a), sample(b))
	c.P, c.Warnings = test.P, texts(test.Warnings)
	switch {
	case leastP(len(a), len(b)) <= 1-Confidence:
		c.Different = c.P <= 1-Confidence
	case len(a) >= 3 && len(b) >= 3:
		c.ByRange = true
		gap := math.Max(slices.Min(b)-slices.Max(a), slices.Min(a)-slices.Max(b))
		c.Different = gap > 0 && gap > math.Max(width(a), width(b))
	default:
		c.Undecided = true
	}
	return c
}

// leastP is the smallest p-value of the test for n against m values, when all values
// of one are below all of the other: 2/C(n+m, n).
func leastP(n, m int) float64 {
	ways := 1.0
	for i := range n {
		ways = ways * float64(m+1+i) / float64(i+1)
	}
	return math.Min(1, 2/ways)
}

func width(values []float64) float64 { return slices.Max(values) - slices.Min(values) }

// Ranking is an order of samples that claims no more than Compare allows.
type Ranking struct {
	// Order lists the indices of the samples from the lowest median to the highest.
	// Samples without values are left out.
	Order []int
	// Ties are stretches of Order whose order is not known, because their two ends
	// do not differ: first and last position, inclusive. They may overlap. None lies
	// within another, and none has one sample only.
	Ties [][2]int
	// Undecided is true if some samples have too few rounds to be compared.
	Undecided bool
}

// Rank orders samples by their medians. If two samples do not differ, it also ties
// all samples between them, whatever their own comparisons say.
func Rank(samples []Summary) Ranking {
	var r Ranking
	for i, s := range samples {
		if s.N() > 0 {
			r.Order = append(r.Order, i)
		}
	}
	slices.SortStableFunc(r.Order, func(i, j int) int {
		switch a, b := samples[i].Median, samples[j].Median; {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	})
	reach := -1 // the last position of the ties so far
	for first := range r.Order {
		last := first
		for other := first + 1; other < len(r.Order); other++ {
			c := Compare(samples[r.Order[first]].Values, samples[r.Order[other]].Values)
			if !c.Different {
				last = other
			}
			r.Undecided = r.Undecided || c.Undecided
		}
		if last > first && last > reach {
			r.Ties = append(r.Ties, [2]int{first, last})
			reach = last
		}
	}
	return r
}

// Place returns the best and the worst position, from 1, that a sample may have.
func (r Ranking) Place(sample int) (best, worst int) {
	at := slices.Index(r.Order, sample)
	if at < 0 {
		return 0, 0
	}
	best, worst = at, at
	for _, tie := range r.Ties {
		if tie[0] <= at && at <= tie[1] {
			best, worst = min(best, tie[0]), max(worst, tie[1])
		}
	}
	return best + 1, worst + 1
}
