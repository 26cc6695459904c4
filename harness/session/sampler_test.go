package session

import (
	"testing"

	"connbench/harness/probe"
)

// A ramp ends when the reserve is reached. The slab of open connections is not memory
// that is left, though MemAvailable has it; that of anything before them is.
func TestShortOfMemory(t *testing.T) {
	s := sampler{opens: true, Watch: Watch{ReserveBytes: 2 << 30}}
	memory := func(available, slab int64) probe.Memory {
		return probe.Memory{Available: &available, Reclaimable: &slab}
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
	if got := s.reserveReached(); got != 2<<30-1 {
		t.Errorf("the ramp ended with %d bytes left", got)
	}
	if s.short(probe.Memory{}) {
		t.Error("memory is short though nothing is known of it")
	}
	s.opens = false
	if s.short(memory(1<<30, 1<<30)) {
		t.Error("memory is short in a phase that does not need more")
	}
}
