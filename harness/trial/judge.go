package trial

import (
	"cmp"

	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/record"
	"connbench/harness/session"
)

// Shares of the CPUs' time from which a trial is marked as noisy. Such a disturbance is
// larger than the differences that people look for.
const (
	noisySteal   = 0.05
	noisyForeign = 0.15
	// noisyThrottled is small, because a quota takes whole periods of 100 ms.
	noisyThrottled = 0.005
)

// judge computes what follows from the trial's readings, and decides whether its figures
// may be used.
func judge(t *phase.Trial, sharedKernel bool) {
	if len(t.Meters) > 0 {
		t.Record.Phases = t.Meters[0].Phases
	}
	for _, p := range t.Record.Phases {
		if p.ClientCPUSeconds != nil {
			t.Record.Client.CPUSeconds += *p.ClientCPUSeconds
		}
	}
	fits(t)
	quality(t, sharedKernel)
	t.Record.Valid = len(t.Record.Invalid) == 0
}

// fits fits lines to the points of the ramp.
func fits(t *phase.Trial) {
	c := t.Record
	hasSettled, attached := connections.RampPlan.Of(t.Plan).Settled, c.Class == record.ClassAttached
	switch {
	case attached:
		t.Warn("connbench did not start the server, so its heap, stacks, goroutines and settled memory are unknown")
	case !hasSettled:
		t.Warn("the plan leaves out the settled ramp: settled memory and live heap were not measured")
	}
	for _, f := range figure.Slopes() {
		switch fit, ok := f.Slope.Fit(c); {
		case ok:
			c.Fits[f.Slope.Key] = fit
			*f.Slope.In(&c.PerConnection) = &fit.Slope
		case f.Slope.Settled && !hasSettled: // the warning is above
		case f.Slope.Rare, f.Slope.Reported && attached:
		default:
			t.Warn("%s per connection: fewer than three points of the ramp have it", f.Slope.Key)
		}
	}
	c.KernelCaches = kernelSlopes(c.Steps)
	doubted, first := 0, ""
	for _, s := range c.Steps {
		if s.KernelDoubt != "" {
			doubted, first = doubted+1, cmp.Or(first, s.KernelDoubt)
		}
	}
	if doubted > 0 {
		t.Warn("kernel memory was not believed at %d of %d points of the ramp: %s", doubted, len(c.Steps), first)
	}
}

// noticeable is the smallest slope of a kind of kernel memory that is listed, in bytes
// per connection.
const noticeable = 1

func kernelSlopes(steps []record.Step) map[string]float64 {
	slopes := map[string]float64{}
	if len(steps) == 0 {
		return slopes
	}
	for kind := range steps[len(steps)-1].Kernel {
		line, ok := figure.FitSteps(steps, func(s record.Step) *int64 {
			bytes, ok := s.Kernel[kind]
			if !ok || s.KernelDoubt != "" {
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

// quality records how quiet the host was, and marks the trial as noisy if it was not.
func quality(t *phase.Trial, sharedKernel bool) {
	q := &t.Record.Quality
	for _, m := range t.Meters {
		if m.First == nil {
			continue
		}
		host := m.Last.Measured.System.Since(m.First.Measured.System, nil)
		q.StealShare = worse(q.StealShare, host.StealShare)
		if host.ThrottledSeconds != nil && host.Seconds > 0 {
			q.ThrottledShare = worse(q.ThrottledShare, new(*host.ThrottledSeconds/host.Seconds))
		}
		q.CPUPressureShare = worse(q.CPUPressureShare, host.CPUPressureShare)
		q.ForeignShare = worse(q.ForeignShare, host.ForeignShare(ownCPUSeconds(m, sharedKernel), sharedKernel))
	}
	if len(t.Meters) > 0 {
		q.NoInstructions = t.Meters[0].Last.NoInstructions()
	}
	for _, mark := range []struct {
		share *float64
		from  float64
		what  string
	}{
		{q.StealShare, noisySteal, "the hypervisor took %.0f %% of the CPUs' time"},
		{q.ThrottledShare, noisyThrottled, "a CPU quota kept the host's tasks from running for %.1f %% of the time"},
		{q.ForeignShare, noisyForeign, "other programs took %.0f %% of the CPUs' time"},
	} {
		if mark.share != nil && *mark.share > mark.from {
			t.Record.Noisy = true
			t.Warn(mark.what, *mark.share*100)
		}
	}
}

// worse returns the larger of two shares. Either may be unknown.
func worse(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// ownCPUSeconds returns the CPU time of the server, and of the swarm if it shares the
// host, from the meter's first reading to its last.
func ownCPUSeconds(m *session.Meter, sharedKernel bool) float64 {
	own := m.EndedSeconds
	if from, to := m.First.CPUSeconds(), m.Last.CPUSeconds(); from != nil && to != nil {
		own += *to - *from
	}
	if sharedKernel {
		own += m.SwarmSeconds
	}
	return own
}
