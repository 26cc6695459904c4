package phase

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/plan"
	"connbench/harness/record"
)

// SweepTable is a plan's [sweep].
type SweepTable struct {
	// RatesPerSecond are the rates, ascending; none leaves the phase out.
	RatesPerSecond []float64 `toml:"rates_per_second" json:"rates_per_second" spoils:"phase"`
	// Seconds, WarmupSeconds and PayloadBytes hold for each rate, as in [Load].
	Seconds       float64 `toml:"seconds" json:"seconds" spoils:"phase"`
	WarmupSeconds float64 `toml:"warmup_seconds" json:"warmup_seconds" spoils:"-"`
	PayloadBytes  int     `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
	// P99US is the 99th percentile of the latency, in microseconds, up to which a
	// rate counts as kept.
	P99US float64 `toml:"p99_us" json:"p99_us" spoils:"phase"`
}

// load is the load of each rate.
func (s SweepTable) load() Load {
	return Load{Seconds: s.Seconds, WarmupSeconds: s.WarmupSeconds, PayloadBytes: s.PayloadBytes}
}

// SweepRecord is what rising rates came to.
type SweepRecord struct {
	// P99LimitUS is the 99th percentile up to which a rate counts as kept.
	P99LimitUS float64 `json:"p99_limit_us"`
	// KneePerSecond is the highest rate that was kept, nil where none was.
	KneePerSecond *float64 `json:"knee_per_second"`
	// Loads are the rates in the order in which they were offered; the last is the
	// first that was not kept, or the plan's last.
	Loads []record.Load `json:"loads"`
}

// SweepPlan is the part of a plan, Sweep that of a trial.
var (
	SweepPlan = plan.NewPart("sweep", SweepTable{}, func(s SweepTable, p plan.Plan) []string {
		if len(s.RatesPerSecond) == 0 {
			return nil
		}
		list := s.load().problems("sweep", p)
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

var _ = Add(Phase{
	Name:  "sweep",
	Order: 60,
	About: "Offers rising rates of messages until one is not kept; the highest that is kept is the knee of latency against load.",
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		s := SweepPlan.Of(p)
		return len(s.RatesPerSecond) > 0, float64(len(s.RatesPerSecond)) * (s.Seconds + s.WarmupSeconds)
	},
	Run: func(ctx context.Context, t *Trial) error {
		table := SweepPlan.Of(t.Plan)
		sweep := &SweepRecord{P99LimitUS: table.P99US, Loads: []record.Load{}}
		Sweep.Set(t.Record, sweep)
		for _, rate := range table.RatesPerSecond {
			load, _, err := table.load().carry(ctx, t, "sweep", control.Command{Op: control.OpEcho, RatePerSecond: rate})
			if load != nil {
				sweep.Loads = append(sweep.Loads, *load)
			}
			if err != nil || load == nil || notKept(*load, sweep.P99LimitUS) != "" {
				return err
			}
			sweep.KneePerSecond = &rate
		}
		return nil
	},
})

// The highest offered rate that was kept.
var _ = figure.Add(figure.PlaceLoads+20, figure.Figure{
	Name: "sweep.knee_per_second", Title: "knee", Unit: figure.PerSecond("msg"), Kind: figure.Rate, Better: figure.Higher, Phase: "sweep",
	Means: "Highest of the plan's offered rates at which 99 % of the messages came back in time and their 99th percentile stayed within the plan's bound.",
	Of: func(t *record.Trial) *float64 {
		if sweep := Sweep.Of(t); sweep != nil {
			return sweep.KneePerSecond
		}
		return nil
	},
	Depends: figure.Pace, Tables: []figure.Table{figure.TableLoad, figure.TableComparison}, Optional: true,
})
