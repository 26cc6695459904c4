package ws

// golden is the step of SplitMix64: 2^64 divided by the golden ratio.
const golden = 0x9E3779B97F4A7C15

// Mix is a step of the SplitMix64 generator (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, OOPSLA 2014) seen as a function of its state:
// any number of any sequence, without the ones before it.
func Mix(state uint64) uint64 {
	z := state + golden
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}
