package coordinator

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
	"connbench/clients/internal/swarmtest"
	"connbench/clients/stack/stacktest"
)

func packetConfiguration(connections int, targets ...string) *control.Config {
	config := swarmtest.Configuration(connections, targets...)
	config.Engine, config.Sources = "packet", []string{stacktest.IPv4Prefix}
	if strings.HasPrefix(targets[0], "[") {
		config.Sources = []string{stacktest.IPv6Prefix}
	}
	return config
}

// devices are the names of the TUN devices in the namespace.
func devices(t *testing.T) (names []string) {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if strings.HasPrefix(link.Name, "connbench") {
			names = append(names, link.Name)
		}
	}
	return names
}

// needNamespace is for tests that make devices: none of another test is left.
func needNamespace(t *testing.T) {
	t.Helper()
	stacktest.Need(t)
	swarmtest.Eventually(t, "no device left", func() bool { return len(devices(t)) == 0 })
}

// The packet engine does all that the other one does, in one process a CPU, and
// nothing is left of its devices and routes.
func TestPacketEngine(t *testing.T) {
	needNamespace(t)
	for _, host := range []string{stacktest.IPv4Host, stacktest.IPv6Host} {
		t.Run(host, func(t *testing.T) {
			a, b := peer.Start(t, host, peer.Echo), peer.Start(t, host, peer.Echo)
			s := swarmtest.Start(t, coordinatorLimit+"=100") // descriptors do not limit it
			const connections = 500
			cpus, err := usableCPUs(nil)
			if err != nil {
				t.Fatal(err)
			}
			configured := s.Do(control.Command{Op: control.OpConfigure, Config: packetConfiguration(connections, a.Address, b.Address)})
			if configured.Processes != len(cpus) || len(devices(t)) != len(cpus) {
				t.Fatalf("%d processes and the devices %v, want %d", configured.Processes, devices(t), len(cpus))
			}
			ramp := s.Do(control.Command{Op: "ramp", Connections: connections, Window: 40})
			swarmtest.ExpectCounts(t, ramp, control.Result{Open: connections, Opened: connections})
			if a.Open() != connections/2 || b.Open() != connections/2 {
				t.Errorf("%d and %d connections at the targets", a.Open(), b.Open())
			}
			if n := swarmtest.TotalOf(t, ramp.Latency); n != connections {
				t.Errorf("%d handshakes in the histogram, want %d", n, connections)
			}
			swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "echo", RatePerSecond: 4000, PayloadBytes: 20, Seconds: 0.5}),
				control.Result{Open: connections, Offered: 2000, Sent: 2000, Delivered: 2000})
			saturate := s.Do(control.Command{Op: "saturate", InFlight: 5, PayloadBytes: 20, Seconds: 0.2})
			n := saturate.Delivered + saturate.Late
			swarmtest.ExpectCounts(t, saturate, control.Result{Open: connections, Offered: n, Sent: n, Delivered: n})
			swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "census", PayloadBytes: 20}),
				control.Result{Open: connections, Offered: connections, Sent: connections, Delivered: connections})
			swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "close", Connections: 123}), control.Result{Open: 123, Closed: connections - 123})
			swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "ramp", Connections: 200, RatePerSecond: 5000}), control.Result{Open: 200, Opened: 77})
			pids := s.Workers()
			s.ExpectExit(0)
			swarmtest.ExpectGone(t, pids)
			swarmtest.Eventually(t, "all connections gone from the servers", func() bool { return a.Open()+b.Open() == 0 })
			swarmtest.Eventually(t, "no device left", func() bool { return len(devices(t)) == 0 })
		})
	}
}

// However the swarm ends, its devices end with it.
func TestPacketEngineIsKilled(t *testing.T) {
	needNamespace(t)
	server := peer.Start(t, stacktest.IPv4Host, peer.Echo)
	s := swarmtest.Start(t)
	s.Do(control.Command{Op: control.OpConfigure, Config: packetConfiguration(100, server.Address)})
	s.Do(control.Command{Op: "ramp", Connections: 100, Window: 10})
	if len(devices(t)) == 0 {
		t.Fatal("there is no device")
	}
	if err := s.Process.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	swarmtest.Eventually(t, "no device left", func() bool { return len(devices(t)) == 0 })
}

// What prevents a start is said in one line.
func TestPacketErrors(t *testing.T) {
	needNamespace(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	_, elsewhere, _ := net.ParseCIDR("198.18.64.0/20")
	route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: elsewhere, Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteAdd(route); err != nil {
		t.Fatal(err)
	}
	defer netlink.RouteDel(route)
	target := stacktest.IPv4Host + ":9"
	for _, c := range []struct {
		source, target, want string
	}{
		{"198.19.0.0/16", target, "overlaps 198.19.0.1/32, which is local to this host (lo)"},
		{stacktest.IPv4Host, target, "overlaps 198.19.0.1/32, which is local"},
		{"127.5.0.0/24", target, "overlaps 127.0.0.0/8, which is local to this host (lo)"},
		{"198.18.64.0/18", target, "overlaps the route to 198.18.64.0/20 (lo)"},
		{"198.18.0.0/24", "127.0.0.1:9", "target 127.0.0.1:9 is a loopback address"},
		{"198.18.0.0/24", "203.0.113.1:9", "target 203.0.113.1:9 cannot be reached"},
		{"198.18.65.0/24", target, ""}, // more specific than any other
	} {
		s := swarmtest.Start(t)
		config := packetConfiguration(10, c.target)
		config.Sources = []string{c.source}
		s.Send(control.Command{Op: control.OpConfigure, Config: config})
		event := s.Last()
		if !strings.Contains(event.Error, c.want) || (event.Kind == control.KindError) != (c.want != "") || strings.Contains(event.Error, "\n") {
			t.Errorf("%+v: %+v; want %q", c, event, c.want)
		}
		s.ExpectExit(0)
		swarmtest.Eventually(t, "no device left", func() bool { return len(devices(t)) == 0 })
	}
}

// A second swarm cannot have the prefix of the first.
func TestPacketPrefixIsTaken(t *testing.T) {
	needNamespace(t)
	a, b := swarmtest.Start(t), swarmtest.Start(t)
	a.Do(control.Command{Op: control.OpConfigure, Config: packetConfiguration(10, stacktest.IPv4Host+":9")})
	b.Send(control.Command{Op: control.OpConfigure, Config: packetConfiguration(10, stacktest.IPv4Host+":9")})
	if event := b.Last(); !strings.Contains(event.Error, "overlaps the route to 198.18.0.") || !strings.Contains(event.Error, "(connbench") {
		t.Errorf("%+v", event)
	}
}

// Without the privilege there is no device, and the error says what to do.
func TestPacketNeedsPrivilege(t *testing.T) {
	needNamespace(t)
	s := swarmtest.Start(t, dropPrivilege+"=yes")
	s.Send(control.Command{Op: control.OpConfigure, Config: packetConfiguration(10, stacktest.IPv4Host+":9")})
	if event := s.Last(); !strings.Contains(event.Error, "CAP_NET_ADMIN is missing") || strings.Contains(event.Error, "\n") {
		t.Errorf("%+v", event)
	}
}
