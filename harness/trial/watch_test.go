package trial

import (
	"testing"

	"connbench/harness/probe"
)

// The slab of open connections is not memory that is left, though MemAvailable has
// it; that of anything before them is.
func TestLeftIsWithoutTheConnectionsSlab(t *testing.T) {
	var w watch
	for _, at := range []struct{ available, slab, want int64 }{
		{20 << 30, 1 << 30, 20 << 30},
		{15 << 30, 4 << 30, 12 << 30},
		{16 << 30, 1 << 29, 16 << 30}, // the kernel has given some back
	} {
		if got := w.left(probe.Memory{Available: &at.available, Reclaimable: &at.slab}); *got != at.want {
			t.Errorf("of %d bytes, with %d of slab, are left %d, want %d", at.available, at.slab, *got, at.want)
		}
	}
	if w.left(probe.Memory{}) != nil {
		t.Error("what is not known is not left")
	}
}
