// Package latency keeps times in HdrHistograms: three significant digits from
// nanoseconds to ten minutes. Histograms of several processes are added up,
// count by count; nothing is averaged.
package latency

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// longest is the longest time told apart from longer ones. Every wait of the
	// swarm has a timeout that is far below.
	longest = int64(10 * time.Minute)
	digits  = 3
)

// Histogram counts times in nanoseconds.
type Histogram struct{ counts *hdrhistogram.Histogram }

// New returns an empty histogram. Memory of ranges that nothing falls into is
// never touched, and so costs nothing.
func New() *Histogram {
	return &Histogram{hdrhistogram.New(1, longest, digits)}
}

// Record counts one time. Times below 1 ns count as 0, those above ten minutes
// as ten minutes.
func (h *Histogram) Record(nanoseconds int64) { h.record(nanoseconds, 1) }

func (h *Histogram) record(nanoseconds, count int64) {
	// The error is about values out of range, and there are none.
	_ = h.counts.RecordValues(min(max(nanoseconds, 0), longest), count)
}

// Count says how often a time, in nanoseconds, was recorded.
type Count [2]int64

// Counts lists the times that were recorded: what another process needs to add
// them to its own.
func (h *Histogram) Counts() []Count {
	var counts []Count
	for _, bar := range h.counts.Distribution() {
		if bar.Count > 0 {
			counts = append(counts, Count{bar.From, bar.Count})
		}
	}
	return counts
}

// Add adds what Counts of another histogram listed.
func (h *Histogram) Add(counts []Count) {
	for _, c := range counts {
		h.record(c[0], c[1])
	}
}

// Total is the number of times recorded.
func (h *Histogram) Total() int64 { return h.counts.TotalCount() }

// Quantile returns the time, in nanoseconds, that the share q (0 to 1) of the
// times does not exceed.
func (h *Histogram) Quantile(q float64) int64 { return h.counts.ValueAtQuantile(100 * q) }

// Max returns the longest time recorded, in nanoseconds.
func (h *Histogram) Max() int64 { return h.counts.Max() }

// Encode returns the histogram in HdrHistogram's V2 compressed format, base64.
func (h *Histogram) Encode() (string, error) {
	encoded, err := h.counts.EncodeV2()
	return string(encoded), err
}
