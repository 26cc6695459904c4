// Package latency keeps times in HdrHistograms: three significant digits from
// nanoseconds to ten minutes. Histograms of several processes are added up,
// count by count; nothing is averaged.
//
// A worker counts in a [Recorder], which costs it little time and no memory where
// nothing falls. The coordinator adds their counts up in a [Histogram].
package latency

import (
	"math/bits"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// longest is the longest time that is distinguished from longer ones. Every wait of the
	// swarm has a timeout that is far below.
	longest = int64(10 * time.Minute)
	digits  = 3
	// subBits is the number of leading bits that tell two times apart: what
	// HdrHistogram takes for three significant digits (2^11 > 2 · 10^3).
	subBits = 11
	half    = 1 << (subBits - 1)
)

// Recorder counts times in the same buckets as a [Histogram].
type Recorder struct {
	counts []uint32
	// Buckets in use, so that the others are neither read nor cleared.
	first, last int
}

// NewRecorder returns an empty recorder.
func NewRecorder() *Recorder {
	r := &Recorder{counts: make([]uint32, bucket(longest)+1)}
	r.empty()
	return r
}

func (r *Recorder) empty() { r.first, r.last = len(r.counts), -1 }

// Record counts one time, in nanoseconds. Times below 0 count as 0, those above
// ten minutes as ten minutes.
func (r *Recorder) Record(nanoseconds int64) {
	b := bucket(min(max(nanoseconds, 0), longest))
	r.counts[b]++
	r.first, r.last = min(r.first, b), max(r.last, b)
}

// bucket is the number of the bucket of a time: below 2^11 that of its own, then
// 2^10 for each power of two.
func bucket(nanoseconds int64) int {
	shift := max(bits.Len64(uint64(nanoseconds))-subBits, 0)
	return shift*half + int(nanoseconds>>shift)
}

// lowest is the lowest time in a bucket.
func lowest(bucket int) int64 {
	shift := max(bucket/half-1, 0)
	return int64(bucket-shift*half) << shift
}

// Count says how often a time, in nanoseconds, was recorded.
type Count [2]int64

// Take lists the times that were recorded, and forgets them.
func (r *Recorder) Take() []Count {
	var counts []Count
	for b := r.first; b <= r.last; b++ {
		if n := r.counts[b]; n > 0 {
			counts = append(counts, Count{lowest(b), int64(n)})
			r.counts[b] = 0
		}
	}
	r.empty()
	return counts
}

// Histogram is an HdrHistogram of times in nanoseconds.
type Histogram struct{ counts *hdrhistogram.Histogram }

// New returns an empty histogram.
func New() *Histogram { return &Histogram{hdrhistogram.New(1, longest, digits)} }

// Add adds what a recorder has counted.
func (h *Histogram) Add(counts []Count) error {
	for _, c := range counts {
		if err := h.counts.RecordValues(c[0], c[1]); err != nil {
			return err
		}
	}
	return nil
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
