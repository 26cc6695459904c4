package control

import (
	"cmp"
	"slices"
)

// Sum adds up what parts of a swarm did side by side. Counts, CPU time and memory
// are added; times, loads and lags are those of the slowest and busiest part.
// Histograms cannot be added up as text: Latency is left to the caller.
func Sum(parts []Result) Result {
	sum := Result{}
	failures := map[FailureKind]int64{}
	for _, part := range parts {
		sum.Open += part.Open
		sum.Processes += part.Processes
		sum.Seconds = max(sum.Seconds, part.Seconds)
		sum.Opened += part.Opened
		sum.Closed += part.Closed
		sum.Lost += part.Lost
		sum.StoppedBy = weightier(sum.StoppedBy, part.StoppedBy)
		sum.Offered += part.Offered
		sum.Sent += part.Sent
		sum.Delivered += part.Delivered
		sum.Corrupt += part.Corrupt
		for name, count := range part.Counts {
			if sum.Counts == nil {
				sum.Counts = map[string]int64{}
			}
			sum.Counts[name] += count
		}
		for _, f := range part.Failures {
			failures[f.Kind()] += f.Count
		}
		sum.Usage.add(part.Usage)
	}
	for kind, count := range failures {
		sum.Failures = append(sum.Failures, Failure{kind.Phase, kind.Error, count})
	}
	slices.SortFunc(sum.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Error, b.Error))
	})
	return sum
}

func (u *Usage) add(part Usage) {
	u.UserSeconds += part.UserSeconds
	u.SystemSeconds += part.SystemSeconds
	u.RSSBytes += part.RSSBytes
	u.PSSBytes += part.PSSBytes
	u.StateBytesPerConnection = max(u.StateBytesPerConnection, part.StateBytesPerConnection)
	u.Busy = max(u.Busy, part.Busy)
	u.LagP99Seconds = max(u.LagP99Seconds, part.LagP99Seconds)
	u.LagMaxSeconds = max(u.LagMaxSeconds, part.LagMaxSeconds)
}

// weightier returns the reason that says more: if the server of one part fails, the
// other parts are stopped too.
func weightier(a, b string) string {
	weight := []string{"", StoppedByStop, StoppedByClient, StoppedByServer}
	if slices.Index(weight, b) > slices.Index(weight, a) {
		return b
	}
	return a
}
