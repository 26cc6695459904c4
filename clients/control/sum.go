package control

import (
	"cmp"
	"slices"
)

// Sum adds up what parts of a swarm did side by side. Counts, CPU time and memory
// are added; times, loads and lags are those of the slowest and busiest part.
// Histograms cannot be added up as text: Latency and Lag are left to the caller.
func Sum(parts []Result) Result {
	sum := Result{}
	failures := map[FailureKind]int64{}
	for i, part := range parts {
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
		sum.Late += part.Late
		sum.Corrupt += part.Corrupt
		sum.Unanswered += part.Unanswered
		sum.ReceivedBytes += part.ReceivedBytes
		for name, count := range part.Counts {
			if sum.Counts == nil {
				sum.Counts = map[string]int64{}
			}
			sum.Counts[name] += count
		}
		for i, s := range part.Spread {
			if i == len(sum.Spread) {
				sum.Spread = append(sum.Spread, Spread{})
			}
			sum.Spread[i].Received += s.Received
			sum.Spread[i].Nanoseconds = max(sum.Spread[i].Nanoseconds, s.Nanoseconds)
		}
		for _, f := range part.Failures {
			failures[f.Kind()] += f.Count
		}
		if i == 0 {
			sum.Usage = part.Usage
		} else {
			sum.Usage.add(part.Usage)
		}
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
	u.LagP50Seconds = max(u.LagP50Seconds, part.LagP50Seconds)
	u.LagP99Seconds = max(u.LagP99Seconds, part.LagP99Seconds)
	u.LagMaxSeconds = max(u.LagMaxSeconds, part.LagMaxSeconds)
	u.RunDelaySeconds = both(u.RunDelaySeconds, part.RunDelaySeconds, func(a, b float64) float64 { return a + b })
	u.RunDelayMaxSeconds = both(u.RunDelayMaxSeconds, part.RunDelayMaxSeconds, func(a, b float64) float64 { return max(a, b) })
}

// both combines two numbers; nil if one is unknown.
func both(a, b *float64, combine func(a, b float64) float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	c := combine(*a, *b)
	return &c
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
