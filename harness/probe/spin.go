package probe

import (
	"sync/atomic"
	"time"
)

// Spin does a fixed calculation a few times, 5 to 10 ms in all on a present CPU,
// and returns the fastest time. Readings over a run show whether the host kept its
// speed: clock frequency, neighbours on the same core and stolen time change it.
func Spin() time.Duration {
	const turns = 4
	fastest := time.Duration(1<<63 - 1)
	for range turns {
		started := time.Now()
		spun.Store(xorshift(spun.Load() | 1))
		fastest = min(fastest, time.Since(started))
	}
	return fastest
}

// spun keeps the compiler from optimising the calculation away.
var spun atomic.Uint64

// xorshift steps Marsaglia's generator ("Xorshift RNGs", Journal of Statistical
// Software 8(14), 2003). Each step needs the one before, so the time is that of the
// arithmetic alone.
func xorshift(x uint64) uint64 {
	for range 1 << 20 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}
