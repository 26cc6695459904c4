package charts

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	figures "connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

const mib = 1 << 20

// Of draws the charts that a run has the data for. The error is of its samples'
// file.
func Of(run *record.Run) ([]Chart, error) {
	variants := slices.DeleteFunc(figures.Variants(run), func(v figures.Variant) bool { return len(v.Valid) == 0 })
	d := drawing{variants: variants, label: figures.Labels(variants)}
	var names []string
	for _, v := range variants {
		names = append(names, v.String())
	}
	d.styles = Styles(names)
	samples, err := representative(run, variants)
	if err != nil {
		return nil, err
	}
	var charts []Chart
	for _, chart := range []Chart{
		d.memory("rss", "Resident memory of the server", "per_connection.rss_bytes", false, func(s record.Step) *int64 { return s.RSSBytes }),
		d.memory("kernel", "Kernel memory above the empty server's", "per_connection.kernel_bytes", true, func(s record.Step) *int64 { return s.KernelBytes }),
		d.cost(),
		d.connectRate(samples),
		d.latency(),
		d.offered(),
		d.complexity(phase.Kept.Members(run)),
		d.cpu(samples),
	} {
		if len(chart.Series) > 0 || len(chart.Bars) > 0 {
			charts = append(charts, chart)
		}
	}
	return charts, nil
}

type drawing struct {
	variants []figures.Variant
	label    func(figures.Variant) string
	styles   map[string]Style
}

// series begins the series of a variant.
func (d drawing) series(v figures.Variant) Series {
	return Series{Variant: v.String(), Label: d.label(v), Style: d.styles[v.String()]}
}

// memory draws memory against connections: all points of all rounds, the median
// line, and how far the median of its slope is uncertain. With above, what was there
// with the empty server is taken off.
func (d drawing) memory(name, title, figure string, above bool, of func(record.Step) *int64) Chart {
	c := Chart{Name: name, Title: title,
		About: "Each mark is a pause of the ramp in one round; the line is the median fit, its band the interval of the median slope. Marks of variants stand side by side.", Dodge: true}
	var xs, ys []float64
	for _, v := range d.variants {
		s := d.series(v)
		var intercepts []float64
		widest := 0.0
		for _, trial := range v.Valid {
			base := 0.0
			if above && len(trial.Steps) > 0 && of(trial.Steps[0]) != nil {
				base = float64(*of(trial.Steps[0]))
			}
			for _, step := range trial.Steps {
				if y := of(step); y != nil && !(above && step.Connections == 0) {
					x, y := float64(step.Connections), (float64(*y)-base)/mib
					s.Points = append(s.Points, Point{x, y, fmt.Sprintf("%s: %s MiB at %s connections (round %d)",
						s.Label, table.Number(y), table.Count(step.Connections), trial.Round)})
					widest = math.Max(widest, x)
				}
			}
			if fit, ok := trial.Fits[strings.TrimPrefix(figure, "per_connection.")]; ok {
				intercepts = append(intercepts, (fit.Intercept-base)/mib)
			}
		}
		slope := v.Summary(figures.Must(figure))
		if len(s.Points) == 0 {
			continue
		}
		if slope.N() > 0 && len(intercepts) > 0 {
			at0 := stats.Summarize(intercepts).Median
			s.Line = []Point{{X: 0, Y: at0}, {X: widest, Y: at0 + slope.Median*widest/mib}}
			s.Band = []Interval{{0, at0, at0}, {widest, at0 + slope.Low*widest/mib, at0 + slope.High*widest/mib}}
		}
		s.Points = thin(s.Points)
		for _, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
		c.Series = append(c.Series, s)
	}
	c.X, c.Y = linear("connections", xs), linear("MiB", ys)
	return c
}

// most is the largest number of points that a series is drawn with.
const most = 1000

func thin(points []Point) []Point {
	stride := (len(points) + most - 1) / most
	if stride < 2 {
		return points
	}
	var some []Point
	for i := 0; i < len(points); i += stride {
		some = append(some, points[i])
	}
	return some
}

// kinds is the largest number of kinds of kernel memory that are shown by name.
const kinds = 5

// cost stacks what a connection takes, by where it lies.
func (d drawing) cost() Chart {
	c := Chart{Name: "cost", Title: "Where the bytes of a connection lie",
		About: "Medians over the rounds, one bar a variant: the server's own memory in blues, the kernel's in browns."}
	medians := map[string]float64{}
	byVariant := make([]map[string]float64, len(d.variants))
	for i, v := range d.variants {
		values := map[string][]float64{}
		for _, trial := range v.Valid {
			for kind, slope := range trial.KernelCaches {
				values[kind] = append(values[kind], slope)
			}
		}
		byVariant[i] = map[string]float64{}
		for kind, slopes := range values {
			byVariant[i][kind] = stats.Summarize(slopes).Median
			medians[kind] = math.Max(medians[kind], byVariant[i][kind])
		}
	}
	named := slices.SortedFunc(maps.Keys(medians), func(a, b string) int {
		if medians[a] != medians[b] {
			return int(math.Copysign(1, medians[b]-medians[a]))
		}
		return strings.Compare(a, b)
	})
	named = named[:min(kinds, len(named))]

	for i, title := range []string{"live heap", "heap, not live", "stack", "other of the server"} {
		c.Parts = append(c.Parts, Part{title, userColors[i]})
	}
	for i, kind := range append(slices.Clone(named), "other of the kernel") {
		c.Parts = append(c.Parts, Part{table.Plain(kind), kernelColors[i]})
	}
	var tops []float64
	for i, v := range d.variants {
		median := func(figure string) float64 {
			if s := v.Summary(figures.Must(figure)); s.N() > 0 {
				return math.Max(0, s.Median)
			}
			return 0
		}
		rss, kernel := median("per_connection.rss_bytes"), median("per_connection.kernel_bytes")
		if rss == 0 && kernel == 0 {
			continue
		}
		live, stack := median("per_connection.live_heap_bytes"), median("per_connection.stack_bytes")
		idle := math.Max(0, median("per_connection.heap_in_use_bytes")-live)
		values := []float64{live, idle, stack, math.Max(0, rss-live-idle-stack)}
		rest := kernel
		for _, kind := range named {
			part := math.Max(0, byVariant[i][kind])
			values = append(values, part)
			rest -= part
		}
		values = append(values, math.Max(0, rest))
		top := 0.0
		for _, value := range values {
			top += value
		}
		tops = append(tops, top)
		c.Bars = append(c.Bars, Bar{v.String(), d.label(v), values})
	}
	c.Y = linear("bytes per connection", tops)
	return c
}

// timeline are the samples of one trial.
type timeline struct {
	variant figures.Variant
	samples []record.Sample
}

// representative reads the samples of one trial of each variant: that whose
// connect rate is the median one.
func representative(run *record.Run, variants []figures.Variant) ([]timeline, error) {
	chosen := map[int]int{} // trial to place in lines
	var lines []timeline
	for _, v := range variants {
		trials := slices.Clone(v.Valid)
		rate := func(t *record.Trial) float64 {
			if rate := phase.ConnectRate.Of(t); rate != nil {
				return *rate
			}
			return 0
		}
		slices.SortStableFunc(trials, func(a, b *record.Trial) int { return int(math.Copysign(1, rate(a)-rate(b))) })
		chosen[trials[len(trials)/2].Trial] = len(lines)
		lines = append(lines, timeline{variant: v})
	}
	for sample, err := range run.Samples() {
		if err != nil {
			return nil, err
		}
		if at, is := chosen[sample.Trial]; is {
			lines[at].samples = append(lines[at].samples, sample)
		}
	}
	return lines, nil
}

// rampPoints is the largest number of points over a ramp: more would hide each other.
const rampPoints = 40

// connectRate draws the rate between samples of the ramp. A ramp of less than a
// few seconds has too few.
func (d drawing) connectRate(lines []timeline) Chart {
	c := Chart{Name: "connect-rate", Title: "Connect rate over the ramp",
		About: "Connections opened between two samples, or over a fortieth of the ramp where that takes more, in the round with the median rate. Pauses of the ramp are left out, and so are ramps of less than some seconds."}
	var xs, ys []float64
	for _, line := range lines {
		s := d.series(line.variant)
		span := 0
		for _, sample := range line.samples {
			span = max(span, sample.Open/rampPoints)
		}
		opened, seconds := 0, 0.0 // since the last point
		for i := 1; i < len(line.samples); i++ {
			a, b := line.samples[i-1], line.samples[i]
			if a.Phase != "ramp" || b.Phase != "ramp" || b.Open <= a.Open || b.Seconds <= a.Seconds {
				continue
			}
			opened, seconds = opened+b.Open-a.Open, seconds+b.Seconds-a.Seconds
			if opened < span {
				continue
			}
			rate := float64(opened) / seconds
			opened, seconds = 0, 0
			s.Points = append(s.Points, Point{float64(b.Open), rate, fmt.Sprintf("%s: %s conn/s at %s connections",
				s.Label, table.Number(rate), table.Count(b.Open))})
		}
		const few = 5
		if len(s.Points) < few {
			continue
		}
		s.Line = s.Points
		for _, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
		c.Series = append(c.Series, s)
	}
	c.X, c.Y = linear("connections open", xs), linear("connections per second", ys)
	return c
}

// latency draws the echo phase's latency by percentile, from the histograms of
// all rounds merged: percentiles of several rounds cannot be averaged.
func (d drawing) latency() Chart {
	c := Chart{Name: "latency", Title: "Latency of an echo by percentile",
		About: "From the moment a message was due to its whole echo, all rounds merged. Each nine of the axis takes the same room."}
	highest := 0.0
	var ys []float64
	for _, v := range d.variants {
		var merged *hdrhistogram.Histogram
		for _, trial := range v.Valid {
			echo := phase.Echo.Of(trial)
			if echo == nil {
				continue
			}
			h := decode(echo.Histogram)
			switch {
			case h == nil:
			case merged == nil:
				merged = h
			default:
				merged.Merge(h)
			}
		}
		if merged == nil || merged.TotalCount() == 0 {
			continue
		}
		s := d.series(v)
		// Beyond this share a percentile would rest on less than ten messages.
		last := 1 - 10/float64(merged.TotalCount())
		for nines := 0.1; ; nines += 0.1 {
			share := 1 - math.Pow(10, -nines)
			if share > last {
				break
			}
			us := float64(merged.ValueAtQuantile(share*100)) / 1000
			s.Points = append(s.Points, Point{share, us, fmt.Sprintf("%s: %s µs at %.*f%%", s.Label, table.Number(us), int(math.Max(0, nines-1)), share*100)})
			ys = append(ys, us)
			highest = math.Max(highest, share)
		}
		s.Line = s.Points
		if len(s.Points) > 1 {
			c.Series = append(c.Series, s)
		}
	}
	c.X, c.Y = percentiles("percentile", highest), logarithmic("µs", ys)
	return c
}

// decode reads a histogram of a record; nil where it is none. The package panics
// on some texts that are none.
func decode(text string) (h *hdrhistogram.Histogram) {
	defer func() {
		if recover() != nil {
			h = nil
		}
	}()
	h, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return nil
	}
	return h
}

// offered draws latency against the offered rate, where a run has several.
func (d drawing) offered() Chart {
	c := Chart{Name: "offered", Title: "Latency of an echo against the offered load",
		About: "The 99th percentile, the median of the rounds. A line ends with the first rate that was not kept."}
	rates := map[float64]bool{}
	var xs, ys []float64
	for _, v := range d.variants {
		p99 := map[float64][]float64{} // by the rate that was asked for
		for _, trial := range v.Valid {
			loads := []record.Load{}
			if echo := phase.Echo.Of(trial); echo != nil {
				loads = append(loads, *echo)
			}
			if sweep := phase.Sweep.Of(trial); sweep != nil {
				loads = append(loads, sweep.Loads...)
			}
			for _, load := range loads {
				if load.OfferedPerSecond != nil {
					rate := math.Round(*load.OfferedPerSecond/100) * 100 // a message more or less of a phase
					p99[rate] = append(p99[rate], load.P99US)
				}
			}
		}
		s := d.series(v)
		for _, rate := range slices.Sorted(maps.Keys(p99)) {
			y := stats.Summarize(p99[rate]).Median
			rates[rate] = true
			xs, ys = append(xs, rate), append(ys, y)
			s.Points = append(s.Points, Point{rate, y, fmt.Sprintf("%s: p99 %s µs at %s msg/s", s.Label, table.Number(y), table.Number(rate))})
		}
		s.Line = s.Points
		if len(s.Points) > 0 {
			c.Series = append(c.Series, s)
		}
	}
	if len(rates) < 2 {
		return Chart{}
	}
	c.X, c.Y = linear("messages offered per second", xs), logarithmic("µs", ys)
	return c
}

// complexity draws the connections kept against the work of a message.
func (d drawing) complexity(works []figures.Figure) Chart {
	c := Chart{Name: "complexity", Title: "Active connections kept as a message takes more work",
		About: "Medians of the rounds, and how far they are uncertain. Both axes are logarithmic; no work at all stands at the left end."}
	var xs, ys []float64
	for _, work := range works {
		xs = append(xs, work.Parameter)
	}
	var at func(work float64) float64
	c.X, at = logarithmicFrom0("CPU time that a message takes in its handler, µs", xs)
	for _, v := range d.variants {
		s := d.series(v)
		for _, work := range works {
			kept := v.Summary(work)
			if kept.N() == 0 || kept.Low <= 0 {
				continue
			}
			x := at(work.Parameter)
			s.Points = append(s.Points, Point{x, kept.Median, fmt.Sprintf("%s: %s connections at %g µs a message (%s to %s)",
				s.Label, table.Number(kept.Median), work.Parameter, table.Number(kept.Low), table.Number(kept.High))})
			s.Band = append(s.Band, Interval{x, kept.Low, kept.High})
			ys = append(ys, kept.Low, kept.High)
		}
		s.Line = s.Points
		if len(s.Points) > 0 {
			c.Series = append(c.Series, s)
		}
	}
	c.Y = logarithmic("active connections", ys)
	return c
}

// cpu draws how busy the server was through the phases. Phases take different
// times with different variants; each is given the same room.
func (d drawing) cpu(lines []timeline) Chart {
	c := Chart{Name: "cpu", Title: "CPU of the server through the phases",
		About: "CPU seconds per second between two samples, in the round with the median connect rate. Each phase is stretched to the same width."}
	order := []string{"ramp", "hold", "census", "echo", "sweep", "saturate", "close"}
	var present []string
	for _, phase := range order {
		if slices.ContainsFunc(lines, func(l timeline) bool {
			return slices.ContainsFunc(l.samples, func(s record.Sample) bool { return s.Phase == phase })
		}) {
			present = append(present, phase)
		}
	}
	var ys []float64
	for _, line := range lines {
		s := d.series(line.variant)
		for at, phase := range present {
			// The last sample before the phase is where its first difference begins.
			from := slices.IndexFunc(line.samples, func(s record.Sample) bool { return s.Phase == phase })
			if from < 0 {
				continue
			}
			to := from
			for to < len(line.samples) && line.samples[to].Phase == phase {
				to++
			}
			from = max(1, from)
			for i := from; i < to; i++ {
				a, b := line.samples[i-1], line.samples[i]
				if a.ServerCPUSeconds == nil || b.ServerCPUSeconds == nil || b.Seconds <= a.Seconds {
					continue
				}
				cores := math.Max(0, (*b.ServerCPUSeconds-*a.ServerCPUSeconds)/(b.Seconds-a.Seconds))
				x := float64(at) + (float64(i-from)+0.5)/float64(to-from)
				s.Points = append(s.Points, Point{x, cores, fmt.Sprintf("%s: %s cores in %s, %s s into the trial",
					s.Label, table.Number(cores), phase, table.Number(b.Seconds))})
				ys = append(ys, cores)
			}
		}
		if len(s.Points) < 2 {
			continue
		}
		s.Points = thin(s.Points)
		s.Line = s.Points
		c.Series = append(c.Series, s)
	}
	c.X, c.Y = Axis{Label: "phase", Max: float64(len(present))}, linear("cores", ys)
	for at, phase := range present {
		c.X.Ticks = append(c.X.Ticks, Tick{Value: float64(at)}, Tick{Value: float64(at) + 0.5, Label: phase, Quiet: true})
	}
	return c
}
