package latency

import (
	"math/rand/v2"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// times spans all magnitudes, and the edges of buckets.
func times() []int64 {
	times := []int64{0, 1, 2047, 2048, 2049, 4095, 4096, longest - 1, longest}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		times = append(times, random.Int64N(1<<random.IntN(39)+1))
	}
	return times
}

// What recorders count and a histogram adds up must be what an HdrHistogram would
// have counted, to the last bucket.
func TestRecordersAreOneHistogram(t *testing.T) {
	want := hdrhistogram.New(1, longest, digits)
	recorders := []*Recorder{NewRecorder(), NewRecorder(), NewRecorder()}
	for i, time := range times() {
		if err := want.RecordValue(time); err != nil {
			t.Fatal(err)
		}
		recorders[i%3].Record(time)
	}
	got := New()
	for _, r := range recorders {
		if err := got.Add(r.Take()); err != nil {
			t.Fatal(err)
		}
		if left := r.Take(); left != nil {
			t.Errorf("after Take, %v was left", left)
		}
	}
	if !got.counts.Equals(want) {
		t.Error("the histograms differ")
	}
	if got.Total() != want.TotalCount() || got.Max() != want.Max() || got.Quantile(0.99) != want.ValueAtQuantile(99) {
		t.Errorf("total %d, max %d, p99 %d; want %d, %d, %d",
			got.Total(), got.Max(), got.Quantile(0.99), want.TotalCount(), want.Max(), want.ValueAtQuantile(99))
	}

	encoded, err := got.Encode()
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := hdrhistogram.Decode([]byte(encoded))
	if err != nil {
		t.Fatal(err)
	}
	if !decoded.Equals(want) {
		t.Error("the encoded histogram differs")
	}
}

func TestBucketsAreThreeDigitsWide(t *testing.T) {
	for _, time := range times() {
		low, next := lowest(bucket(time)), lowest(bucket(time)+1)
		if time < low || time >= next {
			t.Fatalf("%d is in bucket %d, which is %d to %d", time, bucket(time), low, next-1)
		}
		if width := next - 1 - low; width*1000 > time {
			t.Fatalf("%d is in a bucket %d wide, more than a thousandth", time, width)
		}
	}
}

func TestTimesOutOfRangeAreKept(t *testing.T) {
	r := NewRecorder()
	r.Record(-5)
	r.Record(longest * 2)
	got := r.Take()
	want := []Count{{0, 1}, {lowest(bucket(longest)), 1}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}
