package agent

import (
	"context"
	"os"
	"strings"
	"sync"
	"time"

	"connbench/harness/agent/programs"
	"connbench/harness/probe"
	"connbench/harness/reading"
	"connbench/harness/record"
	"connbench/servers/family"
)

type hostRequest struct {
	Name string `json:"name"`
}

// Facts are what does not change of a host while it is up.
type Facts struct {
	Host record.Host `json:"host"`
	// Warnings say what could not be read of it.
	Warnings []string `json:"warnings"`
	// Boot is the kernel's own mark (boot_id, random(4)): hosts with the same one run
	// on one kernel.
	Boot string `json:"boot"`
	// Network is the network namespace, among those of the same kernel: what
	// /proc/self/ns/net says (namespaces(7)).
	Network string `json:"network"`
}

var describing = define("host", func(s *server, r hostRequest) (f Facts, err error) {
	f.Host, f.Warnings = s.reader.Host(r.Name)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	f.Boot = strings.TrimSpace(string(boot))
	if err != nil {
		return f, err
	}
	f.Network, err = os.Readlink("/proc/self/ns/net")
	return f, err
})

// Facts reads the host's facts.
func (c *Client) Facts(ctx context.Context) (Facts, error) {
	return call(ctx, c, describing, hostRequest{c.name})
}

// Vitals are what changes of a host, and is not in the record.
type Vitals struct {
	// UnixSeconds is the time by the host's clock.
	UnixSeconds float64 `json:"unix_seconds"`
	// Programs is the folder where programs are kept, FreeBytes what may still be
	// written there.
	Programs  string `json:"programs"`
	FreeBytes int64  `json:"free_bytes"`
}

var looking = define("vitals", func(*server, none) (Vitals, error) {
	folder, free, err := programs.Space()
	return Vitals{UnixSeconds: float64(time.Now().UnixMicro()) / 1e6, Programs: folder, FreeBytes: free}, err
})

// Vitals reads the host's, and by how many seconds its clock is ahead of ours: to
// half the time that the question took.
func (c *Client) Vitals(ctx context.Context) (vitals Vitals, ahead float64, err error) {
	asked := time.Now()
	if vitals, err = call(ctx, c, looking, none{}); err != nil {
		return vitals, 0, err
	}
	took := time.Since(asked)
	middle := float64(asked.Add(took/2).UnixMicro()) / 1e6
	return vitals, vitals.UnixSeconds - middle, nil
}

var spinning = define("spin", func(*server, none) (float64, error) { return probe.Spin().Seconds(), nil })

// Spin times a fixed calculation on the host, in seconds.
func (c *Client) Spin(ctx context.Context) (float64, error) { return call(ctx, c, spinning, none{}) }

type measureRequest struct {
	Processes []int `json:"processes"`
	Detail    bool  `json:"detail"`
}

// Measurement is one reading of the host and of some of its processes.
type Measurement struct {
	System reading.System `json:"system"`
	// Processes are those that were asked for, in order, each followed by its descendants.
	// What descendants have used that have ended is an entry with PID 0.
	Processes []reading.Process `json:"processes"`
	// GroupKernelBytes is [children.Set.KernelBytes]: of all processes that were
	// started Grouped, in detailed readings; nil where there are none, or the host
	// has no such group.
	GroupKernelBytes *int64 `json:"group_kernel_bytes,omitempty"`
}

var measuring = define("measure", func(s *server, r measureRequest) (Measurement, error) {
	var m Measurement
	snapshot := sync.OnceValue(family.Snapshot) // one for all of them
	for _, process := range r.Processes {
		c, err := s.children.Child(process)
		if err != nil {
			return m, err
		}
		list, err := s.observed.ReadFamily(s.reader, process, c.PID(), snapshot, level(r.Detail))
		if err != nil {
			return m, err
		}
		m.Processes = append(m.Processes, list...)
	}
	m.System = s.reader.System(level(r.Detail))
	if r.Detail {
		m.GroupKernelBytes = s.children.KernelBytes()
	}
	return m, nil
})

// Measure reads the host and processes, with their descendants. Detail costs more and is
// for the points of a ramp, not for the ticks of a clock.
func (c *Client) Measure(ctx context.Context, processes []*Process, detail bool) (Measurement, error) {
	r := measureRequest{Detail: detail}
	for _, p := range processes {
		r.Processes = append(r.Processes, p.id)
	}
	return call(ctx, c, measuring, r)
}
