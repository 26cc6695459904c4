package netns

import (
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/lab/netns/namespaces"
	"connbench/harness/record"
)

func TestNamesOfNamespaceLabs(t *testing.T) {
	for name, want := range map[string]namespaces.Network{
		"netns":         {Clients: 1},
		"netns-1":       {Clients: 1},
		"netns-254":     {Clients: 254},
		"netns-ipv6":    {Clients: 1, IPv6: true},
		"netns-12-ipv6": {Clients: 12, IPv6: true},

		"netns-firewall":        {Clients: 1, Firewall: true},
		"netns-2-ipv6-firewall": {Clients: 2, IPv6: true, Firewall: true},

		"netns-delay5ms": {Clients: 1, Path: namespaces.Path{DelayMS: 5}},
		"netns-2-delay0.5ms-loss1pct-rate100mbit": {Clients: 2, Path: namespaces.Path{DelayMS: 0.5, LossPercent: 1, RateMbit: 100}},
	} {
		if got, err := parse(name, control.EngineSocket); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, error %v", name, got, err)
		}
	}
	for _, name := range []string{"netns-", "netns-0", "netns-255", "netns-x", "netns2", "netns-ipv6-2", "netns-firewall-2", "netns-firewall-ipv6", "netns--1", "netns-99999999999999999999",
		"netns-delay5", "netns-delay.ms", "netns-delay60001ms", "netns-loss101pct", "netns-rate1000001mbit", "netns-rate1mbit-loss1pct"} {
		if got, err := parse(name, control.EngineSocket); err == nil || explain.Print(io.Discard, err) != explain.StatusUsage {
			t.Errorf("%s is %+v, error %v", name, got, err)
		}
	}
}

func TestCPUsAreShared(t *testing.T) {
	// Enough for all: each has its own, and none is left over. Too few: all are used.
	for hosts := 1; hosts <= 9; hosts++ {
		cpus := []int{4, 5, 6, 7, 8}
		used := map[int]int{}
		for i := range hosts {
			own := share(cpus, i, hosts)
			if len(own) == 0 {
				t.Errorf("host %d of %d has no CPU", i, hosts)
			}
			for _, cpu := range own {
				used[cpu]++
			}
		}
		if len(used) != len(cpus) {
			t.Errorf("%d hosts use CPUs %v of %v", hosts, used, cpus)
		}
		for cpu, times := range used {
			if hosts <= len(cpus) && times != 1 {
				t.Errorf("of %d hosts, %d use CPU %d", hosts, times, cpu)
			}
		}
	}
}

// What the namespace has of its own stays; what it hides comes from the machine.
func TestHiddenSettingsAreAdded(t *testing.T) {
	h := &lab.Host{
		Facts:    record.Host{Sysctls: map[string]string{"net.core.somaxconn": "128"}},
		Warnings: []string{"net.ipv4.tcp_mem: no such file or directory", "CPU model: unknown"},
	}
	addSettings(h, record.Host{Sysctls: map[string]string{"net.core.somaxconn": "4096", "net.ipv4.tcp_mem": "1 2 3"}})
	want := map[string]string{"net.core.somaxconn": "128", "net.ipv4.tcp_mem": "1 2 3"}
	if !reflect.DeepEqual(h.Facts.Sysctls, want) || !slices.Equal(h.Warnings, []string{"CPU model: unknown"}) {
		t.Errorf("settings %v, warnings %q", h.Facts.Sysctls, h.Warnings)
	}
}

// The packet engine has a host of its own only where one is asked for.
func TestNamespacesOfThePacketEngine(t *testing.T) {
	for name, want := range map[string]namespaces.Network{
		"netns":             {Routed: true},
		"netns-ipv6":        {Routed: true, IPv6: true},
		"netns-1":           {Routed: true, Clients: 1},
		"netns-1-loss10pct": {Routed: true, Clients: 1, Path: namespaces.Path{LossPercent: 10}},
		"netns-2-ipv6":      {Routed: true, Clients: 2, IPv6: true},
	} {
		if got, err := parse(name, control.EnginePacket); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, error %v", name, got, err)
		}
	}
}

// Without a client host there is no path for anything to befall packets on.
func TestNoPathWithoutAClientHost(t *testing.T) {
	_, err := parse("netns-delay5ms", control.EnginePacket)
	if err == nil || explain.Print(io.Discard, err) != explain.StatusUsage || !strings.Contains(explain.HintOf(err), "netns-1") {
		t.Errorf("error %v", err)
	}
}
