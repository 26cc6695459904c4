package stats

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Max(1, math.Abs(b)) }

// Norris, of NIST's Statistical Reference Datasets for linear regression: the
// certified slope and intercept, and the slope's certified standard deviation.
func TestLineAgainstCertifiedValues(t *testing.T) {
	norris := []Point{
		{0.2, 0.1}, {337.4, 338.8}, {118.2, 118.1}, {884.6, 888.0}, {10.1, 9.2}, {226.5, 228.1}, {666.3, 668.5},
		{996.3, 998.5}, {448.6, 449.1}, {777.0, 778.9}, {558.2, 559.2}, {0.4, 0.3}, {0.6, 0.1}, {775.5, 778.1},
		{666.9, 668.8}, {338.0, 339.3}, {447.5, 448.9}, {11.6, 10.8}, {556.0, 557.7}, {228.1, 228.3}, {995.8, 998.0},
		{887.6, 888.8}, {120.2, 119.6}, {0.3, 0.3}, {0.3, 0.6}, {556.8, 557.6}, {339.1, 339.3}, {887.2, 888.0},
		{999.0, 998.5}, {779.0, 778.9}, {11.1, 10.2}, {118.3, 117.6}, {229.2, 228.9}, {669.1, 668.4}, {448.9, 449.2},
		{0.5, 0.2},
	}
	fit, ok := Line(norris)
	const t975of34 = 2.032244509317719
	half := t975of34 * 0.429796848199937e-3
	if !ok || !near(fit.Slope, 1.00211681802045) || !near(fit.Intercept, -0.262323073774029) ||
		!near(fit.Low, 1.00211681802045-half) || !near(fit.High, 1.00211681802045+half) || fit.Points != 36 {
		t.Errorf("fit is %+v, %v", fit, ok)
	}
}

// Quantiles of Student's t at 97.5 %, from the table in the NIST/SEMATECH
// e-Handbook of Statistical Methods, 1.3.6.7.2; one degree is tan(0.475π).
func TestStudentT(t *testing.T) {
	if got := studentT(1); !near(got, math.Tan(0.475*math.Pi)) {
		t.Errorf("of 1 degree: %v", got)
	}
	for degrees, want := range map[float64]float64{2: 4.303, 3: 3.182, 8: 2.306, 30: 2.042, 100: 1.984} {
		if got := studentT(degrees); math.Abs(got-want) > 0.0005 {
			t.Errorf("of %v degrees: %v, want %v", degrees, got, want)
		}
	}
}

func TestLineOfExactBytesFarFromZero(t *testing.T) {
	var points []Point
	for i := range 8 {
		points = append(points, Point{float64(i) * 125_000, 3e11 + 9214*float64(i)*125_000})
	}
	fit, ok := Line(points)
	if !ok || !near(fit.Slope, 9214) || !near(fit.Low, 9214) || !near(fit.High, 9214) || !near(fit.Intercept, 3e11) {
		t.Errorf("fit is %+v, %v", fit, ok)
	}
}

func TestNoLine(t *testing.T) {
	for name, points := range map[string][]Point{
		"no point":   nil,
		"two points": {{0, 1}, {1, 2}},
		"one x":      {{5, 1}, {5, 2}, {5, 3}},
	} {
		if fit, ok := Line(points); ok {
			t.Errorf("%s: %+v", name, fit)
		}
	}
}

func TestSummaryHasAnIntervalFromSixRoundsOn(t *testing.T) {
	five := Summarize([]float64{5, 1, 4, 2, 30})
	if five.Interval || five.Median != 4 || five.Low != 1 || five.High != 30 || five.N() != 5 {
		t.Errorf("five: %+v", five)
	}
	if len(five.Warnings) != 1 || !strings.Contains(five.Warnings[0], "need >= 6 samples") {
		t.Errorf("five: warnings %q", five.Warnings)
	}
	// Of six, the least and the greatest enclose the median with 1-2/2⁶ = 96.9 %.
	six := Summarize([]float64{5, 1, 4, 2, 30, 3})
	if !six.Interval || six.Median != 3.5 || six.Low != 1 || six.High != 30 {
		t.Errorf("six: %+v", six)
	}
	// Of nine, the second and the eighth: 1-2·(1+9)/2⁹ = 96.1 %.
	nine := Summarize([]float64{1, 2, 3, 4, 5, 6, 7, 8, 900})
	if !nine.Interval || nine.Median != 5 || nine.Low != 2 || nine.High != 8 {
		t.Errorf("nine: %+v", nine)
	}
	if none := Summarize(nil); none.N() != 0 || !math.IsNaN(none.Median) {
		t.Errorf("none: %+v", none)
	}
	if s := Summarize([]float64{90, 100, 120}).Spread(); !near(s, 0.2) {
		t.Errorf("spread is %v, want 0.2", s)
	}
}

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		name string
		a, b []float64
		want Comparison
	}{
		{"nothing", nil, []float64{1}, Comparison{P: 1, N2: 1, Undecided: true}},
		{"one round", []float64{1}, []float64{1000}, Comparison{P: 1, N1: 1, N2: 1, Undecided: true}},
		{"two rounds", []float64{1, 2}, []float64{1000, 1001, 1002}, Comparison{P: 0.2, N1: 2, N2: 3, Undecided: true}},
		{"three far apart", []float64{10, 11, 12}, []float64{20, 21, 22}, Comparison{P: 0.1, N1: 3, N2: 3, Different: true, ByRange: true}},
		{"three near", []float64{10, 11, 12}, []float64{13, 14, 15}, Comparison{P: 0.1, N1: 3, N2: 3, ByRange: true}},
		{"three the same", []float64{7, 7, 7}, []float64{7, 7, 7}, Comparison{P: 1, N1: 3, N2: 3, ByRange: true}},
		{"three against six", []float64{1, 2, 3}, []float64{4, 5, 6, 7, 8, 9}, Comparison{P: 2.0 / 84, N1: 3, N2: 6, Different: true}},
		{"four", []float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, Comparison{P: 2.0 / 70, N1: 4, N2: 4, Different: true}},
		{"four that overlap", []float64{1, 2, 3, 5.5}, []float64{5, 6, 7, 8}, Comparison{P: 4.0 / 70, N1: 4, N2: 4}},
	} {
		got := Compare(test.a, test.b)
		if !near(got.P, test.want.P) {
			t.Errorf("%s: p is %v, want %v", test.name, got.P, test.want.P)
		}
		if warned := len(got.Warnings) > 0; warned != (got.P > 1-Confidence && len(test.a) < 4 && len(test.b) < 4 && len(test.a) > 0) {
			t.Errorf("%s: warnings %q", test.name, got.Warnings)
		}
		if got.P, got.Warnings = test.want.P, nil; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
		back := Compare(test.b, test.a)
		if back.Different != got.Different || !near(back.P, got.P) {
			t.Errorf("%s: the other way round it is %+v", test.name, back)
		}
	}
}

// Figures that are equal but for noise must not be called different in more than
// one comparison of twenty, whatever the noise looks like.
func TestNoiseIsNotCalledADifference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	shapes := map[string]func() float64{
		"normal":      random.NormFloat64,
		"uniform":     random.Float64,
		"exponential": random.ExpFloat64,
		"log-normal":  func() float64 { return math.Exp(random.NormFloat64()) },
		"Cauchy":      func() float64 { return math.Tan(math.Pi * (random.Float64() - 0.5)) },
		"two modes":   func() float64 { return random.NormFloat64()/20 + float64(random.IntN(2)) },
		"spikes":      func() float64 { return random.NormFloat64() + 20*float64(random.IntN(5)/4) },
	}
	const comparisons = 10_000
	for shape, draw := range shapes {
		for _, rounds := range [][2]int{{3, 3}, {3, 4}, {3, 6}, {4, 4}, {6, 6}} {
			different := 0
			for range comparisons {
				a, b := make([]float64, rounds[0]), make([]float64, rounds[1])
				for i := range a {
					a[i] = draw()
				}
				for i := range b {
					b[i] = draw()
				}
				if Compare(a, b).Different {
					different++
				}
			}
			// 5 % of 10,000 is 500 with a standard deviation of 22.
			if different > 566 {
				t.Errorf("%s noise, %v rounds: %d of %d called different", shape, rounds, different, comparisons)
			}
			if rounds == [2]int{3, 3} && different > comparisons/28+57 {
				t.Errorf("%s noise, three rounds: %d of %d: the comment says at most 1 of 28", shape, different, comparisons)
			}
		}
	}
}

func rounds(values ...float64) Summary { return Summarize(values) }

func TestRankingNeverOrdersWhatCannotBeToldApart(t *testing.T) {
	samples := []Summary{
		rounds(900, 905, 910, 915),
		rounds(10, 11, 12, 13),
		{}, // not measured
		rounds(500, 510, 520, 530),
		rounds(505, 515, 525, 535),
	}
	r := Rank(samples)
	if !slices.Equal(r.Order, []int{1, 3, 4, 0}) || !slices.Equal(r.Ties, [][2]int{{1, 2}}) || r.Undecided {
		t.Fatalf("%+v", r)
	}
	for sample, want := range [][2]int{{4, 4}, {1, 1}, {0, 0}, {2, 3}, {2, 3}} {
		if best, worst := r.Place(sample); [2]int{best, worst} != want {
			t.Errorf("sample %d is %d to %d, want %v", sample, best, worst, want)
		}
	}
}

// a~c although a≠b and b≠c would be: b, between them, cannot be in order either.
func TestTieSpansWhatLiesBetween(t *testing.T) {
	wide := rounds(0, 4, 10, 30)
	narrow := rounds(8.1, 8.2, 8.3, 8.4)
	high := rounds(8.5, 8.6, 8.7, 40)
	r := Rank([]Summary{wide, narrow, high})
	if !slices.Equal(r.Order, []int{0, 1, 2}) || !slices.Equal(r.Ties, [][2]int{{0, 2}}) {
		t.Errorf("%+v", r)
	}
}

func TestOneRoundRanksNothing(t *testing.T) {
	r := Rank([]Summary{rounds(1), rounds(1000), rounds(1e6)})
	if !r.Undecided || !slices.Equal(r.Ties, [][2]int{{0, 2}}) {
		t.Errorf("%+v", r)
	}
}
