package probe

import (
	"strings"
	"testing"
)

// A QEMU that has KVM is no emulation: the two must not be taken for each other.
func TestEmulationIsToldFromVirtualisation(t *testing.T) {
	reader, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	host, _ := reader.Host("here")
	clocks, _ := reader.files.Text("sys/devices/system/clocksource/clocksource0/available_clocksource")
	if strings.Contains(clocks, "kvm-clock") && host.Emulated {
		t.Error("a host with KVM's clock is said to be emulated")
	}
	if host.Virtual == "" && host.Emulated {
		t.Error("a host without a hypervisor is said to be emulated")
	}
}
