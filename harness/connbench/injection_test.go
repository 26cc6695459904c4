package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"connbench/clients/control"
	"connbench/harness/cause"
	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/probe"
	"connbench/harness/progress"
	"connbench/harness/suite"
	"connbench/harness/variant"
	"connbench/scripts/needs"
)

// Each limit is set low in a lab of its own, and more connections are asked for than
// it allows. It must have been predicted, be reached, and be named.

// injection is a limit, and how it is set low.
type injection struct {
	name string
	// lab is "netns" unless it says otherwise, server "floor".
	lab, server string
	set         func(*plan.Plan)
	// ceiling is the number of connections that it must come to, 0: what no
	// arithmetic can tell before, such as a fault. within is how far prediction and
	// ramp may be from it, as a share.
	ceiling int
	within  float64
	reason  string
	// evidence is a part of what the record must say.
	evidence string
}

// ports are the source ports of each address in these tests.
const ports = 400

// A timeout, in seconds: no connect reaches the one, however slow the machine; the
// other is for limits that show only by it.
const patient, impatient = 60, 2

func portsOf(addresses int) func(*plan.Plan) {
	return func(p *plan.Plan) {
		p.Server.Processes = 1
		p.Client.Sources, p.Client.FirstPort, p.Client.LastPort = addresses, 20000, 20000+ports-1
	}
}

func TestLimitsArePredictedReachedAndNamed(t *testing.T) {
	needs.Namespaces(t)
	const exactly, nearly = 0, 0.02
	for _, test := range []injection{
		{name: "server descriptors", ceiling: 1500, within: nearly, reason: cause.ServerDescriptors.Reason, evidence: "RLIMIT_NOFILE allows 1500",
			set: func(p *plan.Plan) {
				p.Server.Processes, p.Server.OpenFiles = 1, 1500
				timeout(p, impatient)
			}},
		{name: "server descriptors of two processes", ceiling: 2400, within: nearly, reason: cause.ServerDescriptors.Reason, evidence: "RLIMIT_NOFILE allows 2400",
			set: func(p *plan.Plan) {
				p.Server.Processes, p.Server.OpenFiles = 2, 1200
				timeout(p, impatient)
			}},
		{name: "client descriptors", ceiling: 1500, within: nearly, reason: cause.ClientDescriptors.Reason, evidence: "EMFILE",
			set: func(p *plan.Plan) { p.Client.Processes, p.Client.OpenFiles = 1, 1500 }},
		{name: "ports of one address", ceiling: ports, within: exactly, reason: cause.ClientPorts.Reason, evidence: "EADDRNOTAVAIL",
			set: portsOf(1)},
		{name: "ports of two addresses", ceiling: 2 * ports, within: exactly, reason: cause.ClientPorts.Reason, evidence: "EADDRNOTAVAIL",
			set: portsOf(2)},
		{name: "ports, and two of the server", ceiling: 2 * ports, within: exactly, reason: cause.ClientPorts.Reason, evidence: "EADDRNOTAVAIL",
			set: func(p *plan.Plan) { portsOf(1)(p); p.Server.Ports = 2 }},
		{name: "ports, and two addresses of the server", ceiling: 2 * ports, within: exactly, reason: cause.ClientPorts.Reason, evidence: "EADDRNOTAVAIL",
			set: func(p *plan.Plan) { portsOf(1)(p); p.Server.Addresses = 2 }},
		{name: "ports, two of all", ceiling: 8 * ports, within: exactly, reason: cause.ClientPorts.Reason, evidence: "EADDRNOTAVAIL",
			set: func(p *plan.Plan) { portsOf(2)(p); p.Server.Addresses, p.Server.Ports = 2, 2 }},
		{name: "ports of two client hosts", lab: "netns-2", ceiling: 2 * ports, within: exactly, reason: cause.ClientPorts.Reason, evidence: "EADDRNOTAVAIL",
			set: portsOf(1)},
		{name: "ports of IPv6", lab: "netns-ipv6", ceiling: 2 * ports, within: exactly, reason: cause.ClientPorts.Reason, evidence: "EADDRNOTAVAIL",
			set: func(p *plan.Plan) { portsOf(1)(p); p.Server.Addresses = 2 }},
		{name: "library cap", server: "capped", ceiling: 300, within: exactly, reason: cause.LibraryCap.Reason, evidence: "its library allows 300",
			set: func(p *plan.Plan) { p.Server.Processes = 1 }},
		{name: "accept queue", server: "stops-accepting", reason: cause.AcceptQueue.Reason, evidence: "ListenOverflows",
			set: func(p *plan.Plan) {
				p.Connections, p.Server.Backlog = 400, 16
				timeout(p, impatient)
			}},
		{name: "packet loss", server: "goes-deaf", reason: cause.PacketLoss.Reason, evidence: "RetransSegs",
			set: func(p *plan.Plan) {
				p.Connections = 400
				timeout(p, impatient)
			}},
		{name: "server that dies", server: "dies-in-ramp", reason: cause.ServerDied.Reason, evidence: "out of luck at connection 40",
			set: func(p *plan.Plan) { p.Connections = 400 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

// The table of tracked connections is as large in every network namespace, and only
// the machine's own can set it.
func TestFirewallIsPredictedReachedAndNamed(t *testing.T) {
	needs.Namespaces(t)
	const most, setting = 700, "/proc/sys/net/netfilter/nf_conntrack_max"
	before, err := os.ReadFile(setting)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs a kernel that tracks connections:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(setting, before, 0); err != nil {
		t.Skip("needs to set nf_conntrack_max:", err)
	}
	setUntilEnd(t, setting, string(before), strconv.Itoa(most))
	injection{
		name: "firewall", lab: "netns-firewall", ceiling: most, within: 0.02,
		reason: cause.Conntrack.Reason, evidence: "conntrack_drop",
		set: func(p *plan.Plan) {
			p.Server.Processes = 1
			timeout(p, impatient)
		},
	}.run(t)
}

// setUntilEnd sets a file until the test ends. A process of its own puts it back, since
// the test may be killed.
func setUntilEnd(t *testing.T, file, before, value string) {
	t.Helper()
	restorer := exec.Command("sh", "-c", `cat && echo "$0" >"$1"`, strings.TrimSpace(before), file)
	restorer.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	input, err := restorer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := restorer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		if err := restorer.Wait(); err != nil {
			t.Errorf("%s is not set back to %s: %v", file, before, err)
		}
	})
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// run injects the limit, and checks what is said of it before and after.
func (i injection) run(t *testing.T) {
	t.Helper()
	p := shortPlan()
	i.set(&p)
	l := openTestLab(t, i.lab, "")
	o := experiment(t, p, l, i.server, nil)
	i.check(t, o)
}

func (i injection) check(t *testing.T, o suite.Outcome) {
	t.Helper()
	if i.ceiling > 0 {
		binding, known := o.Prediction.Binding()
		if !known || binding.Reason != i.reason {
			t.Errorf("predicted is %+v, not %s", binding, i.reason)
		}
		if known && !near(*o.Prediction.Ceiling, i.ceiling, i.within) {
			t.Errorf("predicted are %d connections, not %d within %g", *o.Prediction.Ceiling, i.ceiling, i.within)
		}
		if known && !near(int64(o.Trial.Connections.Peak), int(*o.Prediction.Ceiling), i.within) {
			t.Errorf("reached are %d connections of the %d predicted", o.Trial.Connections.Peak, *o.Prediction.Ceiling)
		}
	}
	stop := o.Trial.Stop
	if stop.Reason != i.reason || !strings.Contains(strings.Join(stop.Evidence, "\n"), i.evidence) {
		t.Errorf("at %d connections the reason is %q (evidence %q), want %q with %q", o.Trial.Connections.Peak, stop.Reason, stop.Evidence, i.reason, i.evidence)
	}
}

func near(got int64, want int, within float64) bool {
	return math.Abs(float64(got)-float64(want)) <= within*float64(want)
}

// shortPlan is a ramp beyond the predicted ceiling, and nothing else.
func shortPlan() plan.Plan {
	p := plan.Default()
	p.Name, p.Title, p.Variants, p.Connections = "injection", "A test", []string{"floor"}, plan.Max
	connections.RampPlan.Set(&p, connections.RampTable{Steps: 6, Window: 64, TimeoutSeconds: patient, PauseSeconds: 0.01})
	return p
}

// openTestLab opens a lab whose agents are run by program, or by the agent as built.
func openTestLab(t *testing.T, name, program string) *lab.Lab {
	t.Helper()
	if name == "" {
		name = "netns"
	}
	if strings.Contains(name, "ipv6") {
		needs.File(t, "/proc/net/if_inet6", "IPv6")
	}
	l, err := lab.Open(context.Background(), name, lab.Options{
		Engine:  control.EngineSocket,
		Program: filepath.Join(bin(t), "connbench"),
		Agent: func(context.Context, string) (string, error) {
			return cmp.Or(program, filepath.Join(bin(t), "connbench-agent")), nil
		},
	})
	if err != nil && strings.Contains(err.Error(), "firewall") {
		t.Skip("needs nftables in the kernel:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// experiment measures a server of testdata, or the floor.
func experiment(t *testing.T, p plan.Plan, l *lab.Lab, server string, bytes *float64) suite.Outcome {
	t.Helper()
	if err := suite.Confine(p, l); err != nil {
		t.Fatal(err)
	}
	o, err := suite.Experiment{
		Plan: p, Lab: l, Program: program(t, server), Cost: limits.Cost{ServerBytes: bytes}, Progress: progress.Discard{},
		Swarms: slices.Repeat([]string{filepath.Join(bin(t), "swarm")}, len(l.Clients)),
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// program is a server of testdata, or the floor.
func program(t *testing.T, name string) variant.Program {
	t.Helper()
	bin(t)
	return built.programs[cmp.Or(name, "floor")]
}

// What a connection of the server that hoards takes is measured first, as anybody's
// is; then memory for so many of them is left.
const hoarders = 1000

func hoardPlan() plan.Plan {
	p := shortPlan()
	// The harness looks twice a second how much memory is left.
	p.Server.Processes, p.MemoryReserveBytes = 1, 0
	rate(&p, 100)
	return p
}

func bytesOfHoarders(t *testing.T) float64 {
	t.Helper()
	p := hoardPlan()
	p.Connections = 300
	rate(&p, 0)
	per := experiment(t, p, openTestLab(t, "local", ""), "hoards", nil).Trial.PerConnection
	if per.RSSBytes == nil {
		t.Fatalf("per connection %+v", per)
	}
	return *per.RSSBytes // the kernel takes one part in a hundred more
}

func TestMemoryReserveIsPredictedReachedAndNamed(t *testing.T) {
	bytes := bytesOfHoarders(t)
	const tries = 3
	for try := 1; ; try++ {
		before := available(t)
		p := hoardPlan()
		p.MemoryReserveBytes = before - int64(hoarders*bytes)
		if p.MemoryReserveBytes < 1<<30 {
			t.Skipf("needs a GiB of memory to spare; %d bytes are available", before)
		}
		o := experiment(t, p, openTestLab(t, "local", ""), "hoards", &bytes)
		// Other programs may have taken memory meanwhile, or given some back.
		steps := o.Trial.Steps
		last := steps[len(steps)-1]
		theirs := before - *last.AvailableBytes - int64(float64(last.Connections)*bytes)
		if moved := math.Abs(float64(theirs)) / (hoarders * bytes); moved > 0.05 {
			if try < tries {
				continue
			}
			t.Skipf("needs a machine whose memory others leave alone: they moved %d bytes in %d tries", theirs, tries)
		}
		injection{ceiling: hoarders, within: 0.1, reason: cause.MemoryReserve.Reason, evidence: "MemAvailable"}.check(t, o)
		return
	}
}

func available(t *testing.T) int64 {
	t.Helper()
	reader, err := probe.Open()
	if err != nil {
		t.Fatal(err)
	}
	return *reader.System(probe.Light).Memory.Available
}

func TestMemoryOfAControlGroupIsPredictedReachedAndNamed(t *testing.T) {
	bytes := bytesOfHoarders(t)
	const programs = 32 << 20 // the agent's, the server's and the swarm's own
	group := memoryGroup(t, int64(hoarders*bytes)+programs)
	o := experiment(t, hoardPlan(), openTestLab(t, "local", confined(t, group)), "hoards", &bytes)
	injection{ceiling: hoarders, within: 0.1, reason: cause.Memory.Reason, evidence: "oom_kill"}.check(t, o)
	if i := slices.IndexFunc(o.Prediction.Limits, func(l limits.Limit) bool { return l.Where == "control group "+group }); i < 0 {
		t.Errorf("the group %s is not among the limits", group)
	}
}

// A ramp to the maximum in a group of limited memory, of which nobody knows what a
// connection takes, ends before the kernel kills.
func TestMemoryReserveOfAControlGroup(t *testing.T) {
	group := memoryGroup(t, 800<<20)
	p := hoardPlan()
	p.MemoryReserveBytes = 1 << 30 // a quarter of the group, which is less
	o := experiment(t, p, openTestLab(t, "local", confined(t, group)), "hoards", nil)
	injection{reason: cause.MemoryReserve.Reason, evidence: "control group " + group}.check(t, o)
	if kills := o.Trial.Stop.Counters["oom_kill"]; kills > 0 || !o.Trial.Valid {
		t.Errorf("%d out-of-memory kills; invalid: %q", kills, o.Trial.Invalid)
	}
}

// confined is a program that runs the agent in a control group.
func confined(t *testing.T, group string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "connbench-agent")
	text := fmt.Sprintf("#!/bin/sh\necho $$ >%s/cgroup.procs && exec %s \"$@\"\n", group, filepath.Join(bin(t), "connbench-agent"))
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return script
}

// memoryGroup makes a control group with a limit of memory, in either version.
func memoryGroup(t *testing.T, most int64) string {
	t.Helper()
	for _, version := range []struct{ root, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	} {
		group := filepath.Join(version.root, fmt.Sprintf("connbench-test-%d", os.Getpid()))
		if err := os.Mkdir(group, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(group) })
		if err := os.WriteFile(filepath.Join(group, version.limit), []byte(strconv.FormatInt(most, 10)), 0); err == nil {
			return group
		}
	}
	t.Skip("needs to make a control group with a limit of memory: no root, no memory controller, or none mounted for writing")
	return ""
}

// timeout bounds a connect with its handshake, rate paces the ramp of a plan.
func timeout(p *plan.Plan, seconds float64) {
	connections.RampPlan.Change(p, func(r *connections.RampTable) { r.TimeoutSeconds = seconds })
}

func rate(p *plan.Plan, perSecond float64) {
	connections.RampPlan.Change(p, func(r *connections.RampTable) { r.RatePerSecond = perSecond })
}
