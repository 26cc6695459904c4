package suite

import (
	"slices"
	"testing"

	"connbench/harness/record"
	"connbench/harness/variant"
)

func TestNoisyTrialRunsAgainOnce(t *testing.T) {
	first := turn{program: 3}
	if _, due := first.again(record.Trial{Trial: 7}, false); due {
		t.Error("a trial on a quiet host is run again")
	}
	second, due := first.again(record.Trial{Trial: 7, Noisy: true, Valid: true}, false)
	if !due || second != (turn{program: 3, repeats: 7}) {
		t.Errorf("after a noisy trial comes %+v, %v", second, due)
	}
	if _, due := second.again(record.Trial{Trial: 9, Noisy: true}, false); due {
		t.Error("a repetition is repeated")
	}
	if _, due := first.again(record.Trial{Trial: 7, Noisy: true}, true); due {
		t.Error("a trial on emulated CPUs is run again for its times")
	}
}

func TestOrderRotates(t *testing.T) {
	const n = 5
	first := order(n, 1, 7)
	if sorted := slices.Sorted(slices.Values(first)); !slices.Equal(sorted, []int{0, 1, 2, 3, 4}) {
		t.Fatalf("round 1 runs %v: not each variant once", first)
	}
	leads := map[int]bool{}
	for round := 1; round <= n; round++ {
		o := order(n, round, 7)
		if len(o) != n {
			t.Fatalf("round %d: %v", round, o)
		}
		leads[o[0]] = true
	}
	if len(leads) != n {
		t.Errorf("over %d rounds only variants %v came first", n, leads)
	}
	if !slices.Equal(order(n, n+1, 7), first) {
		t.Error("the rotation does not come round")
	}
	if slices.Equal(order(n, 1, 8), first) && slices.Equal(order(n, 1, 9), first) {
		t.Error("the seed does not change the order")
	}
}

// Two builds of a variant follow one another in every round, each as often first.
func TestBuildsOfAVariantAreNeighbours(t *testing.T) {
	var programs []variant.Program
	for _, name := range []string{"a", "b", "c"} {
		present := variant.Choice{Variant: variant.Variant{Name: name}, Class: variant.ClassTuned}
		programs = append(programs, variant.Program{Choice: present.At("1a2b3c4d5e")}, variant.Program{Choice: present})
	}
	for round := 1; round <= 6; round++ {
		sequence := interleave(programs, round, 7)
		if sorted := slices.Sorted(slices.Values(sequence)); !slices.Equal(sorted, []int{0, 1, 2, 3, 4, 5}) {
			t.Fatalf("round %d runs %v", round, sequence)
		}
		for i := 0; i < len(sequence); i += 2 {
			first, second := sequence[i], sequence[i+1]
			if first/2 != second/2 || (first%2 == 0) != (round%2 == 1) {
				t.Errorf("round %d: %v", round, sequence)
			}
		}
	}
	if got := interleave(programs[1:2], 1, 7); !slices.Equal(got, []int{0}) {
		t.Errorf("one program: %v", got)
	}
	// One build of each has failed the gate: those that are left are no pair.
	singles := []variant.Program{programs[0], programs[3], programs[5]}
	leads := map[int]bool{}
	for round := 1; round <= len(singles); round++ {
		leads[interleave(singles, round, 7)[0]] = true
	}
	if len(leads) != len(singles) {
		t.Errorf("over %d rounds only %v came first", len(singles), leads)
	}
}
