package comebacks

import (
	"context"
	"fmt"
	"slices"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/record"
)

// StormTable is a plan's [storm].
type StormTable struct {
	// Seconds is how long the connections may take to come back; 0 leaves the phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
	// Window is the largest number of connects under way; 0 is no limit.
	Window int `toml:"window" json:"window,omitempty" spoils:"phase"`
	// BackoffSeconds bounds the random pause of a client before it comes back. Each failure
	// doubles it, up to 32 times. 0: clients come back at once.
	BackoffSeconds float64 `toml:"backoff_seconds" json:"backoff_seconds,omitempty" spoils:"phase"`
}

// StormRecord is what became of a storm.
type StormRecord struct {
	Returned
	// Latency is the time until a connection was open again, from when it was to be dropped.
	// One that never came back counts with its age at the end.
	record.Latency
	// DownSeconds is the time from the moment when the server was killed until it listened again,
	// if it was restarted.
	DownSeconds *float64 `json:"down_seconds,omitempty"`
	// Seconds is the time from the storm's begin until the last was back. The storm of a restart
	// begins when the first client notices.
	Seconds float64 `json:"seconds"`
	// HalfSeconds is the time until half of them were back; null if they never were.
	HalfSeconds *float64 `json:"half_seconds"`
	// MostSeconds is the time until 99 % were back; null if they never were.
	MostSeconds *float64 `json:"most_seconds"`
	// AllSeconds is the time until all were back; null if they never were.
	AllSeconds *float64 `json:"all_seconds"`
	// BackPerSecond is the rate at which they came back.
	BackPerSecond *float64 `json:"back_per_second"`
	// RSSBeforeBytes is the server's resident memory before the storm, when it had collected its
	// garbage.
	RSSBeforeBytes *int64 `json:"rss_before_bytes"`
	// RSSPeakBytes is the most that was seen of it in the storm, twice a second and at the end.
	RSSPeakBytes *int64 `json:"rss_peak_bytes"`
}

// StormPlan is the phase's table in a plan, Storm its object in a trial's record.
var (
	StormPlan = plan.NewPart("storm", StormTable{}, func(s StormTable, _ plan.Plan) []string {
		return problems("storm", s.Seconds, s.BackoffSeconds, s.Window)
	})
	Storm = record.NewSection[StormRecord]("storm")
)

var _ = phase.Add(phase.Phase{
	Name:  "storm",
	Order: 80,
	About: "Drops all connections at once, and lets them come back as fast as the server takes them, or each after a random pause.",
	Table: StormPlan,
	Finds: []record.Object{Storm},
	Opens: true,
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		s := StormPlan.Of(p)
		return s.Seconds > 0, s.Seconds / 4 // it is over when all are back
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := StormPlan.Of(t.Plan)
		// Without garbage of what went before: what the storm adds does not depend on that.
		if _, err := t.Session.Meter.Settle(ctx); err != nil {
			return err
		}
		before := stateOf(ctx, t)
		result, piece, ran, err := carry(ctx, t, "storm", control.Command{
			Op: "storm", Seconds: table.Seconds, Window: table.Window, Options: options(table.BackoffSeconds),
			TimeoutSeconds: connections.RampPlan.Of(t.Plan).TimeoutSeconds,
		})
		if !ran {
			return err
		}
		found := &StormRecord{RSSBeforeBytes: before.reading.RSSBytes()}
		found.describe(ctx, t, "storm", result, before)
		Storm.Set(t.Record, found)
		t.CPU("comeback", piece)
		return err
	},
})

// describe records what a storm came to.
func (s *StormRecord) describe(ctx context.Context, t *phase.Trial, name string, result control.Result, before state) {
	s.Seconds, s.RSSPeakBytes = result.Seconds, t.Session.PeakRSS()
	s.add(t, name, result)
	if s.DownSeconds != nil { // while there is no server, all are refused
		others := slices.DeleteFunc(slices.Clone(result.Failures), func(f control.Failure) bool { return f.Error == "ECONNREFUSED" })
		if slices.ContainsFunc(others, func(f control.Failure) bool { return !ofOpen(f) }) {
			result.Failures = others
		}
	}
	s.explain(ctx, t, name, result, before)
	if latency := t.Latency(result.Latency); latency != nil {
		s.Latency = *latency
		s.HalfSeconds = s.until(0.5, latency.P50US)
		s.MostSeconds = s.until(0.99, latency.P99US)
		s.AllSeconds = s.until(1, latency.MaxUS)
	}
	if result.Seconds > 0 {
		s.BackPerSecond = new(float64(s.Back) / result.Seconds)
	}
}

// until is a time in seconds, if a share of the connections came back.
func (s *StormRecord) until(share, us float64) *float64 {
	if s.Dropped == 0 || float64(s.Back) < share*float64(s.Dropped) {
		return nil
	}
	return new(us / 1e6)
}

// addStorm adds the figures of a storm. suffix is what their titles have in addition, table shows
// them, in says in which storm, and from when its time begins.
func addStorm(place int, p, suffix string, table figure.Table, section record.Section[StormRecord], phase, in, from string) bool {
	add := func(f figure.Figure) {
		f.Name, f.Title, f.Means, f.Phase = p+"."+f.Name, f.Title+suffix, fmt.Sprintf(f.Means, in), phase
		if f.Alone != "" {
			f.Alone += suffix
		}
		f.Believe = believeStorm(section)
		f.Optional, f.Tables = true, []figure.Table{table, figure.TableComparison}
		figure.Add(place, f)
	}
	add(figure.Figure{
		Name: "missing_share", Title: "not back", Unit: figure.UnitShare, Kind: figure.Loss, Better: figure.Lower, Slack: 0.001,
		Means: "Connections that were dropped in the %s and did not come back in time, as a share of all.",
		Of:    figure.Reads(section, func(s *StormRecord) *float64 { return s.missingShare() }),
	})
	for _, part := range []struct {
		name, title, who string
		of               func(*StormRecord) *float64
	}{
		{"half_seconds", "50% back", "half of the connections were", func(s *StormRecord) *float64 { return s.HalfSeconds }},
		{"most_seconds", "99% back", "99 %% of the connections were", func(s *StormRecord) *float64 { return s.MostSeconds }},
		{"all_seconds", "all back", "all connections were", func(s *StormRecord) *float64 { return s.AllSeconds }},
	} {
		add(figure.Figure{
			Name: part.name, Title: part.title, Unit: figure.UnitSeconds, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Pace,
			Means: "Time from " + from + " the %s until " + part.who + " back.",
			Of:    figure.Reads(section, part.of),
		})
	}
	add(figure.Figure{
		Name: "back_per_second", Title: "back", Alone: "connections back", Unit: figure.PerSecond("conn"), Kind: figure.Rate, Better: figure.Higher, Depends: figure.Pace,
		Means: "Connections that came back per second of the %s, each with its handshake verified.",
		Of:    figure.Reads(section, func(s *StormRecord) *float64 { return s.BackPerSecond }),
	})
	add(figure.Figure{
		Name: "failures", Title: "failed connects", Unit: figure.UnitCount, Kind: figure.Loss, Better: figure.Lower, Slack: 1,
		Means: "Connects that were refused, timed out or failed otherwise in the %s. Each was tried again.",
		Of:    figure.Reads(section, func(s *StormRecord) *float64 { return new(s.failed()) }),
	})
	return true
}

// believeStorm says why the figures of a storm are not believed.
func believeStorm(section record.Section[StormRecord]) func(*record.Trial) string {
	return func(t *record.Trial) string {
		if s := section.Of(t); s != nil {
			return s.believe()
		}
		return ""
	}
}

// addedRSS is a figure of memory that a storm added.
func addedRSS(section record.Section[StormRecord]) func(*record.Trial) *float64 {
	return figure.Reads(section, func(s *StormRecord) *float64 {
		return phase.Added(s.RSSBeforeBytes, s.RSSPeakBytes, s.Dropped)
	})
}

// The figures of a storm.
var (
	_ = addStorm(placeComebacks, "storm", "", Table, Storm, "storm", "storm", "the beginning of")
	_ = add(placeComebacks, figure.Figure{
		Name: "storm.rss_peak_bytes", Title: "RSS added", Alone: "RSS added by the storm", Unit: figure.UnitBytes, Kind: figure.Memory, Better: figure.Lower, Tolerance: 0.1, Slack: 64, Phase: "storm",
		Means: "Resident memory of the server at its peak in the storm, less that before it, per connection.",
		Of:    addedRSS(Storm), Believe: believeStorm(Storm),
	})
	_ = phase.AddCPU(placeComebacks, "comeback", figure.Figure{
		Title: "CPU per comeback", Phase: "storm",
		Means:     "CPU time of the server, user and system, per connection that came back in the storm: for its end and its new handshake.",
		Tolerance: 0.15, Optional: true, Tables: []figure.Table{Table, figure.TableComparison},
	})
)
