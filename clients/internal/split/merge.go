package split

import (
	"cmp"
	"errors"
	"slices"

	"connbench/clients/control"
	"connbench/clients/internal/latency"
)

// merge adds up what the workers counted.
func merge(replies []reply) (*control.Result, error) {
	sum := &control.Result{}
	latencies, lags := latency.New(), latency.New()
	failures := map[control.Failure]int64{}
	var began, ended int64
	for _, r := range replies {
		part := r.Result
		sum.Open += part.Open
		sum.Opened += part.Opened
		sum.Closed += part.Closed
		sum.Lost += part.Lost
		sum.Offered += part.Offered
		sum.Sent += part.Sent
		sum.Delivered += part.Delivered
		sum.Corrupt += part.Corrupt
		sum.StoppedBy = weightier(sum.StoppedBy, part.StoppedBy)
		for _, f := range part.Failures {
			failures[control.Failure{Phase: f.Phase, Error: f.Error}] += f.Count
		}
		if r.Ended > r.Began {
			if ended == 0 {
				began = r.Began
			}
			began, ended = min(began, r.Began), max(ended, r.Ended)
		}
		if err := errors.Join(latencies.Add(r.Latency), lags.Add(r.Lag)); err != nil {
			return nil, err
		}

		usage := part.Usage
		sum.Usage.UserSeconds += usage.UserSeconds
		sum.Usage.SystemSeconds += usage.SystemSeconds
		sum.Usage.RSSBytes += usage.RSSBytes
		sum.Usage.Busy = max(sum.Usage.Busy, usage.Busy)
		sum.Usage.StateBytesPerConnection = max(sum.Usage.StateBytesPerConnection, usage.StateBytesPerConnection)
	}
	sum.Seconds = float64(ended-began) / 1e9
	for f, count := range failures {
		f.Count = count
		sum.Failures = append(sum.Failures, f)
	}
	slices.SortFunc(sum.Failures, func(a, b control.Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Error, b.Error))
	})
	sum.Usage.LagP99Seconds = float64(lags.Quantile(0.99)) / 1e9
	sum.Usage.LagMaxSeconds = float64(lags.Max()) / 1e9
	if latencies.Total() > 0 {
		var err error
		if sum.Latency, err = latencies.Encode(); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// weightier returns the reason that says more: a worker is also stopped because
// another one's server failed.
func weightier(a, b string) string {
	weight := []string{"", control.StoppedByStop, control.StoppedByClient, control.StoppedByServer}
	if slices.Index(weight, b) > slices.Index(weight, a) {
		return b
	}
	return a
}
