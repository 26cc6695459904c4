package coordinator

import (
	"errors"

	"connbench/clients/control"
	"connbench/clients/internal/latency"
	"connbench/clients/internal/worker"
)

// merge adds up what the workers counted. Their histograms are whole here, so
// that the percentiles of the lag are those of all workers together.
func merge(replies []worker.Reply) (*control.Result, error) {
	latencies, lags := latency.New(), latency.New()
	var parts []control.Result
	var began, ended int64
	for _, r := range replies {
		parts = append(parts, *r.Result)
		if r.Ended > r.Began {
			if ended == 0 {
				began = r.Began
			}
			began, ended = min(began, r.Began), max(ended, r.Ended)
		}
		if err := errors.Join(latencies.Add(r.Latency), lags.Add(r.Lag)); err != nil {
			return nil, err
		}
	}
	sum := control.Sum(parts)
	sum.Seconds = float64(ended-began) / 1e9
	sum.Usage.LagP99Seconds = float64(lags.Quantile(0.99)) / 1e9
	sum.Usage.LagMaxSeconds = float64(lags.Max()) / 1e9
	if latencies.Total() > 0 {
		var err error
		if sum.Latency, err = latencies.Encode(); err != nil {
			return nil, err
		}
	}
	return &sum, nil
}
