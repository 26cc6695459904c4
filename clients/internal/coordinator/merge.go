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
	sum.Usage.LagP50Seconds = float64(lags.Quantile(0.5)) / 1e9
	sum.Usage.LagP99Seconds = float64(lags.Quantile(0.99)) / 1e9
	sum.Usage.LagMaxSeconds = float64(lags.Max()) / 1e9
	var errLatency, errLag error
	sum.Latency, errLatency = encode(latencies)
	sum.Lag, errLag = encode(lags)
	return &sum, errors.Join(errLatency, errLag)
}

// encode returns a histogram as text, an empty one as none.
func encode(h *latency.Histogram) (string, error) {
	if h.Total() == 0 {
		return "", nil
	}
	return h.Encode()
}
