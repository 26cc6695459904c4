package sessiontest

import (
	"maps"
	"time"

	"connbench/harness/agent"
	"connbench/harness/reading"
	"connbench/harness/session"
	"connbench/servers/contract"
)

// hostCPUs is the number of CPUs of the scripted host.
const hostCPUs = 2

// counters are the kernel counters of the scripted hosts, all 0 at first.
var counters = []string{"ListenOverflows", "ListenDrops", "RetransSegs", "TCPAbortOnMemory", "conntrack_drop", "oom_kill"}

// host is what does not begin anew with each session.
type host struct {
	counters, elsewhere map[string]int64
	stolen, foreign     float64  // CPU seconds
	throttled           *float64 // seconds, nil without a quota
	taken               int64    // bytes
	otherSockets        int64
	timeWait            int64
	busy                float64 // CPU seconds of all sessions, without those of idle servers
	booted              time.Time
}

// world is one session: the server's process and the swarm's. Its fields are guarded
// by the script's lock.
type world struct {
	*Script
	begun   time.Time
	workUS  int
	open    int
	lost    int  // since the last command
	settled bool // since the last command
	ended   error
	words   string
	// serverCPU and swarmCPU are the CPU seconds of connects and messages.
	serverCPU, swarmCPU float64
	collections         int64
	dropped             int64
	active              int // connections that have sent messages since it settled
	messages            int64
}

func newWorld(s *Script, o session.Options) *world {
	if s.host.booted.IsZero() {
		s.host.booted = time.Now()
	}
	return &world{Script: s, begun: time.Now(), workUS: o.WorkMicroseconds}
}

// opened, delivered and closed account for what a command did.

func (w *world) opened(n int) {
	w.open += n
	w.spend(float64(n) * w.Costs.AcceptUS / 1e6)
}

func (w *world) delivered(n int64) {
	w.messages += n
	w.spend(float64(n) * (w.Costs.EchoUS + float64(w.workUS)) / 1e6)
}

func (w *world) closed(n int) {
	w.open -= n
	w.host.timeWait += int64(n)
}

// cameBack accounts for connections that were dropped and opened anew.
func (w *world) cameBack(n int) {
	w.dropped += int64(n)
	w.open -= n
	w.opened(n)
}

func (w *world) spend(seconds float64) {
	w.serverCPU += seconds
	w.swarmCPU += seconds
	w.host.busy += seconds
	if w.Shared {
		w.host.busy += seconds
	}
	w.settled = false
}

// cpuSeconds is the server's CPU time since its start.
func (w *world) cpuSeconds() float64 {
	return w.serverCPU + w.Costs.IdleCores*time.Since(w.begun).Seconds()
}

// stats are the server's answer to a question.
func (w *world) stats(question string) contract.Stats {
	if question == contract.QuestionSettle {
		w.settled, w.active = true, 0
		w.collections++
	}
	n, c := int64(w.open), w.Costs
	heap := c.Heap
	if w.settled {
		heap = c.LiveHeap
	}
	cpu := w.cpuSeconds()
	return contract.Stats{
		Connections:    n,
		HeapInUseBytes: new(1<<20 + n*heap), HeapLiveBytes: new(1<<20 + n*c.LiveHeap), StackBytes: new(1<<19 + n*c.Stack),
		Goroutines: new(4 + n),
		GCCycles:   new(w.collections), GCPauseSeconds: new(float64(w.collections) / 1e4), GCCPUSeconds: new(float64(w.collections) / 1e3),
		UserSeconds: new(cpu / 2), SystemSeconds: new(cpu / 2),
	}
}

// rss is the server's resident memory: what the connections need, and as much
// garbage as its heap has.
func (w *world) rss() int64 {
	c := w.Costs
	each := c.RSS
	if w.settled {
		each -= c.Heap - c.LiveHeap
	}
	return int64(w.Processes)*c.EmptyRSS + int64(w.open)*each + w.dropped*c.Leak + int64(w.active)*c.Active + w.messages*c.MessageLeak
}

// measure reads the host and the server's processes. The first process holds all
// connections.
func (w *world) measure(detail bool) agent.Measurement {
	n, c := int64(w.open), w.Costs
	slab, rss := w.slab(), w.rss()
	m := agent.Measurement{System: reading.System{
		Clock: time.Since(w.host.booted).Seconds(),
		Memory: reading.Memory{
			Available: new(c.TotalBytes - 2<<30 - w.host.taken - rss - slab),
			Slab:      new(slab), Reclaimable: new(int64(0)),
			KernelStacks: new(int64(1 << 20)), PageTables: new(int64(2 << 20)),
		},
		Sockets: reading.Sockets{
			Orphans: new(int64(0)), TimeWait: new(w.host.timeWait), Allocated: new(w.sockets()), BufferBytes: new(int64(0)),
		},
	}}
	for i := range w.Processes {
		p := reading.Process{PID: 1000 + i, RSSBytes: new(c.EmptyRSS), CPUSeconds: new(0.0)}
		connections := int64(0)
		if i == 0 {
			p.RSSBytes, p.CPUSeconds = new(rss-int64(w.Processes-1)*c.EmptyRSS), new(w.cpuSeconds())
			connections = n
		}
		if detail {
			p.PSSBytes, p.Descriptors, p.Threads = new(*p.RSSBytes-1<<20), new(10+connections), new(int64(6))
			p.UserSeconds, p.SystemSeconds = new(*p.CPUSeconds/2), new(*p.CPUSeconds/2)
			p.VoluntarySwitches, p.InvoluntarySwitches, p.RunDelaySeconds = new(n), new(int64(0)), new(0.0)
		}
		m.Processes = append(m.Processes, p)
	}
	if detail {
		m.GroupKernelBytes = new(n * c.Kernel)
		w.detail(&m.System)
	}
	return m
}

// detail adds what only detailed readings have.
func (w *world) detail(s *reading.System) {
	s.Slab = map[string]reading.Cache{
		"TCP":        {Bytes: w.sockets() * w.Costs.Kernel, Active: w.sockets(), ObjectBytes: w.Costs.Kernel, ShareBytes: float64(w.Costs.Kernel)},
		"kmalloc-64": {Bytes: otherSlab, Active: otherSlab / 64, ObjectBytes: 64, ShareBytes: 64},
	}
	s.NegativeDentries = new(int64(0))
	s.Counters = map[string]int64{}
	for _, name := range counters {
		s.Counters[name] = 0
	}
	maps.Copy(s.Counters, w.host.counters)
	busy := w.host.busy + w.host.foreign + w.Costs.IdleCores*s.Clock
	for i := range hostCPUs {
		s.CPUs = append(s.CPUs, reading.CPU{
			CPU: i, User: busy / 2 / hostCPUs, System: busy / 2 / hostCPUs, Steal: w.host.stolen / hostCPUs,
		})
	}
	s.CPUPressureSeconds = new(0.0)
	if w.host.throttled != nil {
		s.Groups.Throttled = &reading.Throttled{Seconds: *w.host.throttled}
	}
	s.OpenFiles, s.Tasks = new(int64(1000+w.open)), new(int64(100))
}

// otherSlab is slab memory, in bytes, that has nothing to do with connections.
const otherSlab = 64 << 20

func (w *world) slab() int64 { return otherSlab + w.sockets()*w.Costs.Kernel }

// sockets are the TCP sockets of the host.
func (w *world) sockets() int64 {
	ends := int64(w.open)
	if w.Shared {
		ends *= 2
	}
	return ends + w.host.otherSockets
}
