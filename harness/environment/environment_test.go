package environment

import (
	"testing"

	"connbench/harness/probe"
)

// The limits that have a fact of their own go by the names that the probe gives them.
func TestLimitsAreTheProbes(t *testing.T) {
	if cpuQuota != probe.LimitCgroupCPUs || memoryLimit != probe.LimitCgroupMemory {
		t.Errorf("limits %q and %q", cpuQuota, memoryLimit)
	}
}
