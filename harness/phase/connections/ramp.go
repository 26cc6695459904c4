package connections

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
)

// RampTable is a plan's [ramp].
type RampTable struct {
	// Steps is the number of points, equally far apart, at which the ramp pauses to be
	// measured. More points make the intervals of slopes narrower.
	Steps int `toml:"steps" json:"steps" spoils:"-"`
	// Window is the largest number of unfinished connects and handshakes.
	Window int `toml:"window" json:"window" spoils:"phase"`
	// RatePerSecond is how many connections are begun a second; 0 is as fast as
	// [RampTable.Window] allows.
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second" spoils:"phase"`
	// TimeoutSeconds is how long one connect with its handshake may take.
	TimeoutSeconds float64 `toml:"timeout_seconds" json:"timeout_seconds" spoils:"connections.reached"`
	// Patience is how many connects or handshakes may fail in a row; 0 is 100, or one in a
	// hundred connections. Ten times as many in all end the ramp too.
	Patience int `toml:"patience" json:"patience,omitempty" spoils:"connections.reached"`
	// PauseSeconds is how long nothing moves before a point is measured.
	PauseSeconds float64 `toml:"pause_seconds" json:"pause_seconds" spoils:"-"`
	// PayloadBytes is the size of a message that every connection echoes before a point is
	// measured, so that the memory that a server takes for the first messages of a connection
	// is part of what it costs; 0 is none.
	PayloadBytes int `toml:"payload_bytes" json:"payload_bytes,omitempty"`
	// Settled is true where there is a second ramp, against a fresh server that collects
	// its garbage before each point.
	Settled bool `toml:"settled" json:"settled" spoils:"-"`
}

// RampRecord is the opening of the connections. The pauses in which points are measured
// are not part of its time.
type RampRecord struct {
	// Resumed is the number of connections that resumed a TLS session; left out without TLS.
	Resumed *int64 `json:"resumed,omitempty"`
	// PayloadBytes is the size of the message that every connection echoed before each point;
	// left out where there was none.
	PayloadBytes int `json:"payload_bytes,omitempty"`
	// Seconds is how long connections were opened.
	Seconds float64 `json:"seconds"`
	// ConnectsPerSecond is the rate of connections with a verified handshake.
	ConnectsPerSecond *float64 `json:"connects_per_second"`
	// OfferedPerSecond is the rate at which connections were due; left out where the window
	// alone set the pace.
	OfferedPerSecond *float64 `json:"offered_per_second,omitempty"`
	// Handshake is the time from the connect to the verified answer of the handshake. It is a
	// result only if the ramp had a rate and kept it: in a closed window it is the window
	// divided by the rate (Little's law), whatever the server does.
	Handshake *record.Latency `json:"handshake"`
	// FirstPerSecond is the rate over the first tenth of the connections, in whole steps;
	// left out if the ramp has one step.
	FirstPerSecond *float64 `json:"first_per_second,omitempty"`
	// LastPerSecond is the rate over the last tenth of the connections, in whole steps.
	LastPerSecond *float64 `json:"last_per_second,omitempty"`
}

// RampPlan is the phase's table in a plan, Ramp its object in a trial's record.
var (
	RampPlan = plan.NewPart("ramp", RampTable{Steps: 8, Window: 256, TimeoutSeconds: 10, PauseSeconds: 0.2, Settled: true},
		func(r RampTable, p plan.Plan) []string {
			var list plan.Problems
			list.If(r.Steps < 1 || r.Steps > mostSteps, "ramp.steps is %d: it must be from 1 to %d (a useful interval takes at least 6)", r.Steps, mostSteps)
			list.If(r.Window < 1 || r.Window > phase.MostInFlight, "ramp.window is %d: it must be from 1 to %d", r.Window, phase.MostInFlight)
			list.If(r.RatePerSecond != 0 && !plan.Positive(r.RatePerSecond), "ramp.rate_per_second is %g: it must be positive, or 0 for as fast as the window allows", r.RatePerSecond)
			list.If(r.TimeoutSeconds == 0, "ramp.timeout_seconds is 0: it must be positive")
			list.Duration("ramp.timeout_seconds", r.TimeoutSeconds)
			list.Between("ramp.patience", int64(r.Patience), 0, phase.MostInFlight)
			list.Duration("ramp.pause_seconds", r.PauseSeconds)
			list.Between("ramp.payload_bytes", int64(r.PayloadBytes), 0, int64(p.Server.MaxMessageBytes))
			return list
		})
	Ramp = record.NewSection[RampRecord]("ramp")
)

// mostSteps is the largest number of steps: a record lists every point.
const mostSteps = 5000

// Guesses for how long a ramp takes: connections opened per second, and seconds to measure
// a point.
const (
	guessedRate      = 4000
	guessedReading   = 0.1
	guessedFreshness = 1.5 // seconds to start and stop servers and swarm
)

// guess estimates how long one ramp takes, in seconds.
func (r RampTable) guess(connections int) float64 {
	return guessedFreshness + float64(connections)/guessedRate + float64(r.Steps)*(r.PauseSeconds+guessedReading)
}

// To returns the command that opens connections until there are as many.
func (r RampTable) To(connections int) control.Command {
	return control.Command{
		Op: "ramp", Connections: connections,
		Window: r.Window, RatePerSecond: r.RatePerSecond, TimeoutSeconds: r.TimeoutSeconds,
		Options: r.options(),
	}
}

// RampTo has the swarm of the trial's session open connections until there are as many. If it
// ends before, RampTo returns how many there are and an error.
func RampTo(ctx context.Context, t *phase.Trial, connections int) (open int, err error) {
	result, err := t.Session.Do(ctx, RampPlan.Of(t.Plan).To(connections))
	if err == nil && result.Open < connections {
		err = fmt.Errorf("the ramp ended at %d of %d connections", result.Open, connections)
	}
	return result.Open, err
}

// options returns what only the load "ramp" knows; nil if the plan says nothing of it.
func (r RampTable) options() json.RawMessage {
	if r.Patience == 0 {
		return nil
	}
	return control.OptionsOf(control.RampOptions{Patience: r.Patience})
}

var _ = phase.Add(phase.Phase{
	Name:    "ramp",
	Order:   10,
	About:   "Opens the connections in steps, and measures the server between the steps.",
	Table:   RampPlan,
	Finds:   []record.Object{Ramp, Budget},
	Opens:   true,
	Planned: func(p plan.Plan, connections int) (bool, float64) { return true, RampPlan.Of(p).guess(connections) },
	Run: func(ctx context.Context, t *phase.Trial) error {
		r := ramp{t: t, table: RampPlan.Of(t.Plan)}
		if err := r.open(ctx); err != nil {
			return err
		}
		return r.describe(ctx)
	},
})

// ramp is the main ramp while it runs.
type ramp struct {
	t     *phase.Trial
	table RampTable
	// before and elsewhere are the readings before the first step.
	before    session.Reading
	elsewhere map[string]int64
	results   []control.Result
}

// open opens the connections step by step, and measures after each step.
func (r *ramp) open(ctx context.Context) error {
	t := r.t
	if err := step(ctx, t, &t.Record.Steps, 0, t.Session.Meter.Read); err != nil {
		return err
	}
	r.before, r.elsewhere = t.Session.Meter.Last, t.Hosts.Counters(ctx)
	if err := t.Session.Meter.Begin(ctx, "ramp"); err != nil {
		return err
	}
	open := 0
	for target := range r.points() {
		result, err := t.Session.Do(ctx, r.table.To(target))
		if err != nil {
			t.Record.Connections.Peak = max(open, t.Session.Reported())
			return err
		}
		// The server may die in this step, and all connections with it.
		t.Record.Connections.Peak = max(result.Open, open+result.Opened)
		open = result.Open
		r.results = append(r.results, result)
		if err := r.measure(ctx, result); err != nil {
			return err
		}
		if open < target || t.Session.ReserveReached() != nil {
			break
		}
	}
	return nil
}

// measure measures the point that a result has brought the ramp to.
func (r *ramp) measure(ctx context.Context, result control.Result) error {
	t := r.t
	if r.table.PayloadBytes == 0 {
		// The garbage that the server collects in the pause comes from the accepts.
		lap := func(ctx context.Context) (session.Reading, error) {
			return t.Session.Meter.Lap(ctx, int64(result.Opened), result.Usage)
		}
		return step(ctx, t, &t.Record.Steps, result.Open, lap)
	}
	if _, err := t.Session.Meter.End(ctx, int64(result.Opened), result.Usage); err != nil {
		return err
	}
	if err := r.table.exchange(ctx, t); err != nil {
		return err
	}
	if err := step(ctx, t, &t.Record.Steps, result.Open, t.Session.Meter.Read); err != nil {
		return err
	}
	return t.Session.Meter.Begin(ctx, "ramp") // the next step, without the messages
}

// exchange has every connection echo a message, if the plan says so.
func (r RampTable) exchange(ctx context.Context, t *phase.Trial) error {
	if r.PayloadBytes == 0 {
		return nil
	}
	result, err := t.Session.Do(ctx, control.Command{Op: "census", PayloadBytes: r.PayloadBytes, TimeoutSeconds: max(censusPatience, r.TimeoutSeconds)})
	if err != nil || t.Session.Server.Ended() != nil { // the reading that comes next says so
		return err
	}
	if result.Corrupt > 0 {
		t.Invalidate("ramp: %d echoes were not what had been sent", result.Corrupt)
	}
	// Late ones are in the memory that is measured too.
	if silent := result.Offered - result.Delivered - result.Late - result.Corrupt; silent > 0 || result.Lost > 0 {
		t.Invalidate("ramp: %d of %d connections did not echo a message of %d bytes, %d were lost", max(0, silent), result.Offered, r.PayloadBytes, result.Lost)
	}
	return nil
}

// points yields the numbers of connections at which the ramp pauses. Each is computed when
// the point before has been measured.
func (r *ramp) points() iter.Seq[int] {
	if r.t.Plan.BudgetBytes > 0 {
		return budgetPoints(r.t, r.table.Steps)
	}
	return func(yield func(int) bool) {
		for i := range r.table.Steps {
			if !yield(r.t.Target * (i + 1) / r.table.Steps) {
				return
			}
		}
	}
}

// step waits for the pause, then takes one point of a ramp by read.
func step(ctx context.Context, t *phase.Trial, steps *[]record.Step, open int, read func(context.Context) (session.Reading, error)) error {
	if err := phase.Sleep(ctx, RampPlan.Of(t.Plan).PauseSeconds); err != nil {
		return err
	}
	reading, err := read(ctx)
	if err != nil {
		return err
	}
	empty := t.Session.Meter.First
	point := reading.Step(open, *empty, t.KernelEnds)
	if used, err := t.Session.Swarm.Usage(ctx); err == nil {
		point.ClientRSSBytes = &used.RSSBytes
	}
	*steps = append(*steps, point)
	return nil
}

// describe records the ramp's result, and why it ended.
func (r *ramp) describe(ctx context.Context) error {
	t := r.t
	result, err := session.InTurn(r.results)
	if err != nil {
		return err
	}
	t.Record.Connections.Peak = result.Open
	t.Record.ClientProcesses = result.Processes
	found := &RampRecord{PayloadBytes: r.table.PayloadBytes, Seconds: result.Seconds, Handshake: t.Latency(result.Latency)}
	Ramp.Set(t.Record, found)
	if result.Seconds > 0 {
		found.ConnectsPerSecond = new(float64(result.Opened) / result.Seconds)
	}
	if r.table.RatePerSecond > 0 {
		found.OfferedPerSecond = &r.table.RatePerSecond
	}
	if len(r.results) > 1 {
		found.FirstPerSecond = rateOfTenth(slices.Values(r.results), result.Opened)
		found.LastPerSecond = rateOfTenth(backward(r.results), result.Opened)
	}
	if result.Opened > 0 {
		cpu := result.Usage.UserSeconds + result.Usage.SystemSeconds
		t.Record.Client.ConnectCPUUS = new(cpu / float64(result.Opened) * 1e6)
	}
	for _, piece := range t.Session.Meter.Phases {
		if piece.Name == "ramp" {
			t.CPU("accept", piece)
		}
	}
	if t.Record.Security != "" {
		found.Resumed = new(result.Counts[control.CountResumed])
	}
	t.WarnOfFullHandshakes("ramp", result)
	if result.Lost > 0 {
		t.Warn("%d connections were lost during the ramp", result.Lost)
	}
	describeBudget(t)
	attribute(t, factsOf(ctx, t, result, t.Session.ReserveReached(), r.before, r.elsewhere))
	return nil
}

// rateOfTenth returns the rate of connects over the first of the steps: over the fewest
// that hold a tenth of all connections that were opened; nil if they took no time.
func rateOfTenth(steps iter.Seq[control.Result], all int) *float64 {
	opened, seconds := 0, 0.0
	for step := range steps {
		opened += step.Opened
		seconds += step.Seconds
		if opened*10 >= all {
			break
		}
	}
	if opened == 0 || seconds == 0 {
		return nil
	}
	return new(float64(opened) / seconds)
}

func backward(steps []control.Result) iter.Seq[control.Result] {
	return func(yield func(control.Result) bool) {
		for _, step := range slices.Backward(steps) {
			if !yield(step) {
				return
			}
		}
	}
}

// The figures of the ramp's pace.
var (
	ConnectRate = figure.Add(figure.PlaceRamp, figure.Figure{
		Name: "ramp.connects_per_second", Title: "connect rate", Unit: figure.PerSecond("conn"), Kind: figure.Rate, Better: figure.Higher, Phase: "ramp",
		Means:   "Connections opened with a verified handshake, per second of the ramp, pauses for measurement left out.",
		Of:      figure.Reads(Ramp, func(r *RampRecord) *float64 { return r.ConnectsPerSecond }),
		Depends: figure.Pace, Tolerance: 0.3,
		Tables: []figure.Table{figure.TableCapacity, figure.TableRepeatability, figure.TableComparison, figure.TableProgress},
	})
	_ = figure.Add(figure.PlaceRamp, figure.Figure{
		Name: "ramp.last_tenth", Title: "last tenth ÷ first", Unit: figure.UnitShare, Kind: figure.Rate, Better: figure.Higher, Phase: "ramp",
		Means: "Connect rate in the last tenth of the ramp, as a share of that in the first tenth. Below 100%, connecting slowed down as connections accumulated.",
		Of: figure.Reads(Ramp, func(r *RampRecord) *float64 {
			if r.FirstPerSecond == nil || r.LastPerSecond == nil {
				return nil
			}
			return new(*r.LastPerSecond / *r.FirstPerSecond)
		}),
		Depends: figure.Pace, Tables: []figure.Table{figure.TableCapacity}, Optional: true,
	})
	_ = figure.Add(figure.PlaceRamp, figure.Figure{
		Name: "ramp.last_tenth_accept_cpu", Title: "accept CPU, last tenth ÷ first", Unit: figure.UnitShare, Kind: figure.CPU, Better: figure.Lower, Phase: "ramp",
		Means:   "CPU time of the server per connection in the last tenth of the ramp, as a share of that in the first tenth. Above 100%, connections became more expensive as they accumulated. Unlike the rate, it hardly depends on other programs.",
		Of:      acceptCPUGrowth,
		Depends: figure.SystemCPU, Tables: []figure.Table{figure.TableCapacity}, Optional: true,
	})
)

// The figures of a handshake's latency.
var (
	_ = handshake("p50", "Median time", func(l *record.Latency) float64 { return l.P50US })
	_ = handshake("p99", "99th percentile of the time", func(l *record.Latency) float64 { return l.P99US }, figure.TableCapacity, figure.TableComparison)
)

// handshake adds a percentile of the handshakes' latency in ramps with a rate.
func handshake(percentile, means string, of func(*record.Latency) float64, tables ...figure.Table) figure.Figure {
	return figure.Add(figure.PlaceRamp, figure.Figure{
		Name: "ramp.handshake." + percentile + "_us", Title: "handshake " + percentile, Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Phase: "ramp",
		Means: means + " from connect to the verified handshake answer, where the plan's ramp has a rate (open loop).",
		Of: figure.Reads(Ramp, func(r *RampRecord) *float64 {
			if r.OfferedPerSecond == nil {
				return nil
			}
			return figure.From(r.Handshake, of)
		}),
		Believe: believeHandshake,
		Depends: figure.Pace, Tables: tables, Optional: true,
	})
}

// keptRate is the share of the ramp's rate below which the window, and no longer the rate,
// sets the pace.
const keptRate = 0.95

// believeHandshake says why the latency of a ramp's handshakes is not believed: the rate
// was not kept, so that connections waited for a place in the window.
func believeHandshake(t *record.Trial) string {
	r := Ramp.Of(t)
	if r == nil || r.OfferedPerSecond == nil || r.ConnectsPerSecond == nil || *r.ConnectsPerSecond >= keptRate**r.OfferedPerSecond {
		return ""
	}
	return fmt.Sprintf("the ramp kept %.0f of %.0f connections a second", *r.ConnectsPerSecond, *r.OfferedPerSecond)
}

// The figures of the server's CPU time for a connect.
var _ = phase.AddCPU(figure.PlaceCPU, "accept", figure.Figure{
	Title: "CPU per accept", Phase: "ramp",
	Means:     "CPU time of the server, user and system, during the ramp and its pauses, per connection accepted and upgraded.",
	Tolerance: 0.2,
	Tables:    []figure.Table{figure.TableCost, figure.TableTrials, figure.TableRepeatability, figure.TableComparison},
})

// acceptCPUGrowth returns the server's CPU time per connection over the last points of the
// ramp, divided by that over its first points. Both ranges have the fewest points that
// hold a tenth of the connections. It returns nil if the ramp has one step, if CPU time
// was not measured, or if connections echoed messages before each point.
func acceptCPUGrowth(t *record.Trial) *float64 {
	points, ramp := t.Steps, Ramp.Of(t)
	if len(points) < 3 || ramp != nil && ramp.PayloadBytes > 0 { // the empty server is the first point
		return nil
	}
	empty, full := points[0], points[len(points)-1]
	tenth := (full.Connections - empty.Connections + 9) / 10
	first := slices.IndexFunc(points, func(p record.Step) bool { return p.Connections >= empty.Connections+tenth })
	last := len(points) - 1
	for last > 0 && points[last].Connections > full.Connections-tenth {
		last--
	}
	early, late := acceptCPU(empty, points[first]), acceptCPU(points[last], full)
	if early == nil || late == nil || *early == 0 {
		return nil
	}
	return new(*late / *early)
}

// acceptCPU returns the server's CPU time per connection between two points of a ramp, in
// seconds.
func acceptCPU(from, to record.Step) *float64 {
	if from.CPUSeconds == nil || to.CPUSeconds == nil || to.Connections <= from.Connections {
		return nil
	}
	return new((*to.CPUSeconds - *from.CPUSeconds) / float64(to.Connections-from.Connections))
}

var _ = phase.Instructions(figure.PlaceCPU, "ramp", "accept", "accept", figure.TableCost, figure.TableComparison)
