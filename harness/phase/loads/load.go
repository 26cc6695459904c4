package loads

import (
	"context"
	"fmt"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/table"
)

// Load is the table of a phase that sends messages.
type Load struct {
	// Seconds is how long messages are sent; 0 leaves the phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
	// PayloadBytes is the size of a message's payload.
	PayloadBytes int `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
	// WarmupSeconds is how long the same load runs before; its figures do not count.
	WarmupSeconds float64 `toml:"warmup_seconds" json:"warmup_seconds" spoils:"-"`
}

// planned implements [phase.Phase.Planned] for a phase with this table.
func (l Load) planned() (runs bool, seconds float64) {
	return l.Seconds > 0, l.WarmupSeconds + l.Seconds
}

// Problems returns what is wrong with the table, which has the given name.
func (l Load) Problems(table string, p plan.Plan) (list plan.Problems) {
	list.Duration(table+".seconds", l.Seconds)
	list.Duration(table+".warmup_seconds", l.WarmupSeconds)
	list.If(l.Seconds > 0 && (l.PayloadBytes < 1 || l.PayloadBytes > p.Server.MaxMessageBytes),
		"%s.payload_bytes is %d: it must be from 1 to server.max_message_bytes (%d)", table, l.PayloadBytes, p.Server.MaxMessageBytes)
	return list
}

// Carry has the swarm carry a load after its warm-up, and returns the result: nil if no
// connection was open. If the reading after the load fails, it returns both what the
// swarm saw and the error.
func (l Load) Carry(ctx context.Context, t *phase.Trial, name string, c control.Command) (*record.Load, record.Phase, error) {
	if t.Record.Connections.Reached == 0 {
		t.Warn("no %s: no connection was open", name)
		return nil, record.Phase{}, nil
	}
	if open, peak := t.Session.Reported(), t.Record.Connections.Peak; t.Record.Class == record.ClassAttached && float64(open) < leastLeft*float64(peak) {
		t.Warn("no %s: the server closed %d of %d connections, so it gets no more load", name, peak-open, peak)
		return nil, record.Phase{}, nil
	}
	c.PayloadBytes = l.PayloadBytes
	c.TimeoutSeconds = connections.RampPlan.Of(t.Plan).TimeoutSeconds
	if l.WarmupSeconds > 0 {
		c.Seconds = l.WarmupSeconds
		warmup, err := t.Session.Do(ctx, c)
		if err != nil {
			return nil, record.Phase{}, err
		}
		judgeLoad(t, name+" (warm-up)", warmup)
	}
	c.Seconds = l.Seconds
	result, piece, err := t.Session.Metered(ctx, name, c, answered)
	if !session.HasResult(err) {
		return nil, piece, err
	}
	return Of(t, name, c, result, piece), piece, err
}

// leastLeft is the share of the connections that must still be open if a server that somebody
// else has started is to get another load.
const leastLeft = 0.95

// answered is the number of messages that came back, in the load's time or after it.
func answered(r control.Result) int64 { return r.Delivered + r.Late }

// loadOf returns the record of a load.
func Of(t *phase.Trial, name string, c control.Command, result control.Result, piece record.Phase) *record.Load {
	used := result.Usage
	l := &record.Load{
		Seconds: result.Seconds, PayloadBytes: c.PayloadBytes,
		Offered: &result.Offered, Sent: result.Sent, Delivered: result.Delivered, Late: &result.Late,
		Unanswered: &result.Unanswered, Corrupt: result.Corrupt, ReceivedBytes: result.ReceivedBytes, Lost: result.Lost,
		InFlight: c.InFlight, Failures: phase.FailuresOf(result.Failures),
		LagP50US: new(used.LagP50Seconds * 1e6), LagP99US: new(used.LagP99Seconds * 1e6), LagMaxUS: new(used.LagMaxSeconds * 1e6),
		ClientRunDelaySeconds: used.RunDelaySeconds, ServerRunDelaySeconds: piece.ServerRunDelaySeconds,
	}
	if result.Seconds > 0 {
		l.DeliveredPerSecond = float64(result.Delivered) / result.Seconds
		if c.RatePerSecond > 0 {
			l.OfferedPerSecond = new(float64(result.Offered) / result.Seconds)
		}
	}
	if latency := t.Latency(result.Latency); latency != nil {
		l.Latency = *latency
	}
	if n := answered(result); piece.ServerCPUSeconds != nil && n > 0 {
		l.ServerCPUUS = new(*piece.ServerCPUSeconds / float64(n) * 1e6)
	}
	l.ClientBound = clientBound(l, used.Busy, piece, t.ServerCPUs)
	t.SwarmMemory(result.Usage)
	t.SwarmLag(result.Usage)

	judgeLoad(t, name, result)
	switch {
	case l.ClientBound && l.OfferedPerSecond != nil:
		t.Warn("%s: the swarm sent late (99th percentile %s ms), which is part of the latency (%s ms)", name, table.Number(*l.LagP99US/1000), table.Number(l.P99US/1000))
	case l.ClientBound:
		t.Warn("%s: the swarm was the bottleneck, not the server", name)
	}
	return l
}

// judgeLoad notes what a server did wrong under a load or in its warm-up.
func judgeLoad(t *phase.Trial, name string, result control.Result) {
	if result.Corrupt > 0 {
		t.Invalidate("%s: %d echoes were not what had been sent", name, result.Corrupt)
	}
	if result.Lost > 0 {
		t.Warn("%s: %d connections were lost", name, result.Lost)
	}
	if result.Unanswered > 0 {
		t.Warn("%s: %d of %d messages had no answer", name, result.Unanswered, result.Offered)
	}
}

// boundBusy is the share of time from which an event loop, or a server's CPUs, count
// as saturated.
const boundBusy = 0.95

// boundLag is the share of the latency's 99th percentile above which the swarm's own
// lag is too large a part of it.
const boundLag = 0.1

// clientBound reports whether the swarm set the pace of a load. busy is the share of the
// time in which its busiest event loop did not wait. At an offered rate the swarm sets the
// pace when it sends late: its delay is then part of every latency. In a closed loop it
// does when its busiest event loop is never idle and the server is.
func clientBound(l *record.Load, busy float64, piece record.Phase, serverCPUs int) bool {
	if l.OfferedPerSecond != nil {
		return l.P99US > 0 && *l.LagP99US > boundLag*l.P99US
	}
	if piece.ServerCPUSeconds == nil || piece.Seconds == 0 {
		return busy >= boundBusy
	}
	server := *piece.ServerCPUSeconds / piece.Seconds / float64(serverCPUs)
	return busy >= boundBusy && server < boundBusy-0.1
}

// fewUnanswered is the share of messages without an answer up to which latencies are
// believed.
const fewUnanswered = 0.001

// believeLatency says why the latencies of a load are not believed: too many messages had
// no answer. Their age at the end is not the time that they would have taken.
func believeLatency(section record.Section[record.Load]) func(*record.Trial) string {
	return func(t *record.Trial) string { return TooManyUnanswered(section.Of(t)) }
}

// TooManyUnanswered says why the latencies of a load are not believed; "" if they are, or there is
// no load.
func TooManyUnanswered(l *record.Load) string {
	if l == nil || l.Offered == nil || l.Unanswered == nil || float64(*l.Unanswered) <= fewUnanswered*float64(*l.Offered) {
		return ""
	}
	return fmt.Sprintf("%d of %d messages had no answer", *l.Unanswered, *l.Offered)
}

// swarmsPace says why the pace of a load is the swarm's rather than the server's.
func swarmsPace(section record.Section[record.Load]) func(*record.Trial) string {
	return func(t *record.Trial) string { return PaceOfSwarm(section.Of(t)) }
}

// PaceOfSwarm says why the pace of a load is the swarm's; "" if it is not, or there is no load.
func PaceOfSwarm(l *record.Load) string {
	switch {
	case l == nil || !l.ClientBound:
		return ""
	case l.OfferedPerSecond != nil:
		return "the swarm sent late"
	}
	return "the swarm was the bottleneck"
}

// ofLoad makes a figure that reads the object of a load.
func ofLoad(section record.Section[record.Load], of func(*record.Load) float64) func(*record.Trial) *float64 {
	return func(t *record.Trial) *float64 { return figure.From(section.Of(t), of) }
}

// addFailures adds the figures of what should not happen in a phase with an offered rate:
// messages that were late or had no answer, connections that died, and a swarm that is
// late itself.
func addFailures(place int, name string, section record.Section[record.Load]) bool {
	figure.Add(place, figure.Figure{
		Name: name + ".unanswered_share", Title: "unanswered", Alone: name + " unanswered", Unit: figure.UnitShare, Kind: figure.Loss, Better: figure.Lower, Phase: name,
		Means: "Messages that were due and had no answer when the load ended, as a share of all that were due.",
		Of: figure.Reads(section, func(l *record.Load) *float64 {
			switch {
			case l.Unanswered != nil && l.Offered != nil && *l.Offered > 0:
				return new(float64(*l.Unanswered) / float64(*l.Offered))
			case l.Sent == 0:
				return nil
			}
			return new(float64(l.Sent-l.Delivered-l.Corrupt) / float64(l.Sent))
		}),
		Slack: 0.001,
	})
	figure.Add(place, figure.Figure{
		Name: name + ".late_share", Title: "late", Alone: name + " late", Unit: figure.UnitShare, Kind: figure.Loss, Better: figure.Lower, Phase: name,
		Means: "Messages that came back after the time in which messages were sent, as a share of all that were due.",
		Of: figure.Reads(section, func(l *record.Load) *float64 {
			if l.Late == nil || l.Offered == nil || *l.Offered == 0 {
				return nil
			}
			return new(float64(*l.Late) / float64(*l.Offered))
		}),
	})
	figure.Add(place, figure.Figure{
		Name: name + ".lag_p99_us", Title: name + " swarm lag p99", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.None, Phase: name,
		Means:  "99th percentile of how late the swarm sent its messages. This part of the latency is not the server's.",
		Of:     figure.Reads(section, func(l *record.Load) *float64 { return l.LagP99US }),
		Tables: []figure.Table{figure.TableLoad}, Optional: true,
	})
	figure.Add(place, figure.Figure{
		Name: name + ".lost", Title: "lost", Alone: name + " connections lost", Unit: figure.UnitCount, Kind: figure.Loss, Better: figure.Lower, Phase: name,
		Means: "Connections that died during the load.",
		Of:    ofLoad(section, func(l *record.Load) float64 { return float64(l.Lost) }),
		Slack: 0.5,
	})
	return true
}
