package packet

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Whatever is set, moved and cancelled: what is due comes due, within a tick, and
// nothing else does; and next never says later than that.
func TestWheel(t *testing.T) {
	const capacity = 50
	r := rand.New(rand.NewPCG(1, 2))
	p, err := newFlights(capacity)
	if err != nil {
		t.Fatal(err)
	}
	defer p.release()
	var w wheel
	now := int64(12345)
	w.begin(now)
	due := map[uint32]uint32{} // flight: tick
	var flights []uint32
	for range capacity {
		flights = append(flights, p.take())
	}
	for range 20000 {
		for range r.IntN(4) {
			k := flights[r.IntN(capacity)]
			f := p.at(k)
			switch r.IntN(4) {
			case 0:
				f.retransmit, f.acknowledge = 0, 0
				delete(due, k)
			default:
				f.retransmit = w.at(now) + 1 + uint32(r.IntN(3*wheelLists))
				f.acknowledge = w.at(now) + 1 + uint32(r.IntN(30))
				if r.IntN(2) == 0 {
					f.acknowledge = 0
				}
				due[k] = f.earliest()
			}
			w.arm(&p, k)
		}
		soonest := int64(-1)
		for _, tick := range due {
			if at := w.origin + int64(tick)<<tickShift; soonest < 0 || at < soonest {
				soonest = at
			}
		}
		if next, some := w.next(); some != (soonest >= 0) && soonest >= 0 || some && soonest >= 0 && next > soonest {
			t.Fatalf("next is %d, %t, want no later than %d", next, some, soonest)
		}
		now += int64(time.Duration(r.IntN(20)) * time.Millisecond)
		if r.IntN(1000) == 0 {
			now += int64(10 * time.Second) // held up
		}
		w.advance(&p, now)
		for {
			k, ok := w.due(&p)
			if !ok {
				break
			}
			f := p.at(k)
			if tick := f.earliest(); before(w.tick, tick) {
				w.arm(&p, k) // put on
				continue
			}
			if _, expected := due[k]; !expected {
				t.Fatalf("flight %d came due, and was not to", k)
			}
			f.retransmit, f.acknowledge = 0, 0
			delete(due, k)
		}
		for k, tick := range due {
			if !before(w.at(now), tick) {
				t.Fatalf("flight %d of tick %d is not due at tick %d", k, tick, w.at(now))
			}
		}
	}
}
