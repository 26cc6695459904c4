package publish

import (
	"fmt"
	"math"

	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/record"
	"connbench/harness/table"
)

// witnesses are what a trial says twice. A figure that was made up, or changed by hand,
// contradicts one of them. Each returns what is contradicted, a sentence each.
var witnesses = []func(*record.Trial) []string{counts, slopes, latencies, times, memory}

// implausible is what the witnesses have against the trials of a run.
func implausible(run *record.Run) (problems []string) {
	for i := range run.Trials {
		t := &run.Trials[i]
		for _, witness := range witnesses {
			for _, text := range witness(t) {
				problems = append(problems, fmt.Sprintf("trial %d (%s/%s): %s", t.Trial, t.Variant, t.Class, plain.Line(text)))
			}
		}
	}
	return problems
}

// counts are those of the connections: swarm, server and kernel counted the same ones.
func counts(t *record.Trial) (problems []string) {
	c := t.Connections
	for who, n := range map[string]*int64{"swarm": c.Census.Swarm, "server": c.Census.Server, "kernel": c.Census.Kernel} {
		if n != nil && *n != int64(c.Reached) {
			problems = append(problems, fmt.Sprintf("%s connections are reached, and by the %s's census %s", table.Count(c.Reached), who, table.Count(int(*n))))
		}
	}
	if c.Reached > c.Peak || c.Reached > c.Target {
		problems = append(problems, fmt.Sprintf("%s connections are reached, of %s at the peak and a target of %s", table.Count(c.Reached), table.Count(c.Peak), table.Count(c.Target)))
	}
	return problems
}

// slopes are computed again from the points of the ramp.
func slopes(t *record.Trial) (problems []string) {
	for _, f := range figure.Slopes() {
		recorded := *f.Slope.In(&t.PerConnection)
		fit, fitted := f.Slope.Fit(t)
		if recorded == nil || !fitted {
			continue
		}
		// Earlier versions left out other points: a line through one more of them is
		// about the same.
		if line, is := t.Fits[f.Slope.Key]; !is || !near(line.Slope, *recorded, 1e-9) || line.Points == fit.Points && !near(fit.Slope, *recorded, 1e-6) {
			problems = append(problems, fmt.Sprintf("%s is %s, and by the points of the ramp %s", f.FullTitle(), table.Number(*recorded), table.Number(fit.Slope)))
		}
	}
	return problems
}

// latencies are read again from their histograms.
func latencies(t *record.Trial) (problems []string) {
	for name, load := range t.Loads() {
		l := load.Latency
		if l.P50US > l.P90US || l.P90US > l.P99US || l.P99US > l.P999US || l.P999US > l.MaxUS {
			problems = append(problems, name+": percentiles fall")
		}
		if l.Histogram == "" {
			continue
		}
		again, err := record.ReadLatency(l.Histogram)
		if err != nil {
			problems = append(problems, name+": the histogram cannot be read: "+err.Error())
			continue
		}
		if again == nil {
			again = &record.Latency{}
		}
		for _, p := range []struct {
			name            string
			recorded, again float64
		}{{"p50", l.P50US, again.P50US}, {"p99", l.P99US, again.P99US}} {
			if !near(p.again, p.recorded, 0.01) {
				problems = append(problems, fmt.Sprintf("%s: %s is %s µs, and by the histogram %s µs", name, p.name, table.Number(p.recorded), table.Number(p.again)))
			}
		}
		if load.Delivered > load.Sent {
			problems = append(problems, fmt.Sprintf("%s: %s messages came back of %s", name, table.Count(int(load.Delivered)), table.Count(int(load.Sent))))
		}
		if load.Seconds > 0 && !near(load.DeliveredPerSecond*load.Seconds, float64(load.Delivered), 0.02) {
			problems = append(problems, fmt.Sprintf("%s: %s messages in %s s are not %s a second", name, table.Count(int(load.Delivered)), table.Number(load.Seconds), table.Number(load.DeliveredPerSecond)))
		}
	}
	return problems
}

// times of a server are no more than its CPUs had, those of all phases no more than the
// trial's.
func times(t *record.Trial) (problems []string) {
	sum := 0.0
	for _, p := range t.Phases {
		sum += p.Seconds
		if cpu := p.ServerCPUSeconds; cpu != nil && len(t.ServerCPUs) > 0 && *cpu > 1.05*p.Seconds*float64(len(t.ServerCPUs))+0.1 {
			problems = append(problems, fmt.Sprintf("phase %s: %s s of CPU time within %s s on %s", p.Name, table.Number(*cpu), table.Number(p.Seconds), table.Plural(len(t.ServerCPUs), "CPU")))
		}
	}
	if sum > 1.01*t.Seconds+0.1 {
		problems = append(problems, fmt.Sprintf("its phases take %s s, and it %s s", table.Number(sum), table.Number(t.Seconds)))
	}
	return problems
}

// memory: no page is counted more than once in PSS.
func memory(t *record.Trial) (problems []string) {
	for _, s := range append(t.Steps[:len(t.Steps):len(t.Steps)], t.SettledSteps...) {
		if s.RSSBytes != nil && s.PSSBytes != nil && *s.PSSBytes > *s.RSSBytes+*s.RSSBytes/50 {
			problems = append(problems, fmt.Sprintf("at %s connections PSS is above RSS", table.Count(s.Connections)))
		}
	}
	return problems
}

// near says whether two numbers differ by a share at most.
func near(a, b, share float64) bool {
	return math.Abs(a-b) <= share*math.Max(math.Abs(a), math.Abs(b))+1e-9
}
