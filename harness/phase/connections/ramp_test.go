package connections

import (
	"slices"
	"testing"

	"connbench/clients/control"
)

// The first and the last tenth of a ramp are as few steps as hold a tenth of it.
func TestTenths(t *testing.T) {
	steps := []control.Result{
		{Opened: 40, Seconds: 1}, {Opened: 60, Seconds: 1}, {Opened: 800, Seconds: 8}, {Opened: 100, Seconds: 4},
	}
	if first := rateOfTenth(slices.Values(steps), 1000); first == nil || *first != 50 {
		t.Errorf("first %v", first)
	}
	if last := rateOfTenth(backward(steps), 1000); last == nil || *last != 25 {
		t.Errorf("last %v", last)
	}
	if none := rateOfTenth(slices.Values([]control.Result{{}}), 0); none != nil {
		t.Errorf("%g a second out of nothing", *none)
	}
}
