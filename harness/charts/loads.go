package charts

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"connbench/harness/charts/draw"
	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// Percentiles draws the latency of a load by percentile. The histograms of all rounds
// are merged, since percentiles of several rounds cannot be averaged. Rounds in which f
// is not believed are left out.
func Percentiles(f figure.Figure, of func(*record.Trial) *record.Load) func(*Drawing, *draw.Chart) {
	return func(d *Drawing, c *draw.Chart) {
		highest := 0.0
		var ys []float64
		for _, v := range d.Variants {
			merged := mergedHistogram(v, f, of)
			if merged == nil || merged.TotalCount() == 0 {
				continue
			}
			s := d.Series(v)
			// Beyond this share a percentile would rest on less than ten messages.
			last := 1 - 10/float64(merged.TotalCount())
			for nines := 0.1; ; nines += 0.1 {
				share := 1 - math.Pow(10, -nines)
				if share > last {
					break
				}
				us := float64(merged.ValueAtQuantile(share*100)) / 1000
				s.Points = append(s.Points, draw.Point{X: share, Y: us, Text: fmt.Sprintf("%s: %s µs at %.*f%%", s.Label, table.Number(us), int(math.Max(0, nines-1)), share*100)})
				ys = append(ys, us)
				highest = math.Max(highest, share)
			}
			s.Line = s.Points
			if len(s.Points) > 1 {
				c.Series = append(c.Series, s)
			}
		}
		c.X, c.Y = draw.PercentileAxis("percentile", highest), draw.LogAxis("µs", ys)
	}
}

// mergedHistogram is the histogram over the rounds of a variant, nil where there is
// none.
func mergedHistogram(v figure.Variant, f figure.Figure, of func(*record.Trial) *record.Load) *hdrhistogram.Histogram {
	var merged *hdrhistogram.Histogram
	for _, trial := range v.Valid {
		load := of(trial)
		if _, doubt := f.Value(trial); load == nil || doubt != "" {
			continue
		}
		h := decode(load.Histogram)
		switch {
		case h == nil:
		case merged == nil:
			merged = h
		default:
			merged.Merge(h)
		}
	}
	return merged
}

// decode reads a histogram of a record. It returns nil if the text is not one. The package panics
// on some such texts.
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

// Offered draws the 99th percentile of loads against the rate that was offered, where a
// run has several rates.
func Offered(of func(*record.Trial) []record.Load) func(*Drawing, *draw.Chart) {
	return func(d *Drawing, c *draw.Chart) {
		rates := map[float64]bool{}
		var xs, ys []float64
		var list []draw.Series
		for _, v := range d.Variants {
			p99 := map[float64][]float64{} // by the rate that was asked for
			for _, trial := range v.Valid {
				for _, load := range of(trial) {
					if load.OfferedPerSecond != nil {
						rate := math.Round(*load.OfferedPerSecond/100) * 100 // a phase may be a message short
						p99[rate] = append(p99[rate], load.P99US)
					}
				}
			}
			s := d.Series(v)
			for _, rate := range slices.Sorted(maps.Keys(p99)) {
				y := stats.Summarize(p99[rate]).Median
				rates[rate] = true
				xs, ys = append(xs, rate), append(ys, y)
				s.Points = append(s.Points, draw.Point{X: rate, Y: y, Text: fmt.Sprintf("%s: p99 %s µs at %s msg/s", s.Label, table.Number(y), table.Number(rate))})
			}
			s.Line = s.Points
			if len(s.Points) > 0 {
				list = append(list, s)
			}
		}
		if len(rates) < 2 {
			return
		}
		c.Series = list
		c.X, c.Y = draw.LinearAxis("messages offered per second", xs), draw.LogAxis("µs", ys)
	}
}
