package session

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"

	"connbench/clients/control"
)

// Merge adds up the results of hosts that worked at the same time. Histograms are merged,
// not averaged.
func Merge(hosts []control.Result) (control.Result, error) {
	sum := control.Sum(hosts)
	var err error
	sum.Latency, err = mergeLatencies(hosts)
	return sum, err
}

// InTurn adds up the results of successive commands of one swarm, with their times. The
// state of the swarm is that of the last result.
func InTurn(results []control.Result) (control.Result, error) {
	if len(results) == 0 {
		return control.Result{}, nil
	}
	sum, err := Merge(results)
	last := results[len(results)-1]
	sum.Open, sum.Processes, sum.Usage.RSSBytes = last.Open, last.Processes, last.Usage.RSSBytes
	sum.Usage.PSSBytes = last.Usage.PSSBytes
	sum.Seconds = 0
	for _, result := range results {
		sum.Seconds += result.Seconds
	}
	return sum, err
}

// mergeLatencies merges the histograms of results that have one.
func mergeLatencies(results []control.Result) (string, error) {
	var sum *hdrhistogram.Histogram
	for _, result := range results {
		if result.Latency == "" {
			continue
		}
		next, err := hdrhistogram.Decode([]byte(result.Latency))
		if err != nil {
			return "", fmt.Errorf("the swarm's histogram: %w", err)
		}
		if sum == nil {
			sum = next
		} else {
			sum.Merge(next)
		}
	}
	if sum == nil {
		return "", nil
	}
	text, err := sum.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return string(text), err
}
