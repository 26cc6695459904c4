package session

import (
	"reflect"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"connbench/clients/control"
)

func encoded(t *testing.T, values ...int64) string {
	t.Helper()
	h := hdrhistogram.New(1, 1e12, 3)
	for _, v := range values {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMergeAddsHostsUp(t *testing.T) {
	got, err := Merge([]control.Result{
		{Open: 10, Opened: 10, Seconds: 2, Processes: 1, Latency: encoded(t, 1000, 2000),
			Failures: []control.Failure{{Phase: "connect", Error: "timeout", Count: 2}},
			Usage:    control.Usage{UserSeconds: 1, SystemSeconds: 2, RSSBytes: 100, Busy: 0.5, LagP99Seconds: 1}},
		{Open: 5, Opened: 6, Lost: 1, Seconds: 3, Processes: 2, StoppedBy: "server", Latency: encoded(t, 3000),
			Failures: []control.Failure{{Phase: "connect", Error: "timeout", Count: 1}, {Phase: "bind", Error: "EADDRINUSE", Count: 9}},
			Usage:    control.Usage{UserSeconds: 1, SystemSeconds: 1, RSSBytes: 50, Busy: 0.9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hdrhistogram.Decode([]byte(got.Latency))
	if err != nil || h.TotalCount() != 3 || h.Max() < 2990 || h.Min() > 1010 {
		t.Errorf("merged histogram has %d values from %d to %d, error %v", h.TotalCount(), h.Min(), h.Max(), err)
	}
	got.Latency = ""
	want := control.Result{Open: 15, Opened: 16, Lost: 1, Seconds: 3, Processes: 3, StoppedBy: "server",
		Failures: []control.Failure{{Phase: "bind", Error: "EADDRINUSE", Count: 9}, {Phase: "connect", Error: "timeout", Count: 3}},
		Usage:    control.Usage{UserSeconds: 2, SystemSeconds: 3, RSSBytes: 150, Busy: 0.9, LagP99Seconds: 1}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The steps of a ramp are the same swarm, seen several times.
func TestStepsAreNotSoManySwarms(t *testing.T) {
	step := func(open, opened int, rss int64) control.Result {
		return control.Result{Open: open, Opened: opened, Processes: 2, Seconds: 1.5, Lost: 1, Latency: encoded(t, 1000),
			Usage: control.Usage{UserSeconds: 1, RSSBytes: rss, StateBytesPerConnection: 48}}
	}
	got, err := InTurn([]control.Result{step(10, 10, 100), step(20, 11, 150), step(29, 10, 120)})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := hdrhistogram.Decode([]byte(got.Latency)); err != nil || h.TotalCount() != 3 {
		t.Errorf("the histogram does not hold the three steps: error %v", err)
	}
	got.Latency = ""
	want := control.Result{Open: 29, Opened: 31, Processes: 2, Seconds: 4.5, Lost: 3,
		Usage: control.Usage{UserSeconds: 3, RSSBytes: 120, StateBytesPerConnection: 48}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
