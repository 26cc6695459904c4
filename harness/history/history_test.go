package history

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connbench/harness/phase/loads"
	"connbench/harness/record"
	"connbench/harness/record/recordtest"
	"connbench/harness/sizing"
	"connbench/harness/variant"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var floor = variant.Choice{Variant: variant.Variant{Name: "floor"}, Class: "tuned"}

// filed puts a run into a folder of results.
func filed(t *testing.T, results, name string, o recordtest.Options) {
	t.Helper()
	must(t, os.Rename(recordtest.Write(t, o), filepath.Join(results, name)))
}

// older is a sound run from before all others, in which a connection takes about 5,481
// bytes.
func older() recordtest.Options {
	o := recordtest.Default
	o.Rounds = 2
	o.ChangeManifest = func(m *record.Manifest) { m.Started = m.Started.AddDate(0, -1, 0) }
	return o
}

// The newest run that can be trusted says what a connection takes.
func TestCostIsOfTheNewestRunThatCanBeTrusted(t *testing.T) {
	twice := func(trial *record.Trial) { *trial.PerConnection.RSSBytes += 5000 }
	for name, test := range map[string]struct {
		connections int
		change      func(*record.Trial)
		manifest    func(*record.Manifest)
		why         string // "": the newer run is taken
	}{
		"sound":        {},
		"interrupted":  {manifest: func(m *record.Manifest) { m.State = record.StateInterrupted }, why: "interrupted"},
		"running":      {manifest: func(m *record.Manifest) { m.State = record.StateRunning }, why: "running"},
		"invalid":      {change: func(t *record.Trial) { t.Valid, t.Invalid = false, []string{"for the test"} }, why: "no trial is valid"},
		"noisy":        {change: func(t *record.Trial) { t.Noisy = true }, why: "all trials are noisy"},
		"emulated":     {change: func(t *record.Trial) { t.Noisy = true }, manifest: func(m *record.Manifest) { m.Hosts[0].Emulated = true }},
		"half noisy":   {change: func(t *record.Trial) { t.Noisy = t.Round%2 == 0 }},
		"small":        {connections: 2000, why: "fewer than 5,000 connections"},
		"not measured": {change: func(t *record.Trial) { t.PerConnection.KernelBytes = nil }, why: "not measured"},
		"no slope": {change: func(t *record.Trial) {
			t.Fits["kernel_bytes"] = record.Fit{Slope: 5000, Low: -1000, High: 11_000}
		}, why: "kernel per connection: not significantly different from 0"},
		"another lab": {change: func(t *record.Trial) { t.Lab = "netns" }, why: "-"},
	} {
		t.Run(name, func(t *testing.T) {
			results := t.TempDir()
			filed(t, results, "20260201-120000-local-full", older())
			newer := recordtest.Default
			newer.Rounds = 2
			newer.ChangeManifest = test.manifest
			newer.Change = func(trial *record.Trial) {
				twice(trial)
				if test.change != nil {
					test.change(trial)
				}
			}
			if test.connections > 0 {
				newer.Connections = test.connections
			}
			filed(t, results, "20260301-120000-local-full", newer)
			cost, _ := costOf(Read(results), floor, "local", "socket")
			if cost == nil {
				t.Fatal("no cost")
			}
			taken := strings.HasPrefix(cost.Run, "20260301")
			if taken != (test.why == "") || taken != (cost.Bytes > 8000) {
				t.Errorf("%+v", cost)
			}
			must(t, os.RemoveAll(filepath.Join(results, "20260201-120000-local-full")))
			cost, why := costOf(Read(results), floor, "local", "socket")
			if taken && cost == nil || !taken && (cost != nil || test.why != "-" && !strings.Contains(why, test.why)) {
				t.Errorf("alone: %+v, %q", cost, why)
			}
		})
	}
}

func TestCostSaysWhereItComesFrom(t *testing.T) {
	results := t.TempDir()
	o := recordtest.Default
	o.ChangeManifest = func(m *record.Manifest) { m.Started = time.Now().Add(-50 * time.Hour) }
	filed(t, results, "a-run", o)
	cost, _ := costOf(Read(results), floor, "local", "socket")
	if cost == nil {
		t.Fatal("no cost")
	}
	if text := cost.String(); !strings.HasSuffix(text, "bytes per connection of floor/tuned: from a-run (10,000 connections, 6 rounds, 2 days old)") {
		t.Errorf("it says %q", text)
	}
}

func TestLeastCostIsOfTheLeanest(t *testing.T) {
	results := t.TempDir()
	filed(t, results, "a-run", recordtest.Default)
	goroutine := variant.Choice{Variant: variant.Variant{Name: "goroutine"}, Class: "tuned"}
	if cost, _ := Read(results).LeastCost([]variant.Choice{goroutine, floor}, "local", "socket"); cost == nil || cost.Variant != "floor/tuned" {
		t.Errorf("%+v", cost)
	}
	if cost, why := Read(results).LeastCost([]variant.Choice{floor}, "netns", "socket"); cost != nil || why != "" {
		t.Errorf("%+v, %q", cost, why)
	}
}

// A run also says what else limits are predicted by, as far as it has that.
func TestCostOfThreadsAndClients(t *testing.T) {
	o := recordtest.Default
	o.Change = func(trial *record.Trial) {
		trial.PerConnection.Threads = new(0.25)
		trial.Client.RSSBytes = int64(100 * trial.Connections.Reached)
	}
	for name, test := range map[string]struct {
		oneKernel bool
		client    float64 // least bytes of a client host
	}{"one kernel": {true, 0}, "hosts of their own": {false, 5000}} {
		o.ChangeManifest = func(m *record.Manifest) {
			if test.oneKernel {
				return
			}
			client := m.Hosts[0]
			client.Name, client.Roles = "client", []string{record.RoleClient}
			m.Hosts[0].Roles = []string{record.RoleServer}
			m.Hosts = append(m.Hosts, client)
		}
		results := t.TempDir()
		filed(t, results, "a-run", o)
		cost, why := costOf(Read(results), floor, "local", "socket")
		if cost == nil {
			t.Fatal(why)
		}
		each := cost.Limits()
		if *each.Threads != 0.25 || *each.ServerBytes != cost.Bytes || (each.ClientBytes == nil) != test.oneKernel {
			t.Errorf("%s: %+v", name, each)
		}
		if each.ClientBytes != nil && (*each.ClientBytes < test.client || *each.ClientBytes > test.client+500) {
			t.Errorf("%s: %g bytes of a client host", name, *each.ClientBytes)
		}
	}
}

// Each variant is answered for by the newest run that can be trusted and has all that is
// asked for.
func TestCapacityIsOfTheNewestRunsThatAnswer(t *testing.T) {
	results := t.TempDir()
	filed(t, results, "older", older())
	o := recordtest.Default
	o.Change = func(trial *record.Trial) {
		switch trial.Variant {
		case "gnet": // no message was measured
			loads.Echo.Set(trial, nil)
			loads.Saturate.Set(trial, nil)
		case "nbio":
			trial.Noisy = true
		}
	}
	filed(t, results, "newer", o)
	from := func(need sizing.Need) map[string]string {
		runs := map[string]string{}
		last := 0.0
		for _, e := range Read(results).Capacity(need).Estimates {
			runs[e.Variant] = e.Run
			if e.BytesPerConnection.Median < last {
				t.Errorf("%s takes %g bytes, the one before %g", e.Variant, e.BytesPerConnection.Median, last)
			}
			last = e.BytesPerConnection.Median
		}
		return runs
	}
	idle := from(sizing.Need{Connections: 10_000})
	if idle["floor/tuned"] != "newer" || idle["gnet/tuned"] != "newer" || idle["nbio/tuned"] != "older" {
		t.Errorf("idle connections: %v", idle)
	}
	loaded := from(sizing.Need{Connections: 10_000, MessagesPerSecond: 1000})
	if loaded["floor/tuned"] != "newer" || loaded["gnet/tuned"] != "older" {
		t.Errorf("with messages: %v", loaded)
	}
}
