package wheel

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever is set, moved and cancelled: what is due comes due, within a tick, and
// nothing else does; and Next never says later than that.
func TestWheel(t *testing.T) {
	const capacity = 50
	r := rand.New(rand.NewPCG(1, 2))
	now := int64(12345)
	w, err := New(capacity, now)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Release()
	due := map[uint32]uint32{} // item: tick
	for range 20000 {
		for range r.IntN(4) {
			k := 1 + uint32(r.IntN(capacity))
			switch r.IntN(4) {
			case 0:
				delete(due, k)
			default:
				due[k] = w.At(now) + 1 + uint32(r.IntN(3*lists))
				if r.IntN(2) == 0 {
					due[k] = w.At(now) + 1 + uint32(r.IntN(30))
				}
			}
			w.Arm(k, due[k])
		}
		soonest := int64(-1)
		for _, tick := range due {
			if at := w.origin + int64(tick)<<tickShift; soonest < 0 || at < soonest {
				soonest = at
			}
		}
		if next, found := w.Next(); found != (soonest >= 0) && soonest >= 0 || found && soonest >= 0 && next > soonest {
			t.Fatalf("next is %d, %t, want no later than %d", next, found, soonest)
		}
		now += int64(time.Duration(r.IntN(20)) * time.Millisecond)
		if r.IntN(1000) == 0 {
			now += int64(10 * time.Second) // held up
		}
		w.Advance(now)
		for {
			k, ok := w.Due()
			if !ok {
				break
			}
			tick, expected := due[k]
			if !expected {
				t.Fatalf("item %d came due, and was not to", k)
			}
			if !w.Passed(tick) {
				w.Arm(k, tick) // put on
				continue
			}
			delete(due, k)
		}
		for k, tick := range due {
			if !before(w.At(now), tick) {
				t.Fatalf("item %d of tick %d is not due at tick %d", k, tick, w.At(now))
			}
		}
	}
}
