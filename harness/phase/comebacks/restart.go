package comebacks

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
)

// RestartTable is a plan's [restart].
type RestartTable struct {
	// Seconds is how long the connections may take to come back after each restart; 0 leaves the
	// phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
	// Window is the largest number of connects under way; 0 is no limit.
	Window int `toml:"window" json:"window,omitempty" spoils:"phase"`
	// BackoffSeconds bounds the random pause of a client before it comes back from a second
	// restart. Each failure doubles it, up to 32 times. 0: there is no second restart.
	BackoffSeconds float64 `toml:"backoff_seconds" json:"backoff_seconds,omitempty" spoils:"phase"`
}

// RestartPlan is the phase's table in a plan. Restart and Backoff are its objects in a trial's
// record: of the restart from which the clients come back at once, and of that from which each
// comes back after a pause.
var (
	RestartPlan = plan.NewPart("restart", RestartTable{}, func(r RestartTable, _ plan.Plan) []string {
		return problems("restart", r.Seconds, r.BackoffSeconds, r.Window)
	})
	Restart = record.NewSection[StormRecord]("restart")
	Backoff = record.NewSection[StormRecord]("restart_backoff")
)

var _ = phase.Add(phase.Phase{
	Name:      "restart",
	Order:     107,
	About:     "Kills a fresh server with all its connections and starts it again: the clients come back at once, and from a second restart each after a random pause.",
	Table:     RestartPlan,
	Finds:     []record.Object{Restart, Backoff},
	Opens:     true,
	OwnServer: true,
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		r := RestartPlan.Of(p)
		return r.Seconds > 0, r.Seconds / 4 // it is over when all are back
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		if t.Record.Device != "" {
			t.Warn("restart: left out: the server speaks TCP itself, so nothing resets its connections when it is killed")
			return nil
		}
		table := RestartPlan.Of(t.Plan)
		defer t.CloseSession(ctx)
		if err := t.OpenSession(ctx, session.Options{}); err != nil {
			return err
		}
		t.Session.Enter("restart", true)
		if _, err := t.Session.Meter.Read(ctx); err != nil {
			return err
		}
		if _, err := connections.RampTo(ctx, t, t.Record.Connections.Reached); err != nil {
			return err
		}
		found, err := table.restart(ctx, t, "restart", 0)
		Restart.Set(t.Record, found)
		if err != nil || table.BackoffSeconds == 0 || found.Missing > 0 {
			return err
		}
		found, err = table.restart(ctx, t, "restart_backoff", table.BackoffSeconds)
		Backoff.Set(t.Record, found)
		return err
	},
})

// restart restarts the server once. The result is nil if there was no restart.
func (r RestartTable) restart(ctx context.Context, t *phase.Trial, name string, backoff float64) (*StormRecord, error) {
	if _, err := t.Session.Meter.Read(ctx); err != nil {
		return nil, err
	}
	before := stateOf(ctx, t)
	result, piece, down, err := t.Session.Restart(ctx, "restart", control.Command{
		Op: "restart", Seconds: r.Seconds, Window: r.Window, Options: options(backoff),
		TimeoutSeconds: connections.RampPlan.Of(t.Plan).TimeoutSeconds,
	}, opened)
	if !session.HasResult(err) {
		return nil, err
	}
	t.SwarmMemory(result.Usage)
	t.WarnOfFullHandshakes(name, result)
	found := &StormRecord{DownSeconds: new(down.Seconds()), RSSBeforeBytes: t.Session.Meter.First.RSSBytes()}
	found.describe(ctx, t, name, result, before)
	if open := t.Record.Connections.Reached; found.Dropped < int64(open) {
		t.Warn("%s: %d of %d connections were dropped when the server was killed", name, found.Dropped, open)
	}
	t.CPU(name, piece)
	return found, err
}

// restartTable is the table of these figures.
const restartTable figure.Table = "restarts"

var _ = overview.Add(355, overview.Table{
	Name: restartTable, Title: "Restarts: how clients come back when the server was killed and started again",
	Columns: overview.Labels,
})

// The figures of restarts.
var (
	_ = addRestart("restart", "", Restart, "restart (clients come back at once)")
	_ = addRestart("restart_backoff", ", with back-off", Backoff, "restart (random back-off)")
)

// addRestart adds the figures of a restart.
func addRestart(name, suffix string, section record.Section[StormRecord], in string) bool {
	const place = placeComebacks + 5
	figure.Add(place, figure.Figure{
		Name: name + ".down_seconds", Title: "down" + suffix, Alone: "time without a server" + suffix, Unit: figure.UnitSeconds, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Speed, Phase: "restart",
		Means: "Time from when the server was killed until it listened again, in the " + in + ".",
		Of:    figure.Reads(section, func(s *StormRecord) *float64 { return s.DownSeconds }), Believe: believeStorm(section),
		Tables: []figure.Table{restartTable, figure.TableComparison}, Optional: true,
	})
	addStorm(place, name, suffix, restartTable, section, "restart", in, "when the first client noticed")
	figure.Add(place, figure.Figure{
		Name: name + ".rss_peak_bytes", Title: "peak RSS" + suffix, Unit: figure.UnitBytes, Kind: figure.Memory, Better: figure.Lower, Tolerance: 0.1, Slack: 64, Phase: "restart",
		Means: "Resident memory of the new server at its peak, less that of an empty one, per connection, in the " + in + ".",
		Of:    addedRSS(section), Believe: believeStorm(section),
		Tables: []figure.Table{restartTable, figure.TableComparison}, Optional: true,
	})
	figure.Add(place, figure.Figure{
		Name: "cpu." + name + "_us", Title: "CPU per comeback" + suffix, Unit: figure.UnitMicroseconds, Kind: figure.CPU, Better: figure.Lower, Tolerance: 0.15, Depends: figure.SystemCPU, Phase: "restart",
		Means:  "CPU time of the new server, user and system, its start included, per connection that came back, in the " + in + ".",
		Of:     phase.OfCPU(name + "_us"),
		Tables: []figure.Table{restartTable, figure.TableComparison}, Optional: true,
	})
	return true
}
