package sizing

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"connbench/harness/phase/loads"
	"connbench/harness/record"
	"connbench/harness/record/recordtest"
)

// flat is a run without noise, in which floor takes 291 bytes and the kernel 5,190.
func flat(change func(*record.Trial), manifest func(*record.Manifest)) *record.Run {
	o := recordtest.Default
	o.Noise, o.Change, o.ChangeManifest = 0, change, manifest
	return recordtest.Read(o)
}

func near(t *testing.T, what string, got *Interval, want float64) {
	t.Helper()
	if got == nil || math.Abs(got.Median/want-1) > 0.02 || got.Low > got.Median || got.High < got.Median {
		t.Errorf("%s is %+v, want about %g", what, got, want)
	}
}

func of(t *testing.T, a Answer, variant string) Estimate {
	t.Helper()
	for _, e := range a.Estimates {
		if e.Variant == variant {
			return e
		}
	}
	t.Fatalf("no estimate for %s", variant)
	return Estimate{}
}

func TestConnectionsNeedMemoryCoresAndPorts(t *testing.T) {
	run := flat(nil, func(m *record.Manifest) {
		m.Hosts[0].Sysctls["net.ipv4.ip_local_port_range"] = "32768\t61000"
		m.Hosts[0].Sysctls["net.ipv4.ip_local_reserved_ports"] = "40000"
	})
	a := Of(run, Need{Connections: 1_000_000, MessagesPerSecond: 100_000})
	floor := of(t, a, "floor/tuned")
	// Both ends on one kernel: half of its 5,190 bytes.
	near(t, "memory", floor.MemoryBytes, 1e6*(291+5190/2))
	// At 5,000 a second a message costs 4.1 µs, saturated at 1e6/7.1 a second nine
	// tenths of that; 100,000 are a little less.
	share := math.Log(100_000.0/5000) / math.Log(1e6/7.1/5000)
	near(t, "cores", floor.Cores, 100_000*4.1*math.Pow(0.9, share)/1e6)
	if floor.BeyondRate >= 1 || floor.BeyondRate < 0.6 {
		t.Errorf("%g times the rate measured", floor.BeyondRate)
	}
	if math.Abs(floor.Beyond-100) > 1 || floor.Measured != 10_000 {
		t.Errorf("%g times the %d measured", floor.Beyond, floor.Measured)
	}
	// 28,232 ports: 36 pairs for a million.
	if a.PortsPerAddress != 28_232 || floor.Pairs != 36 || floor.Descriptors != 1_000_000 {
		t.Errorf("%+v", a)
	}
	if text := strings.Join(a.Assumptions, " "); !strings.Contains(text, "half of its memory") || !strings.Contains(text, "A message of 64 bytes") {
		t.Errorf("assumptions: %s", text)
	}
}

func TestMemoryAndCoresHoldConnectionsAndMessages(t *testing.T) {
	a := Of(flat(nil, nil), Need{MemoryBytes: 1 << 30, Cores: 2})
	goroutine := of(t, a, "goroutine/tuned")
	near(t, "connections", goroutine.Connections, (1<<30)/(9214+5203/2))
	near(t, "messages", goroutine.MessagesPerSecond, 2e6/(6.6*0.9)) // busy cores are saturated ones
	if goroutine.MemoryBytes != nil || goroutine.Descriptors != int(goroutine.Connections.Median) {
		t.Errorf("%+v, %+v", goroutine, a)
	}
}

// Few messages cost what few did, more than the run's saturation what that did; and
// what was not measured says so.
func TestCoresFollowTheMeasuredRates(t *testing.T) {
	run := flat(nil, nil)
	near(t, "few", of(t, Of(run, Need{Connections: 1, MessagesPerSecond: 1000}), "floor/tuned").Cores, 1000*4.1/1e6)
	many := of(t, Of(run, Need{Connections: 1, MessagesPerSecond: 1e6}), "floor/tuned")
	near(t, "many", many.Cores, 1e6*4.1*0.9/1e6)
	if math.Abs(many.BeyondRate-7.1) > 0.2 {
		t.Errorf("%g times the rate measured, want 7.1", many.BeyondRate)
	}
	run = flat(func(trial *record.Trial) { loads.Saturate.Set(trial, nil) }, nil)
	alone := of(t, Of(run, Need{Connections: 1, MessagesPerSecond: 10_000}), "floor/tuned")
	near(t, "without a saturated phase", alone.Cores, 10_000*4.1/1e6)
	if math.Abs(alone.BeyondRate-2) > 0.1 {
		t.Errorf("%g times the rate measured, want 2", alone.BeyondRate)
	}
	for bytes, want := range map[int]string{0: "", 64: "", 1000: "at least that much", 10: "at most that much"} {
		text := strings.Join(Of(run, Need{Connections: 1, MessagesPerSecond: 1, MessageBytes: bytes}).Assumptions, " ")
		if strings.Contains(text, "EXTRAPOLATED") != (want != "") || !strings.Contains(text, want) {
			t.Errorf("%d bytes: %s", bytes, text)
		}
	}
}

func TestAServerAloneOnItsKernelPaysItsEndOnly(t *testing.T) {
	run := flat(nil, func(m *record.Manifest) {
		client := m.Hosts[0]
		client.Name, client.Roles = "client", []string{record.RoleClient}
		m.Hosts[0].Roles = []string{record.RoleServer}
		m.Hosts = append(m.Hosts, client)
	})
	near(t, "bytes", of(t, Of(run, Need{Connections: 1}), "floor/tuned").BytesPerConnection, 291+5190)
}

// What a short ramp hid in memory that the process had before is not forgotten.
func TestSettledMemoryIsTheLeast(t *testing.T) {
	run := flat(func(trial *record.Trial) { *trial.PerConnection.RSSBytes = -3 }, nil)
	near(t, "bytes", of(t, Of(run, Need{Connections: 1}), "floor/tuned").BytesPerConnection, 291*0.97+5190/2)
}

func TestWhatWasNotMeasuredIsNotEstimated(t *testing.T) {
	run := flat(func(trial *record.Trial) {
		trial.PerConnection.KernelBytes, trial.CPU["echo_us"] = nil, nil
		loads.Saturate.Set(trial, nil)
	}, nil)
	e := of(t, Of(run, Need{Connections: 10, MessagesPerSecond: 10}), "floor/tuned")
	if e.MemoryBytes != nil || e.BytesPerConnection != nil || e.Cores != nil || e.Descriptors != 10 {
		t.Errorf("%+v", e)
	}
}

// Memory that fell while connections were opened is no cost: there are no capacities of
// less than nothing, and the answer says why there is none.
func TestWhatIsNoSlopeIsNotEstimated(t *testing.T) {
	run := flat(func(trial *record.Trial) {
		*trial.PerConnection.KernelBytes = -144_831
		trial.Fits["kernel_bytes"] = record.Fit{Slope: -144_831, Low: -145_000, High: -144_600}
	}, nil)
	for _, need := range []Need{{Connections: 1_000_000}, {MemoryBytes: 16 << 30}} {
		e := of(t, Of(run, need), "floor/tuned")
		if e.BytesPerConnection != nil || e.MemoryBytes != nil || need.MemoryBytes > 0 && (e.Connections != nil || e.Descriptors != 0) {
			t.Errorf("%+v", e)
		}
		if want := "kernel per connection: memory fell while connections were opened"; e.Doubt != want {
			t.Errorf("doubt %q, want %q", e.Doubt, want)
		}
	}
}

// What fits a machine does so by the upper end of its interval, in memory and in cores.
func TestFitting(t *testing.T) {
	need := Need{Connections: 100_000, MessagesPerSecond: 1000}
	a := Of(flat(nil, nil), need)
	floor := of(t, a, "floor/tuned")
	first := func(memory, cores float64) string {
		fits := a.Fitting(need, memory, cores)
		if len(fits) == 0 {
			return ""
		}
		return fits[0].Variant
	}
	if got := first(floor.MemoryBytes.High, floor.Cores.High); got != "floor/tuned" {
		t.Errorf("just enough: %q fits", got)
	}
	if got := first(floor.MemoryBytes.High-1, floor.Cores.High); got != "" {
		t.Errorf("a byte less: %q fits", got)
	}
	if got := first(floor.MemoryBytes.High, floor.Cores.High*0.999); got == "floor/tuned" {
		t.Error("with fewer cores the floor fits")
	}
}

// The answer names the cheapest, and the simplest if that is another.
func TestChoice(t *testing.T) {
	estimate := func(variant, model string, gib float64) Estimate {
		n := &Interval{gib * (1 << 30), gib * (1 << 30), gib * (1 << 30)}
		return Estimate{Variant: variant, Model: model, Connections: n, BytesPerConnection: n, MemoryBytes: n}
	}
	a := Answer{Estimates: []Estimate{
		estimate("lean", "reactor", 1), estimate("other", "reactor", 2), estimate("easy", "goroutine per connection, blocking", 3), estimate("fat", "reactor", 9),
	}}
	for memory, want := range map[float64]string{
		8:   "The cheapest that fits this machine is lean: 1.00 GiB of memory (reactor). The simplest code that fits is easy, goroutine per connection: 3.00 GiB. These fit too: other (2.00 GiB).\n\n",
		2:   "The cheapest that fits this machine is lean: 1.00 GiB of memory (reactor). These fit too: other (2.00 GiB).\n\n",
		0.5: "No variant is known to fit this machine.\n\n",
	} {
		var out bytes.Buffer
		if err := a.WriteChoice(&out, math.MaxInt, Need{Connections: 1}, memory*(1<<30), 1); err != nil || out.String() != want {
			t.Errorf("%g GiB: %q, %v", memory, out.String(), err)
		}
	}
}
