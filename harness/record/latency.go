package record

import "github.com/HdrHistogram/hdrhistogram-go"

// ReadLatency reads the percentiles of an encoded histogram of nanoseconds, see
// [Latency.Histogram]. It is nil if the histogram is empty.
func ReadLatency(encoded string) (*Latency, error) {
	h, err := hdrhistogram.Decode([]byte(encoded))
	if err != nil {
		return nil, err
	}
	if h.TotalCount() == 0 {
		return nil, nil
	}
	at := func(percentile float64) float64 { return float64(h.ValueAtQuantile(percentile)) / 1e3 }
	return &Latency{
		P50US: at(50), P90US: at(90), P99US: at(99), P999US: at(99.9),
		MaxUS: float64(h.Max()) / 1e3, Histogram: encoded,
	}, nil
}
