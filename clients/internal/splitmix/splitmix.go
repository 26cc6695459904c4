// Package splitmix computes reproducible pseudo-random numbers: keys, masks and
// payloads.
package splitmix

// golden is the step of SplitMix64: 2^64 divided by the golden ratio.
const golden = 0x9E3779B97F4A7C15

// Mix returns the output of the SplitMix64 generator (Steele, Lea, Flood: Fast
// Splittable Pseudorandom Number Generators, OOPSLA 2014) for a state. Any number
// of any sequence can be computed without the ones before it.
func Mix(state uint64) uint64 {
	z := state + golden
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Unmix returns the state for which Mix returns z: Mix only permutes 64-bit numbers.
func Unmix(z uint64) uint64 {
	z = z ^ z>>31 ^ z>>62
	z *= 0x319642B2D24D8EC3 // the inverse of Mix's second factor, modulo 2^64
	z = z ^ z>>27 ^ z>>54
	z *= 0x96DE1B173F119089 // and of its first
	z = z ^ z>>30 ^ z>>60
	return z - golden
}
