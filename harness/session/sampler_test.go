package session

import (
	"testing"

	"connbench/harness/cause"
	"connbench/harness/reading"
)

// A ramp ends when the reserve is reached. The slab of open connections is not memory
// that is left, though MemAvailable has it; that of anything before them is.
func TestShortOfMemory(t *testing.T) {
	s := sampler{opens: true, Watch: Watch{ReserveBytes: 2 << 30}}
	memory := func(available, slab int64) reading.System {
		return reading.System{Memory: reading.Memory{Available: &available, Reclaimable: &slab}}
	}
	for _, at := range []struct {
		available, slab int64
		short           bool
	}{
		{20 << 30, 1 << 30, false},
		{15 << 30, 4 << 30, false},
		{2<<30 + 1, 1 << 29, false}, // the kernel has given some back
		{6 << 30, 5<<30 + 1, true},
	} {
		if got := s.short(memory(at.available, at.slab)); got != at.short {
			t.Errorf("with %d bytes, of which %d are slab, memory is short: %v", at.available, at.slab, got)
		}
	}
	if got := s.reserveReached(); got == nil || *got != (cause.Shortage{AvailableBytes: 2<<30 - 1, ReserveBytes: 2 << 30}) {
		t.Errorf("the ramp ended for %+v", got)
	}
	if s.short(reading.System{}) {
		t.Error("memory is short though nothing is known of it")
	}
	s.opens = false
	if s.short(memory(1<<30, 1<<30)) {
		t.Error("memory is short in a phase that does not need more")
	}
}

// A control group runs out of memory while its host has plenty. Of a small group the
// reserve is a quarter.
func TestShortOfAGroupsMemory(t *testing.T) {
	for _, at := range []struct {
		limit, used int64
		short       bool
	}{
		{8 << 30, 6 << 30, false},
		{8 << 30, 6<<30 + 1, true},
		{4 << 30, 3 << 30, false},
		{4 << 30, 3<<30 + 1, true},
		{1 << 30, 5 << 30, true}, // the limit was lowered
	} {
		s := sampler{opens: true, Watch: Watch{ReserveBytes: 2 << 30}}
		system := reading.System{Groups: reading.Groups{Memory: &reading.GroupUse{Folder: "/group", Limit: at.limit, Used: at.used}}}
		if got := s.short(system); got != at.short {
			t.Errorf("with %d of %d bytes used, memory is short: %v", at.used, at.limit, got)
		}
		if got := s.reserveReached(); at.short && (got == nil || got.Group != "/group" || got.AvailableBytes != at.limit-at.used) {
			t.Errorf("the ramp ended for %+v", got)
		}
	}
}
