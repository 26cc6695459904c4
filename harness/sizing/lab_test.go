package sizing

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"connbench/harness/lab/paper"
	"connbench/harness/record"
)

// cluster is a lab of ten clients, whose addresses have 50,000 ports each.
func cluster() *paper.Lab {
	return &paper.Lab{
		Name: "k8s", Kind: "kubernetes", Clients: 10, Sources: 10, Targets: 1, PortRange: "10000 59999",
		Server: paper.Resources{MemoryBytes: 64 << 30, Cores: 4}, Client: paper.Resources{MemoryBytes: 8 << 30},
	}
}

// atRest gives the swarm 1,000 bytes a connection and 20 µs of CPU a message.
func atRest(t *record.Trial) {
	t.Client.RSSBytes = int64(1000 * t.Connections.Reached)
	for i := range t.Phases {
		if phase := &t.Phases[i]; phase.Events > 0 {
			phase.ClientCPUSeconds = new(20e-6 * float64(phase.Events))
		}
	}
}

func TestHostsOfALab(t *testing.T) {
	run := flat(atRest, nil)
	a := Of(run, Need{Connections: 10_000_000, MessagesPerSecond: 100_000, Lab: cluster()})
	floor := of(t, a, "floor/tuned")
	about := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || math.Abs(*got/want-1) > 0.02 {
			t.Errorf("%s is %v, want about %g", what, got, want)
		}
	}
	about("memory of a client", floor.Hosts.ClientBytes, 1e6*(1000+5190/2))
	about("cores of a client", floor.Hosts.ClientCores, 10_000*20e-6)
	rate := run.Trials[0].Connections
	if floor.Hosts.ConnectSeconds == nil || *floor.Hosts.ConnectSeconds <= 0 {
		t.Errorf("connecting takes %v, with %+v", floor.Hosts.ConnectSeconds, rate)
	}
	if floor.Pairs != 200 {
		t.Errorf("%d pairs, want 10,000,000 / 50,000", floor.Pairs)
	}
	// 64 GiB hold 23.8 million of 2,886 bytes; ten clients with 8 GiB 23.9 million of 3,595.
	if want := "23,800,000: memory of the server"; floor.FirstLimit != want {
		t.Errorf("first limit %q, want %q", floor.FirstLimit, want)
	}
	small := cluster()
	small.Client.MemoryBytes = 1 << 30
	tight := of(t, Of(run, Need{Connections: 10_000_000, Lab: small}), "floor/tuned")
	if want := "2,990,000: memory of the clients"; tight.FirstLimit != want {
		t.Errorf("first limit %q, want %q", tight.FirstLimit, want)
	}
	var out bytes.Buffer
	if err := a.WriteText(&out, math.MaxInt, Need{Connections: 10_000_000, MessagesPerSecond: 100_000, Lab: cluster()}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Each client has 1,000,000 connections, and needs as many descriptors",
		"10,000,000 connections need at least 200 pairs of a client's address with an address and port of the server; one has 50,000 ports (net.ipv4.ip_local_port_range of the lab's clients).",
		"The lab has 10 pairs of these, with one port of the server: set ports = 20 in [server] of the plan, or give the clients 200 addresses in all.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if got, want := Describe(cluster()), "lab k8s (kubernetes): a server with 64.0 GiB and 4 cores, 10 clients with 8.00 GiB each"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A variant fits into a lab if the server's memory and the clients' suffice.
func TestFittingALab(t *testing.T) {
	need := Need{Connections: 10_000_000, Lab: cluster()}
	fits := func() bool {
		for _, e := range Of(flat(atRest, nil), need).Fitting(need, float64(need.Lab.Server.MemoryBytes), 4) {
			if e.Variant == "floor/tuned" {
				return true
			}
		}
		return false
	}
	if !fits() {
		t.Error("the floor does not fit into 64 GiB and 10 × 8 GiB")
	}
	need.Lab.Client.MemoryBytes = 3 << 30
	if fits() {
		t.Error("3,595,000,000 bytes fit into clients of 3 GiB")
	}
}

// Where the file says nothing of memory and ports, nothing is made of it; and the swarm of
// packets says nothing of one with sockets.
func TestWhatALabFileLeavesOpen(t *testing.T) {
	need := Need{Connections: 1_000_000, MessagesPerSecond: 1000, Lab: &paper.Lab{Name: "x", Kind: "hosts", Clients: 2}}
	run := flat(func(t *record.Trial) { t.Engine = record.EnginePacket }, nil)
	floor := of(t, Of(run, need), "floor/tuned")
	if h := floor.Hosts; h.ClientBytes != nil || h.ClientCores != nil || floor.FirstLimit != "" {
		t.Errorf("%+v, first limit %q", h, floor.FirstLimit)
	}
	if got, want := Describe(need.Lab), "lab x (hosts): a server, 2 clients"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
