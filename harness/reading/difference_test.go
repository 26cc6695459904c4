package reading

import (
	"maps"
	"math"
	"testing"
)

func TestSince(t *testing.T) {
	seconds := func(value float64) *float64 { return &value }
	before := System{
		Clock:              100,
		Counters:           map[string]int64{"ListenDrops": 5, "OutRsts": 7},
		CPUs:               []CPU{{CPU: 0, User: 10, System: 10, SoftIRQ: 1, Steal: 1}, {CPU: 1, User: 20, System: 20, SoftIRQ: 2, Steal: 2}},
		CPUPressureSeconds: seconds(3),
	}
	after := System{
		Clock:              110,
		Counters:           map[string]int64{"ListenDrops": 6, "OutRsts": 7, "oom_kill": 4},
		CPUs:               []CPU{{CPU: 0, User: 12, System: 11, SoftIRQ: 1.5, Steal: 1}, {CPU: 1, User: 24, System: 22, SoftIRQ: 3, Steal: 4}},
		CPUPressureSeconds: seconds(5),
	}

	both := after.Since(before, nil)
	if both.Seconds != 10 || both.CPUs != 2 {
		t.Errorf("%v s of %d CPUs, want 10 s of 2", both.Seconds, both.CPUs)
	}
	if want := map[string]int64{"ListenDrops": 1}; !maps.Equal(both.Counters, want) {
		t.Errorf("counters %v, want %v: what changed and was known before", both.Counters, want)
	}
	is(t, "busy time", both.BusySeconds, 9)
	is(t, "softirq time", both.SoftIRQSeconds, 1.5)
	is(t, "stolen time", both.StealSeconds, 2)
	is(t, "stolen share", both.StealShare, 0.1)
	is(t, "CPU pressure", both.CPUPressureShare, 0.2)
	if got := after.Since(System{Clock: 100}, nil); got.CPUPressureShare != nil || got.ThrottledSeconds != nil {
		t.Errorf("CPU pressure %v, throttled time %v since a reading without them", got.CPUPressureShare, got.ThrottledSeconds)
	}

	one := after.Since(before, []int{1})
	is(t, "busy time of CPU 1", one.BusySeconds, 6)
	is(t, "stolen share of CPU 1", one.StealShare, 0.2)
	if got := one.ForeignShare(4, false); got == nil || math.Abs(*got-0.2) > 1e-9 {
		t.Errorf("foreign share %v, want 0.2: 6 s busy, 4 of them ours, in 10 s", got)
	}
	if got := one.ForeignShare(4, true); *got != *one.ForeignShare(4, false) {
		t.Errorf("foreign share %v where softirqs are not time of tasks", got)
	}
	one.SoftIRQInTasks = true
	if got := one.ForeignShare(4, true); got == nil || math.Abs(*got-0.3) > 1e-9 {
		t.Errorf("foreign share %v, want 0.3: 1 s of softirqs was some task's, too", got)
	}
	// Ours is exact, the CPUs' time is in ticks: it may seem less.
	is(t, "foreign share", one.ForeignShare(6.01, false), 0)

	if got := after.Since(before, []int{7}); got.BusySeconds != nil || got.ForeignShare(0, true) != nil {
		t.Errorf("figures of a CPU that is not there: %+v", got)
	}
}
