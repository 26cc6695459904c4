package trial

import (
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"connbench/clients/control"
	"connbench/harness/record"
	"connbench/harness/stats"
)

// From these on a trial is marked as noisy: the host gave somebody else more of
// its CPUs, or ran slower, than the differences that one wants to see.
const (
	noisySteal   = 0.05
	noisyForeign = 0.15
	noisySpin    = 1.25
)

// boundBusy is the share of time from which an event loop counts as saturated.
const boundBusy = 0.95

// conclude computes what is derived from the trial's readings.
func (r *run) conclude() {
	c := &r.record
	c.Seconds = time.Since(r.started).Seconds()
	c.Phases = r.meter.phases
	r.fits()
	r.costs()
	r.quality()
	c.Valid = len(c.Invalid) == 0
}

// fits draws a line through the points of the ramp. The empty server is not one
// of them: what it needs once, for the first connections, is not a cost of each.
func (r *run) fits() {
	c := &r.record
	natural, settled := c.Steps, c.SettledSteps
	if !r.Plan.Ramp.Settled {
		r.warn("the plan leaves out the settled ramp: settled memory and live heap were not measured")
	}
	for _, figure := range []struct {
		name  string
		steps []record.Step
		of    func(record.Step) *int64
		into  **float64
	}{
		{"rss_bytes", natural, func(s record.Step) *int64 { return s.RSSBytes }, &c.PerConnection.RSSBytes},
		{"pss_bytes", natural, func(s record.Step) *int64 { return s.PSSBytes }, &c.PerConnection.PSSBytes},
		{"heap_in_use_bytes", natural, func(s record.Step) *int64 { return s.HeapInUseBytes }, &c.PerConnection.HeapInUseBytes},
		{"stack_bytes", natural, func(s record.Step) *int64 { return s.StackBytes }, &c.PerConnection.StackBytes},
		{"kernel_bytes", natural, func(s record.Step) *int64 { return s.KernelBytes }, &c.PerConnection.KernelBytes},
		{"group_kernel_bytes", natural, func(s record.Step) *int64 { return s.GroupKernelBytes }, &c.PerConnection.GroupKernelBytes},
		{"goroutines", natural, func(s record.Step) *int64 { return s.Goroutines }, &c.PerConnection.Goroutines},
		{"threads", natural, func(s record.Step) *int64 { return s.Threads }, &c.PerConnection.Threads},
		{"rss_settled_bytes", settled, func(s record.Step) *int64 { return s.RSSBytes }, &c.PerConnection.RSSSettledBytes},
		{"pss_settled_bytes", settled, func(s record.Step) *int64 { return s.PSSBytes }, &c.PerConnection.PSSSettledBytes},
		{"live_heap_bytes", settled, func(s record.Step) *int64 { return s.LiveHeapBytes }, &c.PerConnection.LiveHeapBytes},
	} {
		fit, ok := fit(figure.steps, figure.of)
		switch {
		case ok:
			c.Fits[figure.name] = fit
			*figure.into = &fit.Slope
		case len(figure.steps) == 0 && !r.Plan.Ramp.Settled: // said above
		case figure.name == "group_kernel_bytes": // few hosts have it
		default:
			r.warn("%s per connection: fewer than three points of the ramp have it", figure.name)
		}
	}
	c.KernelCaches = kernelSlopes(natural)
}

func fit(steps []record.Step, of func(record.Step) *int64) (record.Fit, bool) {
	var points []stats.Point
	for _, s := range steps {
		if y := of(s); y != nil && s.Connections > 0 {
			points = append(points, stats.Point{X: float64(s.Connections), Y: float64(*y)})
		}
	}
	line, ok := stats.Line(points)
	return record.Fit(line), ok
}

// noticeable is the least slope of a kind of kernel memory that is listed, in
// bytes per connection.
const noticeable = 1

func kernelSlopes(steps []record.Step) map[string]float64 {
	slopes := map[string]float64{}
	if len(steps) == 0 {
		return slopes
	}
	for kind := range steps[len(steps)-1].Kernel {
		line, ok := fit(steps, func(s record.Step) *int64 {
			bytes, ok := s.Kernel[kind]
			if !ok {
				return nil
			}
			return &bytes
		})
		if ok && line.Slope >= noticeable {
			slopes[kind] = line.Slope
		}
	}
	return slopes
}

// costs divides CPU time by events.
func (r *run) costs() {
	c := &r.record
	c.CPU.AcceptUS, c.CPU.AcceptUserUS, c.CPU.AcceptSystemUS = r.perEvent("ramp")
	c.CPU.PingUS, _, _ = r.perEvent("ping")
	c.CPU.EchoUS, c.CPU.EchoUserUS, c.CPU.EchoSystemUS = r.perEvent("echo")
	for _, p := range c.Phases {
		if p.ClientCPUSeconds != nil {
			c.Client.CPUSeconds += *p.ClientCPUSeconds
		}
	}
}

// perEvent is the server's CPU time for each event of a phase, in microseconds.
// The scheduler's clock gives the sum; the split has its proportions.
func (r *run) perEvent(phase string) (total, user, system *float64) {
	for _, p := range r.record.Phases {
		if p.Name != phase || p.Events == 0 || p.ServerCPUSeconds == nil {
			continue
		}
		us := *p.ServerCPUSeconds / float64(p.Events) * 1e6
		total = &us
		if p.ServerUserSeconds != nil && p.ServerSystemSeconds != nil {
			if sum := *p.ServerUserSeconds + *p.ServerSystemSeconds; sum > 0 {
				user, system = new(us**p.ServerUserSeconds/sum), new(us**p.ServerSystemSeconds/sum)
			}
		}
	}
	return total, user, system
}

// quality says how quiet the host was, and marks the trial where it was not.
func (r *run) quality() {
	q := &r.record.Quality
	if len(r.spins) > 0 && *r.SpinSeconds > 0 {
		slowest := 0.0
		for _, s := range r.spins {
			slowest = max(slowest, s)
		}
		q.SpinRatio = new(slowest / *r.SpinSeconds)
	}
	for _, m := range append(r.further, r.meter) {
		if m.first == nil {
			continue
		}
		host := m.last.measured.System.Since(m.first.measured.System, nil)
		q.StealShare = worse(q.StealShare, host.StealShare)
		q.CPUPressureShare = worse(q.CPUPressureShare, host.CPUPressureShare)
		q.ForeignShare = worse(q.ForeignShare, host.ForeignShare(r.ownCPUSeconds(m), r.Lab.Shared))
	}
	for _, mark := range []struct {
		share *float64
		from  float64
		what  string
	}{
		{q.StealShare, noisySteal, "the hypervisor took %.0f %% of the CPUs' time"},
		{q.ForeignShare, noisyForeign, "other programs took %.0f %% of the CPUs' time"},
	} {
		if mark.share != nil && *mark.share > mark.from {
			r.record.Noisy = true
			r.warn(mark.what, *mark.share*100)
		}
	}
	if q.SpinRatio != nil && *q.SpinRatio > noisySpin {
		r.record.Noisy = true
		r.warn("a fixed calculation took %.2f times as long as at the run's fastest", *q.SpinRatio)
	}
}

// worse is the larger of two shares, of which either may be unknown.
func worse(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// ownCPUSeconds is what a server and the swarm spent on the server's host, from
// the meter's first reading to its last.
func (r *run) ownCPUSeconds(m meter) float64 {
	own := 0.0
	if from, to := m.first.cpuSeconds(), m.last.cpuSeconds(); from != nil && to != nil {
		own += *to - *from
	}
	if r.Lab.Shared {
		own += m.swarmSeconds
	}
	return own
}

// loadOf is the record of a load phase.
func (r *run) loadOf(name string, command control.Command, result control.Result, phase record.Phase) *record.Load {
	l := &record.Load{
		Seconds: result.Seconds, PayloadBytes: command.PayloadBytes,
		Sent: result.Sent, Delivered: result.Delivered, Corrupt: result.Corrupt, Lost: result.Lost,
		InFlight: command.InFlight, Failures: failuresOf(result),
	}
	if result.Seconds > 0 {
		l.DeliveredPerSecond = float64(result.Delivered) / result.Seconds
		if command.RatePerSecond > 0 {
			l.OfferedPerSecond = new(float64(result.Offered) / result.Seconds)
		}
	}
	if latency := r.latency(result.Latency); latency != nil {
		l.Latency = *latency
	}
	if phase.ServerCPUSeconds != nil && result.Delivered > 0 {
		l.ServerCPUUS = new(*phase.ServerCPUSeconds / float64(result.Delivered) * 1e6)
	}
	l.ClientBound = r.clientBound(command, result, phase)
	r.client(result.Usage)

	if result.Corrupt > 0 {
		r.invalidate("%s: %d echoes were not what had been sent", name, result.Corrupt)
	}
	if result.Lost > 0 {
		r.warn("%s: %d connections were lost", name, result.Lost)
	}
	if l.ClientBound {
		r.warn("%s: the swarm was the bottleneck, not the server", name)
	}
	return l
}

// failuresOf are the swarm's failures, for the record.
func failuresOf(result control.Result) []record.Failure {
	var failures []record.Failure
	for _, f := range result.Failures {
		failures = append(failures, record.Failure{Phase: string(f.Phase), Error: string(f.Error), Count: f.Count})
	}
	return failures
}

// clientBound tells whether the swarm set the pace. With an offered rate, it did
// when it could not send on time: its own delay then is in every latency. With
// outstanding messages it did when its loop was never idle and the server was.
func (r *run) clientBound(command control.Command, result control.Result, phase record.Phase) bool {
	if command.Op == control.OpEcho || command.Op == control.OpPing {
		late := result.Sent < result.Offered*99/100
		return late || result.Usage.Busy >= boundBusy
	}
	if phase.ServerCPUSeconds == nil || phase.Seconds == 0 {
		return result.Usage.Busy >= boundBusy
	}
	server := *phase.ServerCPUSeconds / phase.Seconds / float64(len(r.Lab.Server.CPUs))
	return result.Usage.Busy >= boundBusy && server < boundBusy-0.1
}

// client keeps the swarm's worst.
func (r *run) client(u control.Usage) {
	r.clientMemory(u)
	c := &r.record.Client
	c.Busy = max(c.Busy, u.Busy)
	c.LagP99US = max(c.LagP99US, u.LagP99Seconds*1e6)
	c.LagMaxUS = max(c.LagMaxUS, u.LagMaxSeconds*1e6)
}

// clientMemory keeps the largest.
func (r *run) clientMemory(u control.Usage) {
	c := &r.record.Client
	c.RSSBytes = max(c.RSSBytes, u.RSSBytes)
	if u.PSSBytes > 0 && (c.PSSBytes == nil || u.PSSBytes > *c.PSSBytes) {
		c.PSSBytes = &u.PSSBytes
	}
	c.StateBytesPerConnection = max(c.StateBytesPerConnection, u.StateBytesPerConnection)
}

// latency reads percentiles off an encoded histogram of nanoseconds; nil where
// there is none, or nothing in it.
func (r *run) latency(encoded string) *record.Latency {
	if encoded == "" {
		return nil
	}
	h, err := hdrhistogram.Decode([]byte(encoded))
	if err != nil {
		r.warn("a latency histogram of the swarm could not be read: %s", strings.TrimSpace(err.Error()))
		return nil
	}
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(percentile float64) float64 { return float64(h.ValueAtQuantile(percentile)) / 1e3 }
	return &record.Latency{
		P50US: at(50), P90US: at(90), P99US: at(99), P999US: at(99.9),
		MaxUS: float64(h.Max()) / 1e3, Histogram: encoded,
	}
}
