package reading

import "testing"

// is fails the test unless the figure is there and has this value.
func is[T comparable](t *testing.T, what string, got *T, want T) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is missing, want %v", what, want)
	} else if *got != want {
		t.Errorf("%s is %v, want %v", what, *got, want)
	}
}

func TestAvailableMemory(t *testing.T) {
	host := func(available, limit, used int64) *int64 {
		return System{Memory: Memory{Available: &available}, Groups: Groups{Memory: &GroupUse{"/group", limit, used}}}.Available()
	}
	is(t, "host the tighter", host(100, 1000, 200), 100)
	is(t, "group the tighter", host(100, 1000, 950), 50)
	is(t, "no group", System{Memory: Memory{Available: new(int64(100))}}.Available(), 100)
	if got := (System{}).Available(); got != nil {
		t.Errorf("%d bytes of an unknown host", *got)
	}
}

// What a quota did between two readings is told apart from there being none.
func TestThrottledSince(t *testing.T) {
	before := System{Groups: Groups{Throttled: &Throttled{7, 1.5}}}
	after := System{Groups: Groups{Throttled: &Throttled{9, 2}}}
	is(t, "throttled time", after.Since(before, nil).ThrottledSeconds, 0.5)
	is(t, "throttled periods", after.Since(before, nil).ThrottledPeriods, 2)
	is(t, "throttled time", after.Since(after, nil).ThrottledSeconds, 0)
	if got := after.Since(System{}, nil); got.ThrottledSeconds != nil || got.ThrottledPeriods != nil {
		t.Errorf("throttled %+v since a reading without quotas", got)
	}
}
