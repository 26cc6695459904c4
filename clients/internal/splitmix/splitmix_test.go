package splitmix

import (
	"math/rand/v2"
	"testing"
)

// The first numbers of the generator that starts with 1234567, as in the reference
// implementation of Vigna (https://prng.di.unimi.it/splitmix64.c).
func TestMixIsSplitMix64(t *testing.T) {
	state := uint64(1234567)
	for _, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := Mix(state); got != want {
			t.Errorf("%d, want %d", got, want)
		}
		state += golden
	}
}

func TestUnmix(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, state := range []uint64{0, 1, 1 << 63, ^uint64(0), golden} {
		for range 1000 {
			if got := Unmix(Mix(state)); got != state {
				t.Fatalf("%#x becomes %#x", state, got)
			}
			state = random.Uint64()
		}
	}
}
