// Package claims puts what people repeat about numbers of connections to the test:
// each claim is predicted from the limits of this machine, measured in real trials,
// and judged by what they show.
package claims

import (
	"connbench/harness/lab"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/suite"
)

// Trial is one measurement that claims are judged by.
type Trial struct {
	Name string
	// Lab and Variant say where and what, Shows what the trial is for.
	Lab, Variant, Shows string
	Plan                plan.Plan
	// LeaveBytes, if positive, is the memory that the ramp may take. The plan's reserve
	// is set to all other memory that is available when it begins.
	LeaveBytes int64
}

// Names of the trials.
const (
	ports       = "ports"
	twoSources  = "two client addresses"
	twoPorts    = "two server ports"
	twoServers  = "two server addresses"
	fewFiles    = "1,024 descriptors"
	oneProcess  = "one process"
	oneCPU      = "80,000 on one CPU"
	firewall    = "firewall"
	leanMemory  = "memory, floor"
	plainMemory = "memory, goroutine"
	smallHost   = "512 MiB"
)

// What the trials are scaled to.
const (
	portsEach     = 2_000     // source ports of each client address, of 64,512 that there could be
	defaultFiles  = 1_024     // the usual RLIMIT_NOFILE of a process that nobody has tuned
	boasted       = 80_000    // connections of a single-threaded server
	rate          = 10_000    // messages a second
	smallBytes    = 512 << 20 // memory that connections may take
	quotedFiles   = 300_000
	quotedPorts   = 65_536
	quotedSmall   = 70_000
	quotedMillion = 1_000_000
)

// Trials are all measurements, in the order in which they are made: what connections
// take is known before memory is left for so many, and before the kernel still frees
// what a quarter of a million took.
func Trials() []Trial {
	const netns = "netns"
	few := func(p *plan.Plan) {
		p.Server.Processes = 1
		window(64)(p)
		p.Client.Sources, p.Client.FirstPort, p.Client.LastPort = 1, 20_000, 20_000+portsEach-1
	}
	return []Trial{
		of(leanMemory, lab.Local, "floor", "what a connection takes of the leanest server", oneProcessFull),
		of(plainMemory, lab.Local, "goroutine", "what a connection takes of the goroutine model", oneProcessFull),
		small(of(smallHost, lab.Local, "goroutine", "a host that has 512 MiB for connections", func(p *plan.Plan) {
			connections.RampPlan.Change(p, func(r *connections.RampTable) { r.RatePerSecond = 2_000 })
		})),
		of(ports, netns, "floor", "one client address and one server port", few),
		of(twoSources, netns, "floor", "twice the client addresses", few, func(p *plan.Plan) { p.Client.Sources = 2 }),
		of(twoPorts, netns, "floor", "twice the server's ports", few, func(p *plan.Plan) { p.Server.Ports = 2 }),
		of(twoServers, netns, "floor", "twice the server's addresses", few, func(p *plan.Plan) { p.Server.Addresses = 2 }),
		of(fewFiles, lab.Local, "floor", "a server process with the usual limit of open files", func(p *plan.Plan) {
			p.Server.Processes, p.Server.OpenFiles = 1, defaultFiles
		}),
		of(oneProcess, lab.Local, "floor", "a server process with this machine's limit of open files", func(p *plan.Plan) { p.Server.Processes = 1 }),
		of(oneCPU, lab.Local, "floor", "as many as a single-threaded server is said to hold, idle and active", func(p *plan.Plan) {
			p.Connections, p.Server.CPUs = boasted, 1
			load := loads.Load{Seconds: 5, PayloadBytes: 64, WarmupSeconds: 1}
			connections.HoldPlan.Set(p, connections.HoldTable{Seconds: 10})
			loads.EchoPlan.Set(p, loads.EchoTable{Load: load, RatePerSecond: rate})
			loads.SaturatePlan.Set(p, loads.SaturateTable{Load: load, InFlight: 256})
		}),
		of(firewall, "netns-firewall", "floor", "a stateful firewall before the server", window(512)),
	}
}

// window bounds the unfinished handshakes of a plan's ramp.
func window(n int) func(*plan.Plan) {
	return func(p *plan.Plan) {
		connections.RampPlan.Change(p, func(r *connections.RampTable) { r.Window = n })
	}
}

func of(name, lab, variant, shows string, changes ...func(*plan.Plan)) Trial {
	p := plan.Default()
	p.Name, p.Title, p.Variants, p.Connections = "claims", shows, []string{variant}, plan.Max
	connections.RampPlan.Change(&p, func(r *connections.RampTable) { r.Settled = false })
	for _, change := range changes {
		change(&p)
	}
	return Trial{Name: name, Lab: lab, Variant: variant, Shows: shows, Plan: p}
}

// oneProcessFull asks for so many connections that the slopes stand out from the
// machine's noise, and few enough for one process.
func oneProcessFull(p *plan.Plan) { p.Connections = 18_000 }

func small(t Trial) Trial {
	t.LeaveBytes = smallBytes
	return t
}

// Bytes is what a connection of the variant took of the host's memory, by the trials
// that were made before; nil where none has shown it.
func (o Outcomes) Bytes(variant string) *float64 {
	for _, name := range []string{leanMemory, plainMemory} {
		if per := o.bytes(name); per != nil && o[name].Trial.Valid && o[name].Trial.Variant == variant {
			return new(per.server + per.kernel)
		}
	}
	return nil
}

// Outcomes are the trials that could be made, by name.
type Outcomes map[string]suite.Outcome
