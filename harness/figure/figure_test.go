package figure_test

import (
	"strings"
	"testing"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/record/recordtest"
)

func TestNamesMayBeShortenedWhereThatIsClear(t *testing.T) {
	for name, want := range map[string]string{
		"rss_bytes": "per_connection.rss_bytes", "echo.p99_us": "echo.p99_us", "handshake.p99_us": "ramp.handshake.p99_us",
	} {
		if f, err := figure.Find(name); err != nil || f.Name != want {
			t.Errorf("%s is %s, %v; want %s", name, f.Name, err, want)
		}
	}
	for name, want := range map[string]string{"p99_us": "ambiguous", "rss": "unknown figure", "": "unknown figure"} {
		if _, err := figure.Find(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

// A trial that got nowhere has no figure but the connections it reached, and none
// of them is 0 for want of a measurement.
func TestNothingMeasuredIsNothing(t *testing.T) {
	for _, f := range figure.All() {
		if value := f.Of(&record.Trial{}); value != nil && f.Name != "connections.reached" {
			t.Errorf("%s is %v", f.Name, *value)
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
	for _, v := range figure.Variants(recordtest.Read(o)) {
		names = append(names, v.String())
		if want := 6; len(v.Valid)+len(v.Invalid) != want {
			t.Errorf("%s has %d trials", v, len(v.Valid)+len(v.Invalid))
		}
	}
	// The manifest does not name floor/default: it comes last.
	if got := strings.Join(names, " "); got != "gobwas-epoll/tuned gnet/tuned nbio/tuned goroutine/tuned floor/default" {
		t.Errorf("order is %s", got)
	}
	variants := figure.Variants(recordtest.Read(o))
	if floor := figure.Floor(variants, figure.Variant{Class: "tuned"}); floor == nil || floor.Class != "default" {
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
		for _, v := range figure.Variants(run) {
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

// Variants without kernel sockets stand in no order with those that have them, and among
// themselves in one.
func TestVariantsWithDevicesAreApart(t *testing.T) {
	o := recordtest.Default
	devices := map[string]bool{"gnet": true}
	o.Change = func(trial *record.Trial) {
		if devices[trial.Variant] {
			trial.Device = "tun"
		}
	}
	places := func() (ranked, apart int) {
		variants := figure.Variants(recordtest.Read(o))
		_, ranking := figure.Rank(variants, figure.RSS)
		for _, i := range ranking.Order {
			if variants[i].Device != "" && len(ranking.Order) < len(variants) {
				t.Errorf("%s is ranked", variants[i])
			}
		}
		for _, v := range variants {
			if (v.Note() == figure.NoSockets) != devices[v.Name] {
				t.Errorf("%s: %q", v, v.Note())
			}
		}
		return len(ranking.Order), len(figure.Apart(variants))
	}
	if ranked, apart := places(); ranked != 4 || apart != 1 {
		t.Errorf("%d are ranked, %d apart, of 5", ranked, apart)
	}
	for _, name := range []string{"gobwas-epoll", "nbio", "goroutine", "floor"} {
		devices[name] = true
	}
	if ranked, apart := places(); ranked != 5 || apart != 0 {
		t.Errorf("%d are ranked, %d apart, of 5 with devices", ranked, apart)
	}
}
