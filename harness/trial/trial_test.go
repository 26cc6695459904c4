package trial

import (
	"reflect"
	"slices"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/lab"
	"connbench/harness/probe"
	"connbench/harness/record"
)

func encoded(t *testing.T, values ...int64) string {
	t.Helper()
	h := hdrhistogram.New(1, 1e12, 3)
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMergeAddsHostsUp(t *testing.T) {
	got, err := merge([]control.Result{
		{Open: 10, Opened: 10, Seconds: 2, Processes: 1, Latency: encoded(t, 1000, 2000),
			Failures: []control.Failure{{Phase: "connect", Error: "timeout", Count: 2}},
			Usage:    control.Usage{UserSeconds: 1, SystemSeconds: 2, RSSBytes: 100, Busy: 0.5, LagP99Seconds: 1}},
		{Open: 5, Opened: 6, Lost: 1, Seconds: 3, Processes: 2, StoppedBy: "server", Latency: encoded(t, 3000),
			Failures: []control.Failure{{Phase: "connect", Error: "timeout", Count: 1}, {Phase: "bind", Error: "EADDRINUSE", Count: 9}},
			Usage:    control.Usage{UserSeconds: 1, SystemSeconds: 1, RSSBytes: 50, Busy: 0.9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hdrhistogram.Decode([]byte(got.Latency))
	if err != nil || h.TotalCount() != 3 || h.Max() < 2990 || h.Min() > 1010 {
		t.Errorf("merged histogram has %d values from %d to %d, error %v", h.TotalCount(), h.Min(), h.Max(), err)
	}
	got.Latency = ""
	want := control.Result{Open: 15, Opened: 16, Lost: 1, Seconds: 3, Processes: 3, StoppedBy: "server",
		Failures: []control.Failure{{Phase: "bind", Error: "EADDRINUSE", Count: 9}, {Phase: "connect", Error: "timeout", Count: 3}},
		Usage:    control.Usage{UserSeconds: 2, SystemSeconds: 3, RSSBytes: 150, Busy: 0.9, LagP99Seconds: 1}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The steps of a ramp are the same swarm, seen several times.
func TestStepsAreNotSoManySwarms(t *testing.T) {
	step := func(open, opened int, rss int64) control.Result {
		return control.Result{Open: open, Opened: opened, Processes: 2, Seconds: 1.5, Lost: 1, Latency: encoded(t, 1000),
			Usage: control.Usage{UserSeconds: 1, RSSBytes: rss, StateBytesPerConnection: 48}}
	}
	got, err := inTurn([]control.Result{step(10, 10, 100), step(20, 11, 150), step(29, 10, 120)})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := hdrhistogram.Decode([]byte(got.Latency)); err != nil || h.TotalCount() != 3 {
		t.Errorf("the histogram does not hold the three steps: error %v", err)
	}
	got.Latency = ""
	want := control.Result{Open: 29, Opened: 31, Processes: 2, Seconds: 4.5, Lost: 3,
		Usage: control.Usage{UserSeconds: 3, RSSBytes: 120, StateBytesPerConnection: 48}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPartsAddUp(t *testing.T) {
	for hosts := 1; hosts <= 5; hosts++ {
		s := &swarm{hosts: make([]*swarmHost, hosts)}
		for _, n := range []int{0, 1, 7, 10000} {
			sum := 0
			for i := range hosts {
				part := s.part(n, i)
				if part < n/hosts || part > n/hosts+1 {
					t.Errorf("host %d of %d gets %d of %d", i, hosts, part, n)
				}
				sum += part
			}
			if sum != n {
				t.Errorf("%d hosts get %d of %d", hosts, sum, n)
			}
		}
	}
}

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
			facts := record.Host{Limits: map[string]string{probe.LimitNoFileHard: "1000"}}
			r := &run{
				Input: Input{Target: 2000, ServerProcesses: 1, Lab: &lab.Lab{Server: lab.Server{Host: &lab.Host{Facts: facts}}}},
				watch: &watch{reserve: test.reserve},
			}
			r.Program.Limits.MaxConnectionsPerProcess = test.cap
			r.rampResult = control.Result{Open: test.open, Failures: test.failures, StoppedBy: test.stoppedBy}
			r.meter.last.measured = agent.Measurement{
				Processes: []probe.Process{{Descriptors: &test.descriptors}},
			}
			stop := r.attribute(evidence{server: test.counters, clients: test.clients})
			if stop.Reason != test.want || len(stop.Evidence) == 0 {
				t.Errorf("reason %q (evidence %q), want %q", stop.Reason, stop.Evidence, test.want)
			}
		})
	}
}

func TestFitLeavesTheEmptyServerOut(t *testing.T) {
	steps := []record.Step{{Connections: 0, RSSBytes: new(int64(0))}}
	for n := 1; n <= 6; n++ {
		// What the first connection costs once must not be spread over all.
		steps = append(steps, record.Step{Connections: n * 100, RSSBytes: new(int64(1<<20 + n*100*512))})
	}
	line, ok := fit(steps, func(s record.Step) *int64 { return s.RSSBytes })
	if !ok || line.Slope < 511 || line.Slope > 513 || line.Points != 6 {
		t.Errorf("fit %+v, %v", line, ok)
	}
	if _, ok := fit(steps, func(s record.Step) *int64 { return s.HeapInUseBytes }); ok {
		t.Error("a line was drawn through figures that were not taken")
	}
}

// The first and the last tenth of a ramp are as few steps as hold a tenth of it.
func TestTenths(t *testing.T) {
	steps := []control.Result{
		{Opened: 40, Seconds: 1}, {Opened: 60, Seconds: 1}, {Opened: 800, Seconds: 8}, {Opened: 100, Seconds: 4},
	}
	if first := tenth(slices.Values(steps), 1000); first == nil || *first != 50 {
		t.Errorf("first %v", first)
	}
	if last := tenth(backward(steps), 1000); last == nil || *last != 25 {
		t.Errorf("last %v", last)
	}
	if none := tenth(slices.Values([]control.Result{{}}), 0); none != nil {
		t.Errorf("%g a second out of nothing", *none)
	}
}
