package charts

import (
	"fmt"
	"math"
	"slices"

	"connbench/harness/charts/draw"
	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/table"
)

var _ = Add(placeRamp, Entry{
	Name: "connect-rate", Title: "Connect rate over the ramp",
	About: "Connections opened between two samples, or over a fortieth of the ramp where that takes more, in the round with the median rate. Pauses of the ramp are left out, and so are ramps of less than some seconds.",
	Draw:  drawConnectRate,
})

var _ = Add(placePhases, Entry{
	Name: "cpu", Title: "CPU of the server through the phases",
	About: "CPU seconds per second between two samples, in the round with the median connect rate. Each phase is stretched to the same width.",
	Draw:  drawCPU,
})

// Timeline are the samples of one trial.
type Timeline struct {
	Variant figure.Variant
	Samples []record.Sample
	// seen is the number of samples that there were. Every 2^halved-th is kept.
	seen, halved int
}

// connectRate is the figure whose median chooses the trial of a timeline.
const connectRate = "ramp.connects_per_second"

// timelines reads the samples of one trial of each variant: the one whose connect rate
// is the median.
func timelines(run *record.Run, variants []figure.Variant) ([]Timeline, error) {
	rate := func(t *record.Trial) float64 {
		if f, err := figure.Find(connectRate); err == nil {
			if x := f.Of(t); x != nil {
				return *x
			}
		}
		return 0
	}
	chosen := map[int]int{} // trial to place in lines
	var lines []Timeline
	for _, v := range variants {
		trials := slices.Clone(v.Valid)
		slices.SortStableFunc(trials, func(a, b *record.Trial) int { return int(math.Copysign(1, rate(a)-rate(b))) })
		chosen[trials[len(trials)/2].Trial] = len(lines)
		lines = append(lines, Timeline{Variant: v})
	}
	for sample, err := range folder.Samples(run) {
		if err != nil {
			return nil, err
		}
		if at, is := chosen[sample.Trial]; is {
			lines[at].add(sample)
		}
	}
	return lines, nil
}

// mostSamples is how many samples of a trial are kept: those of more than an hour.
const mostSamples = 10_000

// add keeps a sample. Where they become too many, every second one is kept from then
// on, and of those before.
func (t *Timeline) add(sample record.Sample) {
	if t.seen%(1<<t.halved) == 0 {
		t.Samples = append(t.Samples, sample)
	}
	t.seen++
	if len(t.Samples) < mostSamples {
		return
	}
	for i := range mostSamples / 2 {
		t.Samples[i] = t.Samples[2*i]
	}
	t.Samples = t.Samples[:mostSamples/2]
	t.halved++
}

// rampPoints is the largest number of points over a ramp: more would hide each other.
const rampPoints = 40

// drawConnectRate draws the rate between samples of the ramp. A ramp of less than a few
// seconds has too few.
func drawConnectRate(d *Drawing, c *draw.Chart) {
	var xs, ys []float64
	for _, line := range d.Timelines {
		s := d.Series(line.Variant)
		ramp := line.ramp()
		span := 0
		for _, sample := range ramp {
			span = max(span, sample.Open/rampPoints)
		}
		opened, seconds := 0, 0.0 // since the last point
		for i := 1; i < len(ramp); i++ {
			a, b := ramp[i-1], ramp[i]
			if b.Open <= a.Open || b.Seconds <= a.Seconds {
				continue
			}
			opened, seconds = opened+b.Open-a.Open, seconds+b.Seconds-a.Seconds
			if opened < span {
				continue
			}
			rate := float64(opened) / seconds
			opened, seconds = 0, 0
			s.Points = append(s.Points, draw.Point{X: float64(b.Open), Y: rate, Text: fmt.Sprintf("%s: %s conn/s at %s connections",
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
	c.X, c.Y = draw.LinearAxis("connections open", xs), draw.LinearAxis("connections per second", ys)
}

// ramp are the samples of the phase that opens connections: the first that has any.
func (t Timeline) ramp() []record.Sample {
	from := slices.IndexFunc(t.Samples, func(s record.Sample) bool { return s.Open > 0 })
	if from < 0 {
		return nil
	}
	phase := t.Samples[from].Phase
	return slices.DeleteFunc(slices.Clone(t.Samples), func(s record.Sample) bool { return s.Phase != phase })
}

// drawCPU draws how busy the server was through the phases. A phase takes different
// times with different variants; each is given the same width.
func drawCPU(d *Drawing, c *draw.Chart) {
	phases := phasesOf(d.Timelines)
	var ys []float64
	for _, line := range d.Timelines {
		s := d.Series(line.Variant)
		for at, phase := range phases {
			for _, p := range line.cores(phase) {
				s.Points = append(s.Points, draw.Point{X: float64(at) + p.X, Y: p.Y, Text: s.Label + ": " + p.Text})
				ys = append(ys, p.Y)
			}
		}
		if len(s.Points) < 2 {
			continue
		}
		s.Points = thin(s.Points)
		s.Line = s.Points
		c.Series = append(c.Series, s)
	}
	c.X, c.Y = draw.Axis{Label: "phase", Max: float64(len(phases))}, draw.LinearAxis("cores", ys)
	for at, phase := range phases {
		c.X.Ticks = append(c.X.Ticks, draw.Tick{Value: float64(at)}, draw.Tick{Value: float64(at) + 0.5, Label: plain.Line(phase), Quiet: true})
	}
}

// phasesOf are the phases that any of the lines has, in the order in which they came.
func phasesOf(lines []Timeline) []string {
	var phases []string
	for _, line := range lines {
		next := 0 // where a phase that is not known yet belongs
		for _, sample := range line.Samples {
			at := slices.Index(phases, sample.Phase)
			if at < 0 {
				at = next
				phases = slices.Insert(phases, at, sample.Phase)
			}
			next = at + 1
		}
	}
	return phases
}

// phasePoints is about the largest number of points over a phase.
const phasePoints = 60

// cores is how many CPUs the server kept busy between the samples of a phase, over the
// phase's width from 0 to 1.
func (t Timeline) cores(phase string) []draw.Point {
	from := slices.IndexFunc(t.Samples, func(s record.Sample) bool { return s.Phase == phase })
	if from < 0 {
		return nil
	}
	to := from
	for to < len(t.Samples) && t.Samples[to].Phase == phase {
		to++
	}
	from = max(1, from) // the last sample before the phase is where its first difference begins
	stride := (to-from)/phasePoints + 1
	var points []draw.Point
	for i := from; i < to; i += stride {
		end := min(to, i+stride)
		a, b := t.Samples[i-1], t.Samples[end-1]
		if a.ServerCPUSeconds == nil || b.ServerCPUSeconds == nil || b.Seconds <= a.Seconds || *b.ServerCPUSeconds < *a.ServerCPUSeconds {
			continue // a fresh server begins at 0
		}
		cores := (*b.ServerCPUSeconds - *a.ServerCPUSeconds) / (b.Seconds - a.Seconds)
		points = append(points, draw.Point{X: float64(i-from+end-from) / 2 / float64(to-from), Y: cores, Text: fmt.Sprintf("%s cores in %s, %s s into the trial",
			table.Number(cores), plain.Line(phase), table.Number(b.Seconds))})
	}
	return points
}
