package loads

import (
	"context"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
)

// ListenTable is a plan's [listen].
type ListenTable struct {
	// Seconds is how long the swarm listens; 0 leaves the phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
}

// ListenRecord is what a server sent of its own accord.
type ListenRecord struct {
	// Seconds is how long the swarm listened.
	Seconds float64 `json:"seconds"`
	// Messages is the number of messages that came, over all connections.
	Messages int64 `json:"messages"`
	// Bytes is the size of their payloads.
	Bytes int64 `json:"bytes"`
	// Connections is the number of connections that were open at the end.
	Connections int `json:"connections"`
	// Lost is the number of connections that the server ended meanwhile.
	Lost int `json:"lost"`
	// ServerCPUUS is the server's CPU time for each message, in microseconds.
	ServerCPUUS *float64 `json:"server_cpu_us"`
}

// ListenPlan is the phase's table in a plan, Listen its object in a trial's record.
var (
	ListenPlan = plan.NewPart("listen", ListenTable{}, func(l ListenTable, _ plan.Plan) []string {
		var list plan.Problems
		list.Duration("listen.seconds", l.Seconds)
		return list
	})
	Listen = record.NewSection[ListenRecord]("listen")
)

var _ = phase.Add(phase.Phase{
	Name:  "listen",
	Order: 35,
	About: "Sends nothing, and counts what the server sends of its own accord.",
	Table: ListenPlan,
	Finds: []record.Object{Listen},
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		seconds := ListenPlan.Of(p).Seconds
		return seconds > 0, seconds
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		c := control.Command{Op: "listen", Seconds: ListenPlan.Of(t.Plan).Seconds}
		result, piece, err := t.Session.Metered(ctx, "listen", c, func(r control.Result) int64 { return r.Counts[control.CountPushed] })
		if !session.HasResult(err) {
			return err
		}
		found := &ListenRecord{
			Seconds: result.Seconds, Connections: result.Open, Lost: result.Lost,
			Messages: result.Counts[control.CountPushed], Bytes: result.Counts[control.CountPushedBytes],
		}
		if piece.ServerCPUSeconds != nil && found.Messages > 0 {
			found.ServerCPUUS = new(*piece.ServerCPUSeconds / float64(found.Messages) * 1e6)
		}
		Listen.Set(t.Record, found)
		if result.Lost > 0 {
			t.Warn("listen: the server ended %d connections", result.Lost)
		}
		return err
	},
})

// The figures of what a server sends of its own accord.
var (
	_ = addListen("messages_per_second", "pushed", figure.PerSecond("msg"), "Messages per second that the server sent of its own accord, over all connections.",
		func(l *ListenRecord) *float64 { return perSecond(float64(l.Messages), l.Seconds) })
	_ = addListen("messages_per_connection", "pushed to each", figure.UnitEach, "Messages that the server sent of its own accord, for each connection and second.",
		func(l *ListenRecord) *float64 {
			return perSecond(float64(l.Messages), l.Seconds*float64(l.Connections))
		})
	_ = addListen("bytes_per_second", "pushed bytes", figure.PerSecond("B"), "Payload bytes per second that the server sent of its own accord, over all connections.",
		func(l *ListenRecord) *float64 { return perSecond(float64(l.Bytes), l.Seconds) })
	_ = figure.Add(figure.PlaceLoads+50, figure.Figure{
		Name: "listen.server_cpu_us", Title: "CPU per message pushed", Unit: figure.UnitMicroseconds, Kind: figure.CPU, Better: figure.Lower, Phase: "listen",
		Means:   "CPU time of the server, user and system, per message that it sent of its own accord.",
		Of:      figure.Reads(Listen, func(l *ListenRecord) *float64 { return l.ServerCPUUS }),
		Depends: figure.SystemCPU, Tables: []figure.Table{figure.TableLoad}, Optional: true,
	})
)

// addListen adds a rate of what a server sends.
func addListen(name, title string, unit figure.Unit, means string, of func(*ListenRecord) *float64) figure.Figure {
	return figure.Add(figure.PlaceLoads+50, figure.Figure{
		Name: "listen." + name, Title: title, Unit: unit, Kind: figure.Rate, Better: figure.None, Phase: "listen",
		Means: means, Of: figure.Reads(Listen, of), Tables: []figure.Table{figure.TableLoad}, Optional: true,
	})
}

// perSecond divides, unless the time is 0.
func perSecond(n, seconds float64) *float64 {
	if seconds == 0 {
		return nil
	}
	return new(n / seconds)
}
