package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"connbench/harness/probe/cgroup"
	"connbench/harness/reading"
)

// networkCounters are the counters of /proc/net/netstat and /proc/net/snmp that
// say why connections fail or messages are late, by the kernel's names
// (Documentation/networking/snmp_counter.rst).
var networkCounters = []struct {
	file, group string
	names       []string
}{
	{"proc/net/netstat", "TcpExt", []string{
		// A full accept or SYN queue.
		"ListenOverflows", "ListenDrops", "TCPReqQFullDrop", "TCPReqQFullDoCookies",
		"SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed", "TCPDeferAcceptDrop",
		// Memory: tcp_mem, socket buffers, orphans.
		"TCPMemoryPressures", "TCPAbortOnMemory", "TCPBacklogDrop", "TCPRcvQDrop",
		"PFMemallocDrop", "PruneCalled", "RcvPruned", "OfoPruned", "TCPOFODrop",
		"TCPZeroWindowDrop", "TCPWqueueTooBig",
		// Loss and time.
		"TCPTimeouts", "TCPSynRetrans", "TCPLostRetransmit", "TCPFastRetrans",
		"TCPSlowStartRetrans", "TCPRetransFail", "TCPAbortOnTimeout",
		// Ends.
		"TCPAbortOnData", "TCPAbortOnClose", "TCPAbortOnLinger", "TCPAbortFailed",
		"TCPTimeWaitOverflow", "EmbryonicRsts", "TCPKeepAlive",
	}},
	{"proc/net/snmp", "Tcp", []string{
		"ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "RetransSegs",
		"InErrs", "OutRsts",
	}},
}

// counters fills s.Counters: those of the network, of connection tracking as
// "conntrack_NAME", out-of-memory kills as "oom_kill", and the events of the control
// group's memory limit as "cgroup_NAME".
func (r *Reader) counters(cgroups *cgroup.Reader, s *reading.System, missing *warnings) {
	s.Counters = map[string]int64{}
	for _, source := range networkCounters {
		values, err := r.protocolCounters(source.file, source.group)
		if err != nil {
			missing.add("network counters", err)
			continue
		}
		for _, name := range source.names {
			if value, known := values[name]; known {
				s.Counters[name] = value
			}
		}
	}

	perCPU, err := r.proc.ConntrackStat()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		missing.add("connection tracking", err)
	}
	for _, cpu := range perCPU {
		s.Counters["conntrack_insert_failed"] += int64(cpu.InsertFailed)
		s.Counters["conntrack_drop"] += int64(cpu.Drop)
		s.Counters["conntrack_early_drop"] += int64(cpu.EarlyDrop)
		s.Counters["conntrack_invalid"] += int64(cpu.Invalid)
	}

	vm, err := r.files.Pairs("proc/vmstat")
	if err != nil {
		missing.add("out-of-memory kills", err)
	} else if kills, known := vm["oom_kill"]; known { // since Linux 4.13
		s.Counters["oom_kill"] = kills
	}

	if s.Groups.Memory != nil {
		events, err := cgroups.MemoryEvents()
		if err != nil {
			missing.add("events of the control group", err)
		}
		for name, value := range events {
			s.Counters["cgroup_"+name] = value
		}
	}
}

// protocolCounters reads one group of a file in which a line of names is
// followed by a line of values, both beginning with the group's name.
//
// procfs would lose counters: its Netstat (v0.23) does not know TCPAbortOnMemory and
// TCPMemoryPressures, which show that memory stopped a ramp, nor TCPBacklogDrop,
// PFMemallocDrop, TCPZeroWindowDrop, TCPAbortOnTimeout, TCPAbortOnLinger and
// TCPAbortFailed.
func (r *Reader) protocolCounters(path, group string) (map[string]int64, error) {
	content, err := os.ReadFile(r.files.Path(path))
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != group+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		if len(fields) != len(names) {
			return nil, fmt.Errorf("%s: %d names but %d values of %s", path, len(names), len(fields), group)
		}
		values := make(map[string]int64, len(names))
		for i := 1; i < len(fields); i++ {
			if values[names[i]], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
				return nil, fmt.Errorf("%s: %s is %q, not a number", path, names[i], fields[i])
			}
		}
		return values, nil
	}
	return nil, fmt.Errorf("%s: no values of %s", path, group)
}
