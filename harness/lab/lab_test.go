package lab

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"connbench/clients/control"
	"connbench/harness/lab/namespaces"
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
		if got, err := parseNetns(name, control.EngineSocket); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, error %v", name, got, err)
		}
	}
	for _, name := range []string{"netns-", "netns-0", "netns-255", "netns-x", "netns2", "netns-ipv6-2", "netns-firewall-2", "netns-firewall-ipv6", "netns--1", "netns-99999999999999999999",
		"netns-delay5", "netns-delay.ms", "netns-delay60001ms", "netns-loss101pct", "netns-rate1000001mbit", "netns-rate1mbit-loss1pct"} {
		if got, err := parseNetns(name, control.EngineSocket); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s is %+v, error %v", name, got, err)
		}
	}
}

func TestCPUsAreShared(t *testing.T) {
	for _, test := range []struct {
		cpus, server, client []int
	}{
		{[]int{3}, []int{3}, []int{3}},
		{[]int{0, 1}, []int{0}, []int{1}},
		{[]int{0, 2, 4}, []int{0, 2}, []int{4}},
	} {
		if server, client := split(test.cpus); !slices.Equal(server, test.server) || !slices.Equal(client, test.client) {
			t.Errorf("%v: servers on %v, clients on %v", test.cpus, server, client)
		}
	}
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

func TestClientCPUsAreCountedOnce(t *testing.T) {
	l := Lab{Clients: []Client{{CPUs: []int{2, 3}}, {CPUs: []int{1}}, {CPUs: []int{3}}}}
	if got := l.ClientCPUs(); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("CPUs %v", got)
	}
}

// What the namespace has of its own stays; what it hides comes from the machine.
func TestHiddenSettingsAreAdded(t *testing.T) {
	h := Host{
		Facts:    record.Host{Sysctls: map[string]string{"net.core.somaxconn": "128"}},
		Warnings: []string{"net.ipv4.tcp_mem: no such file or directory", "CPU model: unknown"},
	}
	h.addSettings(record.Host{Sysctls: map[string]string{"net.core.somaxconn": "4096", "net.ipv4.tcp_mem": "1 2 3"}})
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
		if got, err := parseNetns(name, control.EnginePacket); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, error %v", name, got, err)
		}
	}
}

// Without a client host there is no path for anything to befall packets on.
func TestNoPathWithoutAClientHost(t *testing.T) {
	_, err := parseNetns("netns-delay5ms", control.EnginePacket)
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "netns-1") {
		t.Errorf("error %v", err)
	}
}

func TestPacketEngineIsNotForTheLocalLab(t *testing.T) {
	_, err := Open(t.Context(), Local, control.EnginePacket, Tools{Program: "/nonexistent"})
	if !errors.Is(err, ErrEngine) || !strings.Contains(err.Error(), "LAB=netns") {
		t.Errorf("error %v", err)
	}
}

func TestNoTUN(t *testing.T) {
	err := checkTUN(filepath.Join(t.TempDir(), "tun"))
	for _, want := range []string{"engine packet needs TUN devices", "modprobe tun", "ENGINE=socket needs none"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
