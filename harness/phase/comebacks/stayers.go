package comebacks

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
)

// StayersTable is a plan's [stayers].
type StayersTable struct {
	// Seconds is how long the connections that were dropped may take to come back; 0 leaves the
	// phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
	// BeforeSeconds is how long the others send messages before.
	BeforeSeconds float64 `toml:"before_seconds" json:"before_seconds" spoils:"-"`
	// Share is the share of the connections that is dropped.
	Share float64 `toml:"share" json:"share,omitempty" spoils:"phase"`
	// Window is the largest number of connects under way; 0 is no limit.
	Window int `toml:"window" json:"window,omitempty" spoils:"phase"`
	// BackoffSeconds bounds the random pause of a client before it comes back. Each failure
	// doubles it, up to 32 times. 0: clients come back at once.
	BackoffSeconds float64 `toml:"backoff_seconds" json:"backoff_seconds,omitempty" spoils:"phase"`
	// RatePerSecond is how many messages are due a second, over all connections that stay.
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second,omitempty" spoils:"phase"`
	// PayloadBytes is the size of a message's payload.
	PayloadBytes int `toml:"payload_bytes" json:"payload_bytes,omitempty" spoils:"phase"`
}

// StayersRecord is what connections notice that stay while others are dropped and come back.
type StayersRecord struct {
	// Stayed is the number of connections that stayed.
	Stayed int `json:"stayed"`
	Returned
	// Before are the messages on the connections that stayed, before the others were dropped.
	Before record.Load `json:"before"`
	// During are those from then on until all others were back.
	During record.Load `json:"during"`
}

// StayersPlan is the phase's table in a plan, Stayers its object in a trial's record.
var (
	StayersPlan = plan.NewPart("stayers", StayersTable{}, func(s StayersTable, p plan.Plan) []string {
		list := loads.Load{Seconds: s.Seconds, PayloadBytes: s.PayloadBytes}.Problems("stayers", p)
		list.Duration("stayers.before_seconds", s.BeforeSeconds)
		list.Duration("stayers.backoff_seconds", s.BackoffSeconds)
		list.Between("stayers.window", int64(s.Window), 0, phase.MostInFlight)
		if s.Seconds > 0 {
			list.If(s.BeforeSeconds == 0, "stayers.before_seconds is 0: it must be positive")
			list.If(!(s.Share > 0 && s.Share < 1), "stayers.share is %g: it must be above 0 and below 1", s.Share)
			list.If(!plan.Positive(s.RatePerSecond), "stayers.rate_per_second is %g: it must be positive", s.RatePerSecond)
		}
		return list
	})
	Stayers = record.NewSection[StayersRecord]("stayers")
)

var _ = phase.Add(phase.Phase{
	Name:  "stayers",
	Order: 82, // after the storm: what this one leaves behind would be taken for the storm's memory
	About: "Drops a share of the connections, and lets them come back while the others send messages: how the connections that stay are affected.",
	Table: StayersPlan,
	Finds: []record.Object{Stayers},
	Opens: true,
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		s := StayersPlan.Of(p)
		return s.Seconds > 0, s.BeforeSeconds + s.Seconds/4 // it is over when all are back
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := StayersPlan.Of(t.Plan)
		open := t.Session.Reported()
		leave := int(table.Share*float64(open) + 0.5)
		if leave == 0 || leave == open {
			t.Warn("no stayers: %d connections are too few to drop a part of them", open)
			return nil
		}
		load := loads.Load{Seconds: table.BeforeSeconds, PayloadBytes: table.PayloadBytes}
		before, _, err := load.Carry(ctx, t, "stayers", table.command(t, leave, false))
		if err != nil || before == nil {
			return err
		}
		storm := table.command(t, leave, true)
		known := stateOf(ctx, t)
		result, piece, err := t.Session.Metered(ctx, "stayers", storm, func(r control.Result) int64 { return r.Delivered + r.Late })
		if !session.HasResult(err) {
			return err
		}
		found := &StayersRecord{Stayed: open - leave, Before: *before, During: *loads.Of(t, "stayers", storm, result, piece)}
		found.Before.Histogram, found.During.Histogram = "", ""
		comebacks := result
		comebacks.Offered, comebacks.Delivered, comebacks.Late = result.Counts[control.CountDropped], result.Counts[control.CountBack], 0
		found.add(t, "stayers", comebacks)
		found.explain(ctx, t, "stayers", comebacks, known)
		t.WarnOfFullHandshakes("stayers", result)
		Stayers.Set(t.Record, found)
		return err
	},
})

// command returns the command for the swarm, with or without the storm.
func (s StayersTable) command(t *phase.Trial, leave int, drop bool) control.Command {
	return control.Command{
		Op: "stayers", Connections: leave, RatePerSecond: s.RatePerSecond, PayloadBytes: s.PayloadBytes, Window: s.Window,
		Seconds: s.Seconds, TimeoutSeconds: connections.RampPlan.Of(t.Plan).TimeoutSeconds,
		Options: control.OptionsOf(control.StayersOptions{ComebackOptions: control.ComebackOptions{BackoffSeconds: s.BackoffSeconds}, Drop: drop}),
	}
}

// The figures of those that stay.
var (
	_ = addStayers("before_p50_us", "p50 before", "Median time from the moment a message was due to its whole echo, on the connections that stay, before the others are dropped.",
		func(s *StayersRecord) *record.Load { return &s.Before }, func(l *record.Load) float64 { return l.P50US })
	_ = addStayers("p50_us", "p50 in the storm", "The same from when the others are dropped until all of them are back.",
		func(s *StayersRecord) *record.Load { return &s.During }, func(l *record.Load) float64 { return l.P50US })
	_ = addStayers("before_p99_us", "p99 before", "99th percentile of the time of these messages before the others are dropped.",
		func(s *StayersRecord) *record.Load { return &s.Before }, func(l *record.Load) float64 { return l.P99US })
	_ = addStayers("p99_us", "p99 in the storm", "The same from when the others are dropped until all of them are back.",
		func(s *StayersRecord) *record.Load { return &s.During }, func(l *record.Load) float64 { return l.P99US })
)

// addStayers adds a latency of those that stay.
func addStayers(name, title, means string, load func(*StayersRecord) *record.Load, of func(*record.Load) float64) figure.Figure {
	at := func(t *record.Trial) *record.Load {
		if s := Stayers.Of(t); s != nil {
			return load(s)
		}
		return nil
	}
	return add(placeComebacks+2, figure.Figure{
		Name: "stayers." + name, Title: "stayers' " + title, Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Pace, Phase: "stayers",
		Means: means,
		Of:    func(t *record.Trial) *float64 { return figure.From(at(t), of) },
		Believe: func(t *record.Trial) string {
			if s := Stayers.Of(t); s != nil && s.believe() != "" {
				return s.believe()
			}
			return loads.TooManyUnanswered(at(t))
		},
		ClientBound: func(t *record.Trial) string { return loads.PaceOfSwarm(at(t)) },
	})
}

var _ = add(placeComebacks+2, figure.Figure{
	Name: "stayers.missing_share", Title: "not back while others stayed", Unit: figure.UnitShare, Kind: figure.Loss, Better: figure.Lower, Slack: 0.001, Phase: "stayers",
	Means: "Connections that were dropped while others stayed, and did not come back in time, as a share of those dropped.",
	Of:    figure.Reads(Stayers, func(s *StayersRecord) *float64 { return s.missingShare() }),
})
