package comebacks

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/stats"
)

// churnPieces is the number of parts of a churn. The server's memory is measured after each.
const churnPieces = 10

// ChurnTable is a plan's [churn].
type ChurnTable struct {
	// Seconds is how long connections are replaced; 0 leaves the phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
	// SharePerSecond is the share of the connections that is replaced each second.
	SharePerSecond float64 `toml:"share_per_second" json:"share_per_second,omitempty" spoils:"phase"`
}

// ChurnRecord is what became of a churn.
type ChurnRecord struct {
	Returned
	// Latency is the time until a connection was open again, from when it was to be dropped.
	// One that never came back counts with its age at the end.
	record.Latency
	// Seconds is how long connections were replaced.
	Seconds float64 `json:"seconds"`
	// Points are the server's memory while connections were replaced, from before the first.
	Points []ChurnPoint `json:"points"`
	// Growth is a line through those of the second half: bytes for each connection that was
	// replaced. It is left out where memory could not be measured.
	Growth *record.Fit `json:"growth,omitempty"`
	// TimeWait is the number of sockets in TIME_WAIT on all hosts after it.
	TimeWait *int64 `json:"time_wait"`
}

// ChurnPoint is the server's memory at one moment of a churn, settled if the server can settle.
type ChurnPoint struct {
	// Replaced is the number of connections that have been replaced so far.
	Replaced int64 `json:"replaced"`
	// RSSBytes is the server's resident memory.
	RSSBytes int64 `json:"rss_bytes"`
}

// ChurnPlan is the phase's table in a plan, Churn its object in a trial's record.
var (
	ChurnPlan = plan.NewPart("churn", ChurnTable{}, func(c ChurnTable, _ plan.Plan) []string {
		var list plan.Problems
		list.Duration("churn.seconds", c.Seconds)
		list.If(c.Seconds > 0 && !plan.Positive(c.SharePerSecond), "churn.share_per_second is %g: it must be positive", c.SharePerSecond)
		return list
	})
	Churn = record.NewSection[ChurnRecord]("churn")
)

var _ = phase.Add(phase.Phase{
	Name:  "churn",
	Order: 75,
	About: "Replaces a share of the connections every second while the others stay, and watches the server's memory.",
	Table: ChurnPlan,
	Finds: []record.Object{Churn},
	Opens: true,
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		c := ChurnPlan.Of(p)
		return c.Seconds > 0, c.Seconds
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := ChurnPlan.Of(t.Plan)
		rate := table.SharePerSecond * float64(t.Record.Connections.Reached)
		found := &ChurnRecord{Points: []ChurnPoint{}}
		var results []control.Result
		if err := found.look(ctx, t); err != nil {
			return err
		}
		for range churnPieces {
			before := stateOf(ctx, t)
			result, _, ran, err := carry(ctx, t, "churn", control.Command{
				Op: "churn", Seconds: table.Seconds / churnPieces, RatePerSecond: rate, Options: options(0),
				TimeoutSeconds: connections.RampPlan.Of(t.Plan).TimeoutSeconds,
			})
			if !ran {
				return err
			}
			Churn.Set(t.Record, found)
			found.add(t, "churn", result)
			found.explain(ctx, t, "churn", result, before)
			results = append(results, result)
			if err != nil {
				return err
			}
			if err := found.look(ctx, t); err != nil {
				return err
			}
			if found.Missing > 0 || found.Ended != "" {
				break
			}
		}
		if err := found.conclude(t, results); err != nil {
			return err
		}
		var err error
		found.TimeWait, err = t.Hosts.TimeWait(ctx)
		return err
	},
})

// look adds a point.
func (c *ChurnRecord) look(ctx context.Context, t *phase.Trial) error {
	settled, err := t.Session.Meter.Settle(ctx)
	if err != nil {
		return err
	}
	if rss := settled.RSSBytes(); rss != nil {
		c.Points = append(c.Points, ChurnPoint{c.Back, *rss})
	}
	return nil
}

// conclude computes what all pieces say together. A leak goes on for ever; what a server keeps
// at first to be ready for more does not, so that the first half does not count.
func (c *ChurnRecord) conclude(t *phase.Trial, results []control.Result) error {
	whole, err := session.InTurn(results)
	if err != nil {
		return err
	}
	c.Seconds = whole.Seconds
	if latency := t.Latency(whole.Latency); latency != nil {
		c.Latency = *latency
	}
	for _, piece := range t.Session.Meter.Phases {
		if piece.Name == "churn" {
			t.CPU("replacement", piece)
		}
	}
	var points []stats.Point
	for _, p := range c.Points[len(c.Points)/2:] {
		points = append(points, stats.Point{X: float64(p.Replaced), Y: float64(p.RSSBytes)})
	}
	if line, ok := stats.Line(points); ok {
		c.Growth = new(record.Fit(line))
	}
	return nil
}

// addChurn adds a figure of the churn to the table.
func addChurn(f figure.Figure) figure.Figure {
	f.Phase = "churn"
	return add(placeComebacks+1, f)
}

// The figures of a churn.
var (
	_ = addChurn(figure.Figure{
		Name: "churn.replaced_per_second", Title: "replaced", Unit: figure.PerSecond("conn"), Kind: figure.Rate, Better: figure.Higher, Depends: figure.Pace, Tolerance: 0.05,
		Means: "Connections that were dropped and came back in time, per second of the churn.",
		Of: figure.Reads(Churn, func(c *ChurnRecord) *float64 {
			if c.Seconds == 0 {
				return nil
			}
			return new(float64(c.Back-c.Late) / c.Seconds)
		}),
	})
	_ = addChurn(figure.Figure{
		Name: "churn.p99_us", Title: "replaced p99", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Pace,
		Means: "99th percentile of the time from when a connection was due to be replaced until it was open again.",
		Of: figure.Reads(Churn, func(c *ChurnRecord) *float64 {
			if c.Dropped == 0 {
				return nil
			}
			return new(c.P99US)
		}),
	})
	_ = addChurn(figure.Figure{
		Name: "churn.growth_bytes", Title: "growth", Alone: "growth in the churn", Unit: figure.UnitBytes, Kind: figure.Memory, Better: figure.Lower, Slack: 16,
		Means: "Resident memory that the server still holds per replaced connection, once its garbage is collected: leaks.",
		Of: figure.Reads(Churn, func(c *ChurnRecord) *float64 {
			if c.Growth == nil {
				return nil
			}
			return &c.Growth.Slope
		}),
		Believe: func(t *record.Trial) string {
			switch c := Churn.Of(t); {
			case c == nil || c.Growth == nil:
				return ""
			case c.Growth.Low <= 0 && c.Growth.High >= 0:
				return "no growth that differs from zero"
			default:
				return c.believe()
			}
		},
	})
	_ = phase.AddCPU(placeComebacks+1, "replacement", figure.Figure{
		Title: "CPU per replacement", Phase: "churn",
		Means:     "CPU time of the server, user and system, per connection that was replaced: for its end and its new handshake.",
		Tolerance: 0.15, Optional: true, Tables: []figure.Table{Table, figure.TableComparison},
	})
)
