package cause

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"connbench/clients/control"
)

// facts are a ramp of 2,000 connections that ended at 900, but for what they say.
type facts struct {
	open        int
	stoppedBy   string
	failures    []control.Failure
	server      map[string]int64 // counters of the server's host
	clients     map[string]int64 // those of other hosts
	shortage    *Shortage
	descriptors int64 // of 1,000
	library     int
	spent       *int64
}

func (f facts) ramp() Facts {
	if f.open == 0 {
		f.open = 900
	}
	return Facts{
		Ramp: &Ramp{
			Open: f.open, Target: 2000, StoppedBy: f.stoppedBy, Failures: f.failures, TimeoutSeconds: 5,
			BudgetBytes: 1 << 30, SpentBytes: f.spent, Shortage: f.shortage,
			Descriptors: &f.descriptors, DescriptorLimit: 1000, LibraryLimit: f.library,
		},
		ServerCounters: f.server, ClientCounters: f.clients,
	}
}

func failed(phase control.Phase, err control.Error, count int64) control.Failure {
	return control.Failure{Phase: phase, Error: err, Count: count}
}

type counters = map[string]int64

// attributions are facts and the cause that they show.
var attributions = []struct {
	name  string
	facts Facts
	want  *Cause
}{
	{"all open", facts{open: 2000}.ramp(), Target},
	{"all open at the limit", facts{open: 2000, descriptors: 1000}.ramp(), Target},
	{"budget", facts{spent: new(int64(1<<30 + 1))}.ramp(), Budget},
	{"reserve", facts{stoppedBy: control.StoppedByStop, shortage: &Shortage{1 << 20, 1 << 30, ""}}.ramp(), MemoryReserve},
	{"reserve of a control group", facts{stoppedBy: control.StoppedByStop, shortage: &Shortage{1 << 20, 1 << 30, "/group"}}.ramp(), MemoryReserve},
	{"reserve, and timeouts", facts{stoppedBy: control.StoppedByServer, shortage: &Shortage{1 << 20, 1 << 30, ""},
		failures: []control.Failure{failed("handshake", "timeout", 200)}}.ramp(), MemoryReserve},
	{"server descriptors show as timeouts", facts{open: 990, descriptors: 1000, stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("handshake", "timeout", 200)}}.ramp(), ServerDescriptors},
	{"server descriptors fill the queue", facts{open: 990, descriptors: 997, stoppedBy: control.StoppedByServer, server: counters{"ListenOverflows": 900},
		failures: []control.Failure{failed("handshake", "unacknowledged", 200)}}.ramp(), ServerDescriptors},
	{"somebody is killed while server descriptors are used up", facts{descriptors: 1000, server: counters{"oom_kill": 1}}.ramp(), ServerDescriptors},
	{"a few descriptors left", facts{descriptors: 995, stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("handshake", "timeout", 200)}}.ramp(), Timeout},
	{"library cap", facts{library: 900, stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("handshake", "closed", 100)}}.ramp(), LibraryCap},
	{"client descriptors", facts{stoppedBy: control.StoppedByClient,
		failures: []control.Failure{failed("socket", "EMFILE", 1)}}.ramp(), ClientDescriptors},
	{"client descriptors, and timeouts", facts{stoppedBy: control.StoppedByClient,
		failures: []control.Failure{failed("handshake", "timeout", 80), failed("socket", "EMFILE", 1)}}.ramp(), ClientDescriptors},
	{"host descriptors", facts{stoppedBy: control.StoppedByClient,
		failures: []control.Failure{failed("socket", "ENFILE", 1)}}.ramp(), HostDescriptors},
	{"epoll watches", facts{stoppedBy: control.StoppedByClient,
		failures: []control.Failure{failed("socket", "ENOSPC", 12), failed("handshake", "ECONNRESET", 1)}}.ramp(), EpollWatches},
	{"ports", facts{stoppedBy: control.StoppedByClient,
		failures: []control.Failure{failed("bind", "EADDRNOTAVAIL", 1)}}.ramp(), ClientPorts},
	{"one port is somebody else's", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("bind", "EADDRINUSE", 1), failed("connect", "timeout", 100)}}.ramp(), Timeout},
	{"memory", facts{stoppedBy: control.StoppedByClient,
		failures: []control.Failure{failed("socket", "ENOBUFS", 1)}}.ramp(), Memory},
	{"memory, and timeouts", facts{stoppedBy: control.StoppedByClient,
		failures: []control.Failure{failed("connect", "timeout", 50), failed("handshake", "ENOMEM", 1)}}.ramp(), Memory},
	{"killed", facts{server: counters{"oom_kill": 1}}.ramp(), Memory},
	{"TCP's memory", facts{stoppedBy: control.StoppedByServer, server: counters{"TCPAbortOnMemory": 3},
		failures: []control.Failure{failed("handshake", "ECONNRESET", 100)}}.ramp(), Memory},
	{"somebody else's TCP memory", facts{stoppedBy: control.StoppedByServer, server: counters{"TCPAbortOnMemory": 3},
		failures: []control.Failure{failed("connect", "ECONNREFUSED", 100)}}.ramp(), Refused},
	{"protocol", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("handshake", "bad answer", 100)}}.ramp(), ProtocolBroken},
	{"another certificate", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("handshake", "bad certificate", 100)}}.ramp(), TLSRefused},
	{"no compression agreed on", facts{stoppedBy: control.StoppedByServer, failures: []control.Failure{failed("handshake", "no compression", 100)}}.ramp(), CompressionRefused},
	{"frames that are none", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("open", "bad frame", 100), failed("handshake", "timeout", 40)}}.ramp(), ProtocolBroken},
	{"data that nobody asked for", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("echo", "mismatch", 100)}}.ramp(), ProtocolBroken},
	{"one frame that is none", facts{stoppedBy: control.StoppedByServer, server: counters{"ListenOverflows": 120},
		failures: []control.Failure{failed("open", "bad frame", 1), failed("connect", "timeout", 100)}}.ramp(), AcceptQueue},
	{"refused", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("connect", "ECONNREFUSED", 100)}}.ramp(), Refused},
	{"unreachable", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("connect", "EHOSTUNREACH", 100)}}.ramp(), Unreachable},
	{"one message that says unreachable", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("connect", "EHOSTUNREACH", 1), failed("handshake", "timeout", 100)}}.ramp(), Timeout},
	{"tracked connections", facts{stoppedBy: control.StoppedByServer, server: counters{"conntrack_drop": 120, "RetransSegs": 9},
		clients: counters{"RetransSegs": 300}, failures: []control.Failure{failed("connect", "timeout", 100)}}.ramp(), Conntrack},
	{"somebody else's tracked connections", facts{stoppedBy: control.StoppedByServer, server: counters{"conntrack_drop": 120},
		failures: []control.Failure{failed("handshake", "timeout", 100)}}.ramp(), Timeout},
	{"accept queue", facts{stoppedBy: control.StoppedByServer, server: counters{"ListenOverflows": 120, "RetransSegs": 300},
		failures: []control.Failure{failed("handshake", "unacknowledged", 30), failed("handshake", "timeout", 70)}}.ramp(), AcceptQueue},
	{"accept queue, and resets", facts{stoppedBy: control.StoppedByServer, server: counters{"ListenOverflows": 120, "RetransSegs": 300},
		failures: []control.Failure{failed("handshake", "ECONNRESET", 70), failed("handshake", "unacknowledged", 30)}}.ramp(), AcceptQueue},
	{"full for a moment", facts{open: 120, stoppedBy: control.StoppedByServer, server: counters{"ListenOverflows": 2, "RetransSegs": 38},
		failures: []control.Failure{failed("handshake", "unacknowledged", 80)}}.ramp(), Timeout},
	{"somebody else's accept queue", facts{open: 120, stoppedBy: control.StoppedByServer, server: counters{"ListenOverflows": 200},
		failures: []control.Failure{failed("handshake", "timeout", 80)}}.ramp(), Timeout},
	{"packet loss", facts{stoppedBy: control.StoppedByServer, clients: counters{"RetransSegs": 300},
		failures: []control.Failure{failed("connect", "timeout", 100)}}.ramp(), PacketLoss},
	{"lost requests", facts{stoppedBy: control.StoppedByServer, clients: counters{"RetransSegs": 300},
		failures: []control.Failure{failed("handshake", "unacknowledged", 60), failed("handshake", "timeout", 40)}}.ramp(), PacketLoss},
	{"somebody else's packets sent again", facts{open: 120, stoppedBy: control.StoppedByServer, server: counters{"RetransSegs": 62},
		failures: []control.Failure{failed("handshake", "timeout", 80)}}.ramp(), Timeout},
	{"few packets sent again", facts{stoppedBy: control.StoppedByServer, clients: counters{"RetransSegs": 3},
		failures: []control.Failure{failed("handshake", "unacknowledged", 100)}}.ramp(), Timeout},
	{"timeout", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("connect", "timeout", 100)}}.ramp(), Timeout},
	{"one timeout, nothing sent again", facts{open: 999, stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("handshake", "timeout", 1)}}.ramp(), Timeout},
	{"rejected", facts{library: 1500, stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("handshake", "closed", 100)}}.ramp(), Rejected},
	{"client", facts{stoppedBy: control.StoppedByClient}.ramp(), ClientLimit},
	{"a policy on the client host", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("bind", "EPERM", 100)}}.ramp(), ClientLimit},
	{"an errno that nobody foresaw", facts{stoppedBy: control.StoppedByServer,
		failures: []control.Failure{failed("connect", "errno 4000", 100)}}.ramp(), Unknown},
	{"nothing known", facts{}.ramp(), Unknown},

	{"server died", Facts{Failed: "ramp: the server's output ended", ServerEnded: "server process 1 of 1 ended: exit status 3"}, ServerDied},
	{"server died, and the swarm", Facts{Failed: "ramp: ended", ServerEnded: "server ended", ClientEnded: "swarm ended"}, ServerDied},
	{"server killed", Facts{Failed: "ramp: ended", ServerEnded: "server ended: killed", ServerCounters: counters{"oom_kill": 1}}, Memory},
	{"client died", Facts{Failed: "ramp: the swarm ended", ClientEnded: "the swarm ended"}, ClientDied},
	{"client killed", Facts{Failed: "ramp: ended", ClientEnded: "the swarm ended: killed", ServerCounters: counters{"oom_kill": 1}}, Memory},
	{"somebody else is killed", Facts{Failed: "start: no answer", ServerCounters: counters{"oom_kill": 1}}, Unknown},
	{"no process to be had", Facts{Failed: "start: refused", StartRefused: "fork: resource temporarily unavailable"}, ProcessLimit},
	{"silent stats", Facts{Failed: "ramp: silent", ContractBroken: "the server did not answer stats within 60 s"}, ContractBroken},
	{"silent, since it died", Facts{Failed: "ramp: silent", ContractBroken: "no answer", ServerEnded: "server ended"}, ServerDied},
	{"host lost, and all on it", Facts{Failed: "ramp: lost", HostLost: "host server1: the connection was lost", ServerEnded: "server ended", ClientEnded: "swarm ended"}, HostLost},
	{"interrupted, and all ended", Facts{Failed: "interrupted", Interrupted: true, HostLost: "host lost", ServerEnded: "server ended"}, Interrupted},
	{"nobody knows", Facts{Failed: "start: it is Friday"}, Unknown},
}

func TestAttribute(t *testing.T) {
	for _, test := range attributions {
		t.Run(test.name, func(t *testing.T) {
			got, evidence := Attribute(test.facts)
			if got != test.want || len(evidence) == 0 || slices.Contains(evidence, "") {
				t.Errorf("%q by %q, want %q", got.Reason, evidence, test.want.Reason)
			}
		})
	}
}

func TestEveryCauseIsReached(t *testing.T) {
	reached := map[*Cause]bool{}
	for _, test := range attributions {
		reached[test.want] = true
	}
	for _, c := range All {
		if !reached[c] {
			t.Errorf("no facts show %q", c.Reason)
		}
	}
}

// The order is that of the source, however the language initializes variables.
func TestOrderIsThatOfTheSource(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "causes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	ast.Inspect(file, func(n ast.Node) bool {
		if pair, ok := n.(*ast.KeyValueExpr); ok && pair.Key.(*ast.Ident).Name == "Reason" {
			reasons = append(reasons, strings.Trim(pair.Value.(*ast.BasicLit).Value, `"`))
		}
		return true
	})
	if got := Reasons(); !slices.Equal(got, reasons) {
		t.Errorf("the order is %q,\nand in the source %q", got, reasons)
	}
	if All[len(All)-1] != Unknown {
		t.Errorf("%q comes after what takes everything", All[len(All)-1].Reason)
	}
}

// Each failure that the swarm reports is evidence of some cause, or declared to be of
// none; and no cause waits for one that cannot occur.
func TestEveryFailureIsExplained(t *testing.T) {
	explained := slices.Clone(NotOfRamp)
	for _, c := range All {
		for _, kind := range c.Failures {
			if !slices.Contains(control.FailureKinds(), kind) {
				t.Errorf("%q waits for %q, which cannot occur", c.Reason, kind)
			}
			if slices.Contains(NotOfRamp, kind) {
				t.Errorf("%q waits for %q, which comes after a ramp", c.Reason, kind)
			}
		}
		explained = append(explained, c.Failures...)
	}
	for _, kind := range control.FailureKinds() {
		if !slices.Contains(explained, kind) {
			t.Errorf("%q is evidence of no cause", kind)
		}
	}
}

// A failure that stops a ramp alone is never a riddle.
func TestNoFailureAloneIsUnknown(t *testing.T) {
	for _, kind := range control.FailureKinds() {
		by := control.StoppedByServer
		if slices.Contains(ClientPorts.Failures, kind) {
			by = control.StoppedByClient // the swarm's own rule
		}
		got, _ := Attribute(facts{stoppedBy: by, failures: []control.Failure{failed(kind.Phase, kind.Error, 100)}}.ramp())
		if known := got != Unknown; known == slices.Contains(NotOfRamp, kind) {
			t.Errorf("%q shows %q", kind, got.Reason)
		}
	}
}

// What could not go on is said once, and the cause's own sentence first.
func TestEvidence(t *testing.T) {
	for _, test := range []struct {
		facts Facts
		want  []string
	}{
		{Facts{Failed: "ramp: gone (server ended: 3)", ServerEnded: "server ended: 3"}, []string{"ramp: gone (server ended: 3)"}},
		{Facts{Failed: "ramp: no output", ServerEnded: "server ended: 3", LastWords: []string{"server says: no luck"}},
			[]string{"server ended: 3", "ramp: no output", "server says: no luck"}},
		{Facts{Failed: "who knows", ServerCounters: counters{"RetransSegs": 4}, ClientCounters: counters{"oom_kill": 1}},
			[]string{"who knows", "server host: RetransSegs +4", "client hosts: oom_kill +1"}},
		{facts{open: 17, stoppedBy: control.StoppedByServer, failures: []control.Failure{failed("connect", "ECONNREFUSED", 100), failed("bind", "EADDRINUSE", 2)}}.ramp(),
			[]string{"nothing accepts on the server's address any more, at 17 connections", "connect: ECONNREFUSED, 100 times", "bind: EADDRINUSE, 2 times"}},
	} {
		if _, got := Attribute(test.facts); !slices.Equal(got, test.want) {
			t.Errorf("evidence %q,\nwant %q", got, test.want)
		}
	}
}
