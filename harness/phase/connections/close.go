package connections

import (
	"context"
	"errors"
	"time"

	"connbench/clients/control"
	"connbench/harness/environment"
	"connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/servers/contract"
)

// CloseRecord is what is left when all connections have been closed. The kernel keeps
// slabs that are partly free, and lists of free pages of its own.
type CloseRecord struct {
	// CloseSeconds is the time from the first close to the moment at which the server
	// counted no connection any more.
	CloseSeconds *float64 `json:"close_seconds"`
	// RSSBytes is resident memory of the server then.
	RSSBytes *int64 `json:"rss_bytes"`
	// RSSSettledBytes is resident memory after the server has collected its garbage and
	// given memory back.
	RSSSettledBytes *int64 `json:"rss_settled_bytes"`
	// KernelBytes is the host's kernel memory after that.
	KernelBytes *int64 `json:"kernel_bytes,omitempty"`
	// Descriptors is how many descriptors more the server has open than when it was empty.
	Descriptors *int64 `json:"descriptors"`
	// Goroutines is how many goroutines more the server has than when it was empty.
	Goroutines *int64 `json:"goroutines"`
	// TimeWait is the number of sockets in TIME_WAIT, on all hosts.
	TimeWait *int64 `json:"time_wait"`
}

// Close is the phase's object in a trial's record.
var Close = record.NewSection[CloseRecord]("after")

// closePatience is how long connections may take to close, in seconds, unless the plan's
// timeout is longer. The server then has as long to count them down.
const closePatience = 30

var _ = phase.Add(phase.Phase{
	Name:    "close",
	Order:   90,
	About:   "Closes all connections, and looks at what the server and the kernel have given back.",
	Finds:   []record.Object{Close},
	Planned: phase.Always,
	Run: func(ctx context.Context, t *phase.Trial) error {
		begun := time.Now()
		result, _, err := t.Session.Metered(ctx, "close", control.Command{
			Op: "close", TimeoutSeconds: max(closePatience, RampPlan.Of(t.Plan).TimeoutSeconds),
		}, func(r control.Result) int64 { return int64(r.Closed) })
		if err != nil {
			return err
		}
		t.Record.Client.StateBytesPerConnection = result.Usage.StateBytesPerConnection
		after := &CloseRecord{}
		Close.Set(t.Record, after)
		if after.CloseSeconds, err = awaitEmpty(ctx, t, begun); err != nil {
			return err
		}
		return after.look(ctx, t)
	},
})

// awaitEmpty asks until the server has no connection, and returns how long that took; nil
// if it still had some when its time was over.
func awaitEmpty(ctx context.Context, t *phase.Trial, begun time.Time) (*float64, error) {
	deadline := time.Now().Add(closePatience * time.Second)
	for {
		left, err := leftOpen(ctx, t.Session.Server)
		if errors.Is(err, session.ErrNoAnswers) { // nobody knows
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if left == 0 {
			return new(time.Since(begun).Seconds()), nil
		}
		if time.Now().After(deadline) {
			t.Warn("%d s after the close the server still had %d connections", closePatience, left)
			return nil, nil
		}
		if err := phase.Sleep(ctx, 0.02); err != nil {
			return nil, err
		}
	}
}

// leftOpen returns how many connections the server counts; if it does not speak the
// contract, how many the kernel does.
func leftOpen(ctx context.Context, server session.Server) (int64, error) {
	stats, err := server.Ask(ctx, contract.QuestionStats)
	if errors.Is(err, session.ErrNoAnswers) {
		return server.Established(ctx)
	}
	return stats.Connections, err
}

// look reads what is left before and after the server has settled.
func (after *CloseRecord) look(ctx context.Context, t *phase.Trial) error {
	left, err := t.Session.Meter.Read(ctx)
	if err != nil {
		return err
	}
	settled, err := t.Session.Meter.Settle(ctx)
	if err != nil {
		return err
	}
	after.RSSBytes = left.RSSBytes()
	after.RSSSettledBytes = settled.RSSBytes()
	after.KernelBytes = settled.Step(0, *t.Session.Meter.First, t.KernelEnds).BelievedKernelBytes()
	if after.TimeWait, err = t.Hosts.TimeWait(ctx); err != nil {
		return err
	}
	empty := t.Record.Steps[0]
	if now := settled.Descriptors(); now != nil && empty.Descriptors != nil {
		after.Descriptors = new(*now - *empty.Descriptors)
	}
	if now := settled.Stats.Goroutines; now != nil && empty.Goroutines != nil {
		after.Goroutines = new(*now - *empty.Goroutines)
	}
	return nil
}

// allConnections is what sums over all connections depend on.
var allConnections = []environment.Fact{environment.Plan("connections")}

// The figures of what is left when all connections are closed.
var (
	_ = figure.Add(figure.PlaceAfter, figure.Figure{
		Name: "after.close_seconds", Title: "time to close", Unit: figure.UnitSeconds, Kind: figure.Latency, Better: figure.Lower, Phase: "close",
		Means:   "Time from the first close to the moment the server counted no connection any more.",
		Of:      figure.Reads(Close, func(c *CloseRecord) *float64 { return c.CloseSeconds }),
		Depends: figure.With(figure.Pace, allConnections...), Tables: []figure.Table{figure.TableAfter}, Optional: true,
	})
	_ = figure.Add(figure.PlaceAfter, figure.Figure{
		Name: "after.rss_given_back", Title: "RSS given back", Unit: figure.UnitShare, Kind: figure.Memory, Better: figure.Higher, Phase: "close",
		Means:   "Share of the resident memory added by the connections that the server gave back, once all were closed and it had settled.",
		Of:      givenBack(func(s record.Step) *int64 { return s.RSSBytes }, func(c *CloseRecord) *int64 { return c.RSSSettledBytes }),
		Believe: believable("after.rss_given_back"),
		Tables:  []figure.Table{figure.TableAfter}, Optional: true,
	})
	_ = figure.Add(figure.PlaceAfter, figure.Figure{
		Name: "after.kernel_given_back", Title: "kernel given back", Unit: figure.UnitShare, Kind: figure.Memory, Better: figure.Higher, Phase: "close",
		Means:   "Share of the kernel memory added by the connections that was free again by then.",
		Of:      givenBack(func(s record.Step) *int64 { return s.KernelBytes }, func(c *CloseRecord) *int64 { return c.KernelBytes }),
		Believe: believable("after.kernel_given_back"),
		Depends: figure.KernelMemory, Tables: []figure.Table{figure.TableAfter}, Optional: true,
	})
	_ = figure.Add(figure.PlaceAfter, figure.Figure{
		Name: "after.descriptors", Title: "descriptors left", Unit: figure.UnitCount, Kind: figure.Memory, Better: figure.Lower, Phase: "close",
		Means:  "Descriptors that the server holds beyond those it had when empty.",
		Of:     figure.Reads(Close, func(c *CloseRecord) *float64 { return figure.Int(c.Descriptors) }),
		Tables: []figure.Table{figure.TableAfter}, Optional: true,
	})
	_ = figure.Add(figure.PlaceAfter, figure.Figure{
		Name: "after.goroutines", Title: "goroutines left", Unit: figure.UnitCount, Kind: figure.Memory, Better: figure.Lower, Phase: "close",
		Means:  "Goroutines of the server beyond those it had when empty.",
		Of:     figure.Reads(Close, func(c *CloseRecord) *float64 { return figure.Int(c.Goroutines) }),
		Tables: []figure.Table{figure.TableAfter}, Optional: true,
	})
	_ = figure.Add(figure.PlaceAfter, figure.Figure{
		Name: "after.time_wait", Title: "TIME_WAIT left", Unit: figure.UnitCount, Kind: figure.Memory, Better: figure.Lower, Phase: "close",
		Means:   "Sockets in TIME_WAIT, on all hosts.",
		Of:      figure.Reads(Close, func(c *CloseRecord) *float64 { return figure.Int(c.TimeWait) }),
		Depends: allConnections, Tables: []figure.Table{figure.TableAfter}, Optional: true,
	})
)

// givenBack returns a figure: of what the ramp added to a kind of memory, the share that
// was free again afterwards; nil if the ramp added nothing.
func givenBack(of func(record.Step) *int64, after func(*CloseRecord) *int64) func(*record.Trial) *float64 {
	return func(t *record.Trial) *float64 {
		c := Close.Of(t)
		if len(t.Steps) == 0 || c == nil || after(c) == nil {
			return nil
		}
		empty, full := of(t.Steps[0]), of(t.Steps[len(t.Steps)-1])
		if empty == nil || full == nil || *full <= *empty {
			return nil
		}
		return new(1 - float64(*after(c)-*empty)/float64(*full-*empty))
	}
}

// believable says why a share that was given back is not believed: it is below 0 or
// above 1 by more than memory fluctuates.
func believable(name string) func(*record.Trial) string {
	const wavers = 0.02
	return func(t *record.Trial) string {
		share := figure.Must(name).Of(t)
		switch {
		case share == nil:
		case *share > 1+wavers:
			return "less was in use than by the empty server"
		case *share < -wavers:
			return "more was in use than with all connections"
		}
		return ""
	}
}
