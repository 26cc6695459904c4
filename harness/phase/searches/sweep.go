package searches

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/charts"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/record"
)

// SweepTable is a plan's [sweep].
type SweepTable struct {
	// RatesPerSecond are the rates of messages to offer, ascending; none leaves the phase
	// out.
	RatesPerSecond []float64 `toml:"rates_per_second" json:"rates_per_second" spoils:"phase"`
	// Seconds is how long each rate is offered.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"phase"`
	// WarmupSeconds is how long each rate is offered before; its figures do not count.
	WarmupSeconds float64 `toml:"warmup_seconds" json:"warmup_seconds" spoils:"-"`
	// PayloadBytes is the size of a message's payload.
	PayloadBytes int `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
	// P99US is the 99th percentile of the latency up to which a rate counts as kept.
	P99US float64 `toml:"p99_us" json:"p99_us" spoils:"phase"`
}

// load returns the load that each rate is tried with.
func (s SweepTable) load() loads.Load {
	return loads.Load{Seconds: s.Seconds, WarmupSeconds: s.WarmupSeconds, PayloadBytes: s.PayloadBytes}
}

// SweepRecord is the result of offering rising rates, one after the other. A rate is kept
// if 99 % of its messages came back in time and their 99th percentile is within the bound.
// Messages go to all connections in turn: with a million connections and 20,000 messages a
// second, each connection has one every 50 s, and nothing of it is left in a cache. The
// swarm waits for the last answers before it offers the next rate.
type SweepRecord struct {
	// P99LimitUS is the bound of the 99th percentile.
	P99LimitUS float64 `json:"p99_limit_us"`
	// KneePerSecond is the highest rate that was kept in most of its tries; null where
	// none was.
	KneePerSecond *float64 `json:"knee_per_second"`
	// KneeLowPerSecond is the highest rate up to which every try was kept.
	KneeLowPerSecond *float64 `json:"knee_low_per_second,omitempty"`
	// KneeHighPerSecond is the lowest rate from which on no try was kept.
	KneeHighPerSecond *float64 `json:"knee_high_per_second,omitempty"`
	// StoppedBy says why no higher rate was kept: [KeptLatency], [KeptDelivery] (too few
	// messages came back), [KeptClient] (the swarm was too slow) or [KeptAll] (the plan
	// names no higher rate).
	StoppedBy string `json:"stopped_by,omitempty"`
	// Loads are the tries in the order in which they were made. The rates next to the
	// knee are tried three times.
	Loads []record.Load `json:"loads"`
}

// SweepPlan is the phase's table in a plan, Sweep its object in a trial's record.
var (
	SweepPlan = plan.NewPart("sweep", SweepTable{}, func(s SweepTable, p plan.Plan) []string {
		if len(s.RatesPerSecond) == 0 {
			return nil
		}
		list := s.load().Problems("sweep", p)
		before := 0.0
		for _, rate := range s.RatesPerSecond {
			list.If(!plan.Positive(rate) || rate <= before, "sweep.rates_per_second has %g after %g: the rates must be positive and ascending", rate, before)
			before = rate
		}
		list.If(s.Seconds == 0, "sweep.seconds is 0: it must be positive")
		list.If(!plan.Positive(s.P99US), "sweep.p99_us is %g: it must be positive", s.P99US)
		return list
	})
	Sweep = record.NewSection[SweepRecord]("sweep")
)

var _ = phase.Add(phase.Phase{
	Name:  "sweep",
	Order: 60,
	About: "Offers rising rates of messages until one is not kept; the highest that is kept is the knee of latency against load.",
	Table: SweepPlan,
	Finds: []record.Object{Sweep},
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		s := SweepPlan.Of(p)
		return len(s.RatesPerSecond) > 0, float64(len(s.RatesPerSecond)+2*(triesEach-1)) * (s.Seconds + s.WarmupSeconds)
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := SweepPlan.Of(t.Plan)
		sweep := &SweepRecord{P99LimitUS: table.P99US, Loads: []record.Load{}}
		Sweep.Set(t.Record, sweep)
		s := search{most: len(table.RatesPerSecond), between: inTurn}
		for level := s.next(); level != 0; level = s.next() {
			rate := table.RatesPerSecond[level-1]
			load, _, err := table.load().Carry(ctx, t, "sweep", control.Command{Op: "echo", RatePerSecond: rate})
			if load != nil {
				sweep.Loads = append(sweep.Loads, *load)
			}
			if err != nil || load == nil {
				return err
			}
			s.tried(level, notKept(*load, sweep.P99LimitUS))
			sweep.describe(s.result(), table.RatesPerSecond)
		}
		return nil
	},
})

// describe records what the search has found so far.
func (s *SweepRecord) describe(f found, rates []float64) {
	at := func(level int) *float64 {
		if level == 0 {
			return nil
		}
		return &rates[level-1]
	}
	s.KneePerSecond, s.KneeLowPerSecond, s.KneeHighPerSecond, s.StoppedBy = at(f.kept), at(f.low), at(f.high), f.limit
}

// The figure of the highest rate that was kept.
var _ = figure.Add(figure.PlaceLoads+20, figure.Figure{
	Name: "sweep.knee_per_second", Title: "knee", Unit: figure.PerSecond("msg"), Kind: figure.Rate, Better: figure.Higher, Phase: "sweep",
	Means: "Highest of the plan's offered rates at which 99 % of the messages came back in time and their 99th percentile stayed within the plan's bound.",
	Of: func(t *record.Trial) *float64 {
		if sweep := Sweep.Of(t); sweep != nil {
			return sweep.KneePerSecond
		}
		return nil
	},
	ClientBound: func(t *record.Trial) string {
		if sweep := Sweep.Of(t); sweep != nil && sweep.StoppedBy == KeptClient {
			return swarmsLimit
		}
		return ""
	},
	Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableComparison}, Optional: true,
})

var _ = charts.Add(charts.PlaceLoads+100, charts.Entry{
	Name: "offered", Title: "Latency of an echo against the offered load",
	About: "The 99th percentile, the median of the rounds. A line ends with the first rate that was not kept.",
	Draw: charts.Offered(func(t *record.Trial) (list []record.Load) {
		if echo := loads.Echo.Of(t); echo != nil {
			list = append(list, *echo)
		}
		if sweep := Sweep.Of(t); sweep != nil {
			list = append(list, sweep.Loads...)
		}
		return list
	}),
})
