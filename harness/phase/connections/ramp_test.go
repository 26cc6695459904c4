package connections

import (
	"slices"
	"testing"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/record"
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

// The latency of a handshake is a result of a ramp with a rate that was kept. In a closed
// window it is the window divided by the rate, whatever the server.
func TestHandshakeLatencyIsThatOfAnOpenLoop(t *testing.T) {
	for name, test := range map[string]struct {
		offered, rate *float64
		taken         bool
		doubt         string
	}{
		"closed window": {rate: new(20_000.0)},
		"rate kept":     {offered: new(2000.0), rate: new(1960.0), taken: true},
		"rate not kept": {offered: new(2000.0), rate: new(1500.0), doubt: "the ramp kept 1500 of 2000 connections a second"},
	} {
		trial := &record.Trial{}
		Ramp.Set(trial, &RampRecord{OfferedPerSecond: test.offered, ConnectsPerSecond: test.rate, Handshake: &record.Latency{P50US: 50, P99US: 400}})
		for figureName, want := range map[string]float64{"ramp.handshake.p50_us": 50, "ramp.handshake.p99_us": 400} {
			value, doubt := figure.Must(figureName).Value(trial)
			if (value != nil) != test.taken || test.taken && *value != want || doubt != test.doubt {
				t.Errorf("%s, %s: %v, %q", name, figureName, value, doubt)
			}
		}
	}
}
