package figure

import (
	"strings"
	"testing"

	"connbench/harness/record"
	"connbench/harness/record/recordtest"
)

func TestNamesMayBeShortenedWhereThatIsClear(t *testing.T) {
	for name, want := range map[string]string{
		"rss_bytes": "per_connection.rss_bytes", "echo.p99_us": "echo.p99_us", "handshake.p99_us": "ramp.handshake.p99_us",
	} {
		if figure, err := Find(name); err != nil || figure.Name != want {
			t.Errorf("%s is %s, %v; want %s", name, figure.Name, err, want)
		}
	}
	for name, want := range map[string]string{"p99_us": "ambiguous", "rss": "unknown figure", "": "unknown figure"} {
		if _, err := Find(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

// A trial that got nowhere has no figure but the connections it reached, and none
// of them is 0 for want of a measurement.
func TestNothingMeasuredIsNothing(t *testing.T) {
	for _, figure := range All() {
		if value := figure.Of(&record.Trial{}); value != nil && figure.Name != "connections.reached" {
			t.Errorf("%s is %v", figure.Name, *value)
		}
	}
}

// What a ramp added and its end gave back is a share of that alone.
func TestGivenBack(t *testing.T) {
	trial := &record.Trial{
		Steps: []record.Step{{RSSBytes: new(int64(100))}, {Connections: 5, RSSBytes: new(int64(300))}, {Connections: 9, RSSBytes: new(int64(500))}},
		After: record.After{RSSSettledBytes: new(int64(200)), KernelBytes: new(int64(7))},
		Ramp:  record.Ramp{FirstPerSecond: new(1000.0), LastPerSecond: new(800.0)},
	}
	if share := Must("after.rss_given_back").Of(trial); share == nil || *share != 0.75 {
		t.Errorf("%v of the memory was given back", share)
	}
	if share := Must("after.kernel_given_back").Of(trial); share != nil {
		t.Errorf("%v of what was not measured was given back", *share)
	}
	if share := Must("ramp.last_tenth").Of(trial); share == nil || *share != 0.8 {
		t.Errorf("the last tenth is %v of the first", share)
	}
}

// What a connection costs at the end of a ramp is told apart from how fast it went.
func TestAcceptCPUGrowth(t *testing.T) {
	at := func(connections int, cpu float64) record.Step {
		return record.Step{Connections: connections, CPUSeconds: &cpu}
	}
	growth := func(points ...record.Step) *float64 {
		return Must("ramp.last_tenth_accept_cpu").Of(&record.Trial{Steps: points})
	}
	// Two steps make up the first tenth, one the last.
	if got := growth(at(0, 1), at(5, 2), at(10, 3), at(90, 50), at(100, 54)); got == nil || *got != 2 {
		t.Errorf("a connection of the last tenth costs %v times one of the first, want 2", got)
	}
	unmeasured := at(90, 0)
	unmeasured.CPUSeconds = nil
	for name, got := range map[string]*float64{
		"one step":              growth(at(0, 1), at(100, 50)),
		"CPU not measured":      growth(at(0, 1), at(10, 3), unmeasured, at(100, 53)),
		"nothing was opened":    growth(at(0, 1), at(0, 3), at(0, 5)),
		"the first took no CPU": growth(at(0, 1), at(10, 1), at(100, 53)),
	} {
		if got != nil {
			t.Errorf("%s: %v", name, *got)
		}
	}
}

func TestVariantsStandInTheManifestsOrder(t *testing.T) {
	o := recordtest.Default
	o.Change = func(trial *record.Trial) {
		if trial.Trial == 2 {
			trial.Valid, trial.Invalid = false, []string{"for the test"}
		}
		if trial.Variant == "floor" {
			trial.Class = "default"
		}
	}
	var names []string
	for _, v := range Variants(recordtest.Read(o)) {
		names = append(names, v.String())
		if want := 6; len(v.Valid)+len(v.Invalid) != want {
			t.Errorf("%s has %d trials", v, len(v.Valid)+len(v.Invalid))
		}
	}
	// The manifest does not name floor/default: it comes last.
	if got := strings.Join(names, " "); got != "gobwas-epoll/tuned gnet/tuned nbio/tuned goroutine/tuned floor/default" {
		t.Errorf("order is %s", got)
	}
	variants := Variants(recordtest.Read(o))
	if floor := Floor(variants, "tuned"); floor == nil || floor.Class != "default" {
		t.Errorf("floor is %v", floor)
	}
}

// A noisy trial gives way to its repetition when that was quiet and valid, and
// only then.
func TestNoisyTrialGivesWayToAQuietRepetition(t *testing.T) {
	for name, test := range map[string]struct {
		valid, noisy bool
		replaced     int
	}{
		"quiet":   {true, false, 1},
		"noisy":   {true, true, 0},
		"invalid": {false, false, 0},
	} {
		o := recordtest.Default
		o.Rounds = 2
		o.Change = func(trial *record.Trial) {
			switch {
			case trial.Variant != "gnet":
			case trial.Round == 1:
				trial.Noisy = true
			default:
				trial.Repeats, trial.Valid, trial.Noisy = 3, test.valid, test.noisy // gnet's first is trial 3
			}
		}
		run := recordtest.Read(o)
		for _, v := range Variants(run) {
			want := 0
			if v.Name == "gnet" {
				want = test.replaced
			}
			if len(v.Replaced) != want || len(v.Replaced)+len(v.Valid)+len(v.Invalid) != 2 {
				t.Errorf("%s repetition: %s has %d replaced, %d valid, %d invalid trials", name, v, len(v.Replaced), len(v.Valid), len(v.Invalid))
			}
		}
	}
}
