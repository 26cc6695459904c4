package load

import (
	"math"
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/pacing"
)

// Due times are those of the definition, and every message belongs to one
// connection once.
func TestOpenLoopArithmetic(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 1000} {
		e := &openLoop{
			schedule: schedule{start: 1_000_000, offset: 0.25, pacing: pacing.Constant{Interval: 1234.5}},
			members:  make([]int32, n),
		}
		for k := range uint64(3*n + 2) {
			index, sequence := uint32(k%uint64(n)), uint32(k/uint64(n))
			if got := e.number(index, sequence); got != k {
				t.Fatalf("n=%d: message %d of %d has number %d, want %d", n, sequence, index, got, k)
			}
			if got, want := e.schedule.due(k), 1_000_000+int64((float64(k)+0.25)*1234.5); got != want {
				t.Fatalf("message %d is due at %d, want %d", k, got, want)
			}
			e.next = k
			var sum uint64
			for p := range n {
				sum += uint64(e.dueAt(uint32(p)))
			}
			if sum != k {
				t.Fatalf("n=%d: after %d messages, %d are due at the connections", n, k, sum)
			}
			if e.dueAt(index) != sequence {
				t.Fatalf("n=%d: after %d messages, %d are due at index %d, want %d", n, k, e.dueAt(index), index, sequence)
			}
		}
	}
}

// The messages of a load are as many as rate and time say, however many workers
// they are divided over.
func TestOfferedIsExact(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 54} {
		for _, rate := range []float64{1, 10, 99.5, 5000, 123456} {
			for _, seconds := range []float64{0.1, 1, 2.5, 30} {
				var total uint64
				for w := range workers {
					s, err := newSchedule(Job{
						Command: control.Command{RatePerSecond: rate / float64(workers)},
						Offset:  float64(w) / float64(workers),
					}, 0)
					if err != nil {
						t.Fatal(err)
					}
					total += s.before(seconds * 1e9)
				}
				if want := uint64(math.Ceil(rate*seconds - 1e-3)); total != want {
					t.Errorf("%d workers, %g/s for %g s: %d messages, want %d", workers, rate, seconds, total, want)
				}
			}
		}
	}
}
