package connections

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/cause"
	"connbench/harness/phase"
	"connbench/harness/record"
	"connbench/harness/session"
)

// attribute records what ended the ramp. The trial is invalid if the ramp opened nothing,
// or ended because the server broke a rule.
func attribute(t *phase.Trial, facts cause.Facts) {
	found, evidence := cause.Attribute(facts)
	t.Record.Stop = record.Stop{
		Reason: found.Reason, Evidence: evidence,
		Counters: facts.ServerCounters, ClientCounters: facts.ClientCounters,
	}
	if facts.Ramp == nil {
		return // and the trial is invalid anyway
	}
	t.Record.Stop.Failures = phase.FailuresOf(facts.Ramp.Failures)
	switch {
	case found.Invalidates:
		t.Invalidate("ramp: %s", evidence[0])
	case facts.Ramp.Open == 0:
		t.Invalidate("ramp: no connection is open (%s)", evidence[0])
	}
}

// Why returns why fewer connections are open after a command than there should be, as a ramp's
// stop reason, since a reading and counters of other hosts before it.
func Why(ctx context.Context, t *phase.Trial, result control.Result, expected int, before session.Reading, elsewhere map[string]int64) (reason string, evidence []string) {
	facts := factsOf(ctx, t, result, t.Session.ReserveReached(), before, elsewhere)
	facts.Ramp.Target, facts.Ramp.BudgetBytes = expected, 0
	found, evidence := cause.Attribute(facts)
	return found.Reason, evidence
}

// factsOf returns the facts about a ramp that has ended, since the readings before it.
// shortage says which memory ran short, if that ended it.
func factsOf(ctx context.Context, t *phase.Trial, ramp control.Result, shortage *cause.Shortage, before session.Reading, elsewhere map[string]int64) cause.Facts {
	last := t.Session.Meter.Last
	facts := cause.Facts{
		Ramp: &cause.Ramp{
			Open: ramp.Open, Target: t.Target,
			StoppedBy: ramp.StoppedBy, Failures: ramp.Failures, TimeoutSeconds: RampPlan.Of(t.Plan).TimeoutSeconds,
			Answers: answersOf(ramp), Shortage: shortage,
			LibraryLimit: t.MostPerProcess * t.ServerProcesses,
		},
		ServerCounters: last.Measured.System.Since(before.Measured.System, nil).Counters,
	}
	facts.Ramp.Descriptors, facts.Ramp.DescriptorLimit = last.Descriptors(), t.DescriptorsPerProcess*int64(t.ServerProcesses)
	if t.Record.Class == record.ClassAttached || len(last.Measured.Processes) > t.ServerProcesses { // they do not share the connections evenly
		facts.Ramp.Descriptors, facts.Ramp.DescriptorLimit = last.Fullest()
	}
	if budget := Budget.Of(t.Record); budget != nil && budget.Connections != nil {
		facts.Ramp.BudgetBytes, facts.Ramp.SpentBytes = budget.Bytes, budget.SpentBytes
	}
	for name, now := range t.Hosts.Counters(ctx) {
		// A counter that did not exist before cannot be compared.
		if earlier, known := elsewhere[name]; known && now != earlier {
			if facts.ClientCounters == nil {
				facts.ClientCounters = map[string]int64{}
			}
			facts.ClientCounters[name] = now - earlier
		}
	}
	if words := t.Session.Server.LastWords(ctx); words != "" {
		facts.LastWords = append(facts.LastWords, words)
	}
	return facts
}

// answersOf returns what the server said to connections that it refused or ended.
func answersOf(ramp control.Result) map[string]int64 {
	answers := map[string]int64{}
	for name, count := range ramp.Counts {
		if strings.HasPrefix(name, control.CountStatus) || strings.HasPrefix(name, control.CountClose) {
			answers[name] = count
		}
	}
	return answers
}

// Fail records why the trial could not go on. If the ramp had not ended yet, this is also
// what ended the ramp.
func Fail(ctx context.Context, t *phase.Trial, err error) {
	facts := factsOfFailure(ctx, t, err)
	if t.Record.Stop.Reason == "" {
		facts.ServerCounters = countersOfFailure(ctx, t)
		attribute(t, facts)
	}
	t.Invalidate("%s", facts.Failed)
}

// factsOfFailure returns the facts about a trial that could not go on because of err.
func factsOfFailure(ctx context.Context, t *phase.Trial, err error) cause.Facts {
	if ctx.Err() != nil {
		return cause.Facts{Failed: "interrupted", Interrupted: true}
	}
	facts := cause.Facts{Failed: err.Error()}
	// If the host is lost, everything on it is.
	if lost := t.Hosts.Lost(); lost != nil {
		facts.HostLost = lost.Error()
		if !errors.Is(err, agent.ErrHostLost) {
			facts.Failed = fmt.Sprintf("%v (%v)", err, lost)
		}
		return facts
	}
	if server := t.Session.Server; server != nil {
		broken := (*session.ContractError)(nil)
		if !errors.As(err, &broken) { // a server that breaks the contract is alive
			server.AwaitEnd()
		}
		if ended := server.Ended(); ended != nil {
			facts.Failed = fmt.Sprintf("%v (%v)", err, ended)
			err = errors.Join(err, ended)
			if !errors.As(ended, &broken) {
				facts.ServerEnded = ended.Error()
			}
		}
	}
	if errors.Is(err, session.ErrSwarmEnded) {
		facts.ClientEnded = err.Error()
	}
	if broken := (*session.ContractError)(nil); errors.As(err, &broken) {
		facts.ContractBroken = broken.What
	}
	if refused := (*session.StartError)(nil); errors.As(err, &refused) && refused.Refused() {
		facts.StartRefused = err.Error()
	}
	return facts
}

// countersOfFailure returns the counters that changed on the server's host since its
// first reading. It returns none if there was no reading, or if the host no longer
// answers.
func countersOfFailure(ctx context.Context, t *phase.Trial) map[string]int64 {
	if t.Session.Meter == nil || t.Session.Meter.First == nil || ctx.Err() != nil {
		return nil
	}
	now, err := t.Hosts.ServerHost(ctx)
	if err != nil {
		return nil
	}
	return now.Since(t.Session.Meter.First.Measured.System, nil).Counters
}
