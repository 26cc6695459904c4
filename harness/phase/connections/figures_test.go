package connections

import (
	"testing"

	"connbench/harness/figure"
	"connbench/harness/record"
)

// What a ramp added and its end gave back is a share of that alone.
func TestGivenBack(t *testing.T) {
	trial := &record.Trial{
		Steps: []record.Step{{RSSBytes: new(int64(100))}, {Connections: 5, RSSBytes: new(int64(300))}, {Connections: 9, RSSBytes: new(int64(500))}},
	}
	Close.Set(trial, &CloseRecord{RSSSettledBytes: new(int64(200)), KernelBytes: new(int64(7))})
	Ramp.Set(trial, &RampRecord{FirstPerSecond: new(1000.0), LastPerSecond: new(800.0)})
	if share := figure.Must("after.rss_given_back").Of(trial); share == nil || *share != 0.75 {
		t.Errorf("%v of the memory was given back", share)
	}
	if share := figure.Must("after.kernel_given_back").Of(trial); share != nil {
		t.Errorf("%v of what was not measured was given back", *share)
	}
	if share := figure.Must("ramp.last_tenth").Of(trial); share == nil || *share != 0.8 {
		t.Errorf("the last tenth is %v of the first", share)
	}
}

// What a connection costs at the end of a ramp is told apart from how fast it went.
func TestAcceptCPUGrowth(t *testing.T) {
	at := func(connections int, cpu float64) record.Step {
		return record.Step{Connections: connections, CPUSeconds: &cpu}
	}
	growth := func(points ...record.Step) *float64 {
		return figure.Must("ramp.last_tenth_accept_cpu").Of(&record.Trial{Steps: points})
	}
	// Two steps make up the first tenth, one the last.
	if got := growth(at(0, 1), at(5, 2), at(10, 3), at(90, 50), at(100, 54)); got == nil || *got != 2 {
		t.Errorf("a connection of the last tenth costs %v times one of the first, want 2", got)
	}
	unmeasured := at(90, 0)
	unmeasured.CPUSeconds = nil
	for name, got := range map[string]*float64{
		"one step":              growth(at(0, 1), at(100, 50)),
		"CPU not measured":      growth(at(0, 1), at(10, 3), unmeasured, at(100, 53)),
		"nothing was opened":    growth(at(0, 1), at(0, 3), at(0, 5)),
		"the first took no CPU": growth(at(0, 1), at(10, 1), at(100, 53)),
	} {
		if got != nil {
			t.Errorf("%s: %v", name, *got)
		}
	}
}

// More than all, or less than nothing, is given back by something else.
func TestGivenBackIsAShare(t *testing.T) {
	for left, believed := range map[int64]bool{200: true, 100: true, 93: true, 500: true, 507: true, -555: false, 80: false, 600: false} {
		trial := &record.Trial{Steps: []record.Step{{RSSBytes: new(int64(100))}, {Connections: 9, RSSBytes: new(int64(500))}}}
		Close.Set(trial, &CloseRecord{RSSSettledBytes: &left})
		share, doubt := figure.Must("after.rss_given_back").Value(trial)
		if (share != nil) != believed || (doubt == "") != believed {
			t.Errorf("%d bytes left: share %v, doubt %q", left, share, doubt)
		}
	}
}
