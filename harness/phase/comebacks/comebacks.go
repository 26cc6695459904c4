// Package comebacks has the phases in which connections are dropped and come back: all at once
// in a storm, a few each second in a churn.
package comebacks

import (
	"context"
	"encoding/json"
	"slices"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
)

// Table is the table of these phases' figures.
const Table figure.Table = "comebacks"

var _ = overview.Add(350, overview.Table{
	Name: Table, Title: "Comebacks: how dropped connections come back",
	Columns: overview.Labels,
})

// placeComebacks is where their figures stand: behind those of loads.
const placeComebacks = figure.PlaceLoads + 80

// add adds a figure of one of the phases to the table.
func add(place int, f figure.Figure) figure.Figure {
	f.Optional, f.Tables = true, []figure.Table{Table, figure.TableComparison}
	return figure.Add(place, f)
}

// problems are those of the keys that plans of comebacks have in common.
func problems(name string, seconds, backoff float64, window int) (list plan.Problems) {
	list.Duration(name+".seconds", seconds)
	list.Duration(name+".backoff_seconds", backoff)
	list.Between(name+".window", int64(window), 0, phase.MostInFlight)
	return list
}

// options are those of the swarm's commands.
func options(backoff float64) json.RawMessage {
	return control.OptionsOf(control.ComebackOptions{BackoffSeconds: backoff})
}

// Returned counts connections that were dropped.
type Returned struct {
	// Dropped is the number of connections that the clients dropped, by a reset.
	Dropped int64 `json:"dropped"`
	// Back is the number of them that were open again in the end.
	Back int64 `json:"back"`
	// Late is the number of those that were open again only after the time in which connections
	// were dropped.
	Late int64 `json:"late,omitempty"`
	// Missing is the number that never came back.
	Missing int64 `json:"missing"`
	// Reason says why they did not: one of the reasons for which a ramp ends.
	Reason string `json:"reason,omitempty"`
	// Evidence is what shows it.
	Evidence []string `json:"evidence,omitempty"`
	// Ended says why the phase ended before its time, if it was not the server.
	Ended string `json:"ended,omitempty"`
	// Failures are the connects that failed meanwhile. Each was tried again.
	Failures []record.Failure `json:"failures,omitempty"`
}

// carry runs a command as a piece of a phase. ran is false if there was nothing to drop. If the
// reading after the command fails, carry returns both the result and the error.
func carry(ctx context.Context, t *phase.Trial, name string, c control.Command) (result control.Result, piece record.Phase, ran bool, err error) {
	if t.Record.Connections.Reached == 0 {
		t.Warn("no %s: no connection was open", name)
		return result, piece, false, nil
	}
	result, piece, err = t.Session.Metered(ctx, name, c, opened)
	if !session.HasResult(err) {
		return result, piece, false, err
	}
	t.SwarmMemory(result.Usage)
	if result.Lost > 0 {
		t.Warn("%s: the server ended %d connections", name, result.Lost)
	}
	t.WarnOfFullHandshakes(name, result)
	return result, piece, true, err
}

// opened is the number of connections that came back.
func opened(r control.Result) int64 { return int64(r.Opened) }

// state is what is known before connections are dropped.
type state struct {
	reading   session.Reading
	elsewhere map[string]int64
}

// stateOf reads it.
func stateOf(ctx context.Context, t *phase.Trial) state {
	return state{t.Session.Meter.Last, t.Hosts.Counters(ctx)}
}

// explain says why connections did not come back.
func (r *Returned) explain(ctx context.Context, t *phase.Trial, name string, result control.Result, before state) {
	if r.Missing == 0 || r.Ended != "" {
		return
	}
	result.Failures = slices.DeleteFunc(slices.Clone(result.Failures), ofOpen)
	r.Reason, r.Evidence = connections.Why(ctx, t, result, result.Open+int(r.Missing), before.reading, before.elsewhere)
	if len(r.Evidence) > 0 {
		t.Warn("%s: why connections did not come back: %s (%s)", name, r.Reason, r.Evidence[0])
	}
}

// add adds what a command found.
func (r *Returned) add(t *phase.Trial, name string, result control.Result) {
	r.Dropped += result.Offered
	r.Back += result.Delivered + result.Late
	r.Late += result.Late
	r.Missing = r.Dropped - r.Back
	switch {
	case t.Session.ReserveReached() != nil:
		r.Ended = "the memory reserve was reached"
	case result.StoppedBy == control.StoppedByClient:
		r.Ended = "the swarm had no descriptor, port or memory left"
	}
	if r.Ended != "" {
		t.Warn("%s: ended before its time: %s", name, r.Ended)
	}
	if missing := result.Offered - result.Delivered - result.Late; missing > 0 {
		t.Warn("%s: %d of %d connections did not come back", name, missing, result.Offered)
	}
	for _, f := range result.Failures {
		if !ofOpen(f) {
			r.Failures = append(r.Failures, phase.FailuresOf([]control.Failure{f})...)
		}
	}
}

// ofOpen says that a failure is that of a connection that was open, or of a message on it, and not
// of a connect.
func ofOpen(f control.Failure) bool {
	switch f.Phase {
	case control.PhaseOpen, control.PhaseSend, control.PhaseEcho, control.PhasePing:
		return true
	}
	return false
}

// missingShare is the share of the connections that did not come back; nil if none was dropped.
func (r *Returned) missingShare() *float64 {
	if r.Dropped == 0 {
		return nil
	}
	return new(float64(r.Missing) / float64(r.Dropped))
}

// believe says why figures are not believed.
func (r *Returned) believe() string {
	if r.Ended != "" {
		return "it ended before its time: " + r.Ended
	}
	return ""
}

// failed is the number of connects that failed.
func (r *Returned) failed() float64 {
	sum := int64(0)
	for _, f := range r.Failures {
		sum += f.Count
	}
	return float64(sum)
}
