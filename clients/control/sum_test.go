package control

import (
	"reflect"
	"testing"
)

func TestSum(t *testing.T) {
	parts := []Result{
		{
			Open: 10, Processes: 2, Seconds: 3, Opened: 11, Lost: 1, StoppedBy: StoppedByStop,
			Offered: 100, Sent: 90, Delivered: 70, Late: 10, Corrupt: 5, Unanswered: 15,
			Failures: []Failure{{PhaseEcho, Timeout, 15}, {PhaseEcho, Mismatch, 5}},
			Counts:   map[string]int64{"a": 1, "b": 2},
			Spread:   []Spread{{Received: 3, Nanoseconds: 100}, {Received: 2, Nanoseconds: 30}},
			Usage: Usage{UserSeconds: 1, SystemSeconds: 2, RSSBytes: 100, Busy: 0.5, LagP50Seconds: 0.1, LagP99Seconds: 1, LagMaxSeconds: 2,
				RunDelaySeconds: new(0.25), RunDelayMaxSeconds: new(0.125)},
		},
		{
			Open: 5, Processes: 1, Seconds: 2, Opened: 5, StoppedBy: StoppedByServer,
			Offered: 10, Sent: 10, Delivered: 9, Late: 1,
			Failures: []Failure{{PhaseEcho, Timeout, 1}},
			Counts:   map[string]int64{"b": 40},
			Spread:   []Spread{{Received: 4, Nanoseconds: 50}, {Received: 1, Nanoseconds: 40}, {Received: 1}},
			Usage: Usage{UserSeconds: 1, RSSBytes: 50, Busy: 0.9, LagP50Seconds: 0.2, LagP99Seconds: 0.5, LagMaxSeconds: 3,
				RunDelaySeconds: new(0.5), RunDelayMaxSeconds: new(0.5)},
		},
	}
	want := Result{
		Open: 15, Processes: 3, Seconds: 3, Opened: 16, Lost: 1, StoppedBy: StoppedByServer,
		Offered: 110, Sent: 100, Delivered: 79, Late: 11, Corrupt: 5, Unanswered: 15,
		Failures: []Failure{{PhaseEcho, Timeout, 16}, {PhaseEcho, Mismatch, 5}},
		Counts:   map[string]int64{"a": 1, "b": 42},
		Spread:   []Spread{{Received: 7, Nanoseconds: 100}, {Received: 3, Nanoseconds: 40}, {Received: 1}},
		Usage: Usage{UserSeconds: 2, SystemSeconds: 2, RSSBytes: 150, Busy: 0.9, LagP50Seconds: 0.2, LagP99Seconds: 1, LagMaxSeconds: 3,
			RunDelaySeconds: new(0.75), RunDelayMaxSeconds: new(0.5)},
	}
	if got := Sum(parts); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// What one part does not know is not known of the whole.
	parts[1].Usage.RunDelaySeconds = nil
	if got := Sum(parts).Usage; got.RunDelaySeconds != nil || *got.RunDelayMaxSeconds != 0.5 {
		t.Errorf("run delays are %v and %v", got.RunDelaySeconds, got.RunDelayMaxSeconds)
	}
	if got := Sum(nil); !reflect.DeepEqual(got, Result{}) {
		t.Errorf("nothing adds up to %+v", got)
	}
}
