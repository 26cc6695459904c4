package phase

import (
	"testing"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/probe"
	"connbench/harness/record"
	"connbench/harness/session"
)

func TestAttribute(t *testing.T) {
	const limit = 1000
	for _, test := range []struct {
		name        string
		open        int
		failures    []control.Failure
		stoppedBy   string
		reserve     int64
		descriptors int64
		counters    map[string]int64 // of the server's host
		clients     map[string]int64 // of other hosts
		cap         int              // of the library, for each process
		want        string
	}{
		{name: "all open", open: 2000, want: record.ReasonTarget},
		{name: "all open at the limit", open: 2000, descriptors: limit, want: record.ReasonTarget},
		{name: "reserve", open: 900, stoppedBy: "stop", reserve: 1 << 20, want: record.ReasonMemoryReserve},
		{name: "server descriptors show as timeouts", open: 990, descriptors: limit, stoppedBy: "server",
			failures: []control.Failure{{Phase: "handshake", Error: "timeout", Count: 200}}, want: record.ReasonServerDescriptors},
		{name: "client descriptors", open: 900, stoppedBy: "client limit",
			failures: []control.Failure{{Phase: "socket", Error: "EMFILE", Count: 1}}, want: record.ReasonClientDescriptors},
		{name: "host descriptors", open: 900, stoppedBy: "client limit",
			failures: []control.Failure{{Phase: "socket", Error: "ENFILE", Count: 1}}, want: record.ReasonHostDescriptors},
		{name: "epoll watches", open: 900, stoppedBy: "client limit",
			failures: []control.Failure{{Phase: "socket", Error: "ENOSPC", Count: 12}, {Phase: "handshake", Error: "ECONNRESET", Count: 1}},
			want:     record.ReasonEpollWatches},
		{name: "ports", open: 900, stoppedBy: "client limit",
			failures: []control.Failure{{Phase: "bind", Error: "EADDRNOTAVAIL", Count: 1}}, want: record.ReasonClientPorts},
		{name: "one port is somebody else's", open: 900, stoppedBy: "server",
			failures: []control.Failure{{Phase: "bind", Error: "EADDRINUSE", Count: 1}, {Phase: "connect", Error: "timeout", Count: 100}}, want: record.ReasonTimeout},
		{name: "refused", open: 900, stoppedBy: "server",
			failures: []control.Failure{{Phase: "connect", Error: "ECONNREFUSED", Count: 100}}, want: record.ReasonRefused},
		{name: "timeout", open: 900, stoppedBy: "server",
			failures: []control.Failure{{Phase: "connect", Error: "timeout", Count: 100}}, want: record.ReasonTimeout},
		{name: "tracked connections", open: 900, stoppedBy: "server", counters: map[string]int64{"conntrack_drop": 120, "RetransSegs": 9},
			clients:  map[string]int64{"RetransSegs": 300},
			failures: []control.Failure{{Phase: "connect", Error: "timeout", Count: 100}}, want: record.ReasonConntrack},
		{name: "somebody else's tracked connections", open: 900, stoppedBy: "server", counters: map[string]int64{"conntrack_drop": 120},
			failures: []control.Failure{{Phase: "handshake", Error: "timeout", Count: 100}}, want: record.ReasonTimeout},
		{name: "accept queue", open: 900, stoppedBy: "server", counters: map[string]int64{"ListenOverflows": 120, "RetransSegs": 300},
			failures: []control.Failure{{Phase: "handshake", Error: "unacknowledged", Count: 30}, {Phase: "handshake", Error: "timeout", Count: 70}},
			want:     record.ReasonAcceptQueue},
		{name: "full for a moment", open: 120, stoppedBy: "server", counters: map[string]int64{"ListenOverflows": 2, "RetransSegs": 38},
			failures: []control.Failure{{Phase: "handshake", Error: "unacknowledged", Count: 80}}, want: record.ReasonTimeout},
		{name: "somebody else's accept queue", open: 120, stoppedBy: "server", counters: map[string]int64{"ListenOverflows": 200},
			failures: []control.Failure{{Phase: "handshake", Error: "timeout", Count: 80}}, want: record.ReasonTimeout},
		{name: "packet loss", open: 900, stoppedBy: "server", clients: map[string]int64{"RetransSegs": 300},
			failures: []control.Failure{{Phase: "connect", Error: "timeout", Count: 100}}, want: record.ReasonPacketLoss},
		{name: "lost requests", open: 900, stoppedBy: "server", clients: map[string]int64{"RetransSegs": 300},
			failures: []control.Failure{{Phase: "handshake", Error: "unacknowledged", Count: 60}, {Phase: "handshake", Error: "timeout", Count: 40}},
			want:     record.ReasonPacketLoss},
		{name: "somebody else's packets sent again", open: 120, stoppedBy: "server", counters: map[string]int64{"RetransSegs": 62},
			failures: []control.Failure{{Phase: "handshake", Error: "timeout", Count: 80}}, want: record.ReasonTimeout},
		{name: "few packets sent again", open: 900, stoppedBy: "server", clients: map[string]int64{"RetransSegs": 3},
			failures: []control.Failure{{Phase: "handshake", Error: "unacknowledged", Count: 100}}, want: record.ReasonTimeout},
		{name: "one timeout, nothing sent again", open: 999, stoppedBy: "server",
			failures: []control.Failure{{Phase: "handshake", Error: "timeout", Count: 1}}, want: record.ReasonTimeout},
		{name: "TCP's memory", open: 900, stoppedBy: "server", counters: map[string]int64{"TCPAbortOnMemory": 3},
			failures: []control.Failure{{Phase: "handshake", Error: "ECONNRESET", Count: 100}}, want: record.ReasonMemory},
		{name: "library cap", open: 900, cap: 900, stoppedBy: "server",
			failures: []control.Failure{{Phase: "handshake", Error: "closed", Count: 100}}, want: record.ReasonLibraryCap},
		{name: "rejected", open: 900, cap: 1500, stoppedBy: "server",
			failures: []control.Failure{{Phase: "handshake", Error: "closed", Count: 100}}, want: record.ReasonRejected},
		{name: "memory", open: 900, stoppedBy: "client limit",
			failures: []control.Failure{{Phase: "socket", Error: "ENOBUFS", Count: 1}}, want: record.ReasonMemory},
		{name: "killed", open: 900, counters: map[string]int64{"oom_kill": 1}, want: record.ReasonMemory},
		{name: "client", open: 900, stoppedBy: "client limit", want: record.ReasonClientLimit},
		{name: "nothing known", open: 900, want: record.ReasonUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			trial := &Trial{
				Target: 2000, Topology: Topology{ServerProcesses: 1, DescriptorsPerProcess: limit, MostPerProcess: test.cap},
				Record: &record.Trial{}, Session: &session.Session{Meter: &session.Meter{}},
			}
			trial.Session.Meter.Last.Measured = agent.Measurement{Processes: []probe.Process{{Descriptors: &test.descriptors}}}
			stop := trial.attribute(control.Result{Open: test.open, Failures: test.failures, StoppedBy: test.stoppedBy}, test.reserve,
				evidence{server: test.counters, clients: test.clients})
			if stop.Reason != test.want || len(stop.Evidence) == 0 {
				t.Errorf("reason %q (evidence %q), want %q", stop.Reason, stop.Evidence, test.want)
			}
		})
	}
}
