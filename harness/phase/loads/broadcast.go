package loads

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/phase"
	"connbench/harness/phase/connections"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/table"
)

// BroadcastTable is a plan's [broadcast].
type BroadcastTable struct {
	Load
	// RatePerSecond is how many messages one connection publishes a second. Each goes to all.
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second,omitempty" spoils:"phase"`
	// UnreadShare is the share of the connections that read nothing. They are not expected to get
	// any message, and the server may drop them.
	UnreadShare float64 `toml:"unread_share" json:"unread_share,omitempty" spoils:"phase"`
	// HTTP is how connections of HTTP get the messages: "events" (one response without an end, as
	// server-sent events) or "polls" (long polls: each request waits for the next message). Empty
	// means "events".
	HTTP string `toml:"http" json:"http,omitempty" spoils:"phase"`
}

// hearing is how connections of HTTP get the messages.
func (b BroadcastTable) hearing() string { return cmp.Or(b.HTTP, control.HearEvents) }

// BroadcastRecord is what became of messages that one connection sent to all.
type BroadcastRecord struct {
	// Connections is the number of connections that were to get each message. Over WebSocket the
	// publisher is one of them; over HTTP it gets none.
	Connections int `json:"connections"`
	// HTTP is how connections of HTTP got the messages: "events" (server-sent) or "polls". It is
	// left out for other protocols.
	HTTP string `json:"http,omitempty"`
	// PayloadBytes is the size of a message.
	PayloadBytes int `json:"payload_bytes"`
	// Seconds is the time during which messages were published.
	Seconds float64 `json:"seconds"`
	// Published is the number of messages that were due.
	Published int64 `json:"published"`
	// Sent is the number of messages that the publisher's kernel took.
	Sent int64 `json:"sent"`
	// Expected is the number of deliveries that there should have been: each message at each
	// connection.
	Expected int64 `json:"expected"`
	// Received is the number of deliveries that there were, whole and right.
	Received int64 `json:"received"`
	// Late is how many of these came after the time in which messages were published.
	Late int64 `json:"late,omitempty"`
	// Complete is the number of messages that reached all connections.
	Complete int64 `json:"complete"`
	// Corrupt is the number of deliveries with other content than was sent.
	Corrupt int64 `json:"corrupt,omitempty"`
	// Repeated is the number of deliveries that came twice, or after later messages.
	Repeated int64 `json:"repeated,omitempty"`
	// Early is the number of deliveries that came before the swarm was ready to count them.
	Early int64 `json:"early,omitempty"`
	// Unread is the number of connections that read nothing on purpose, next to Connections.
	Unread int64 `json:"unread,omitempty"`
	// UnreadDropped is how many of these the server ended.
	UnreadDropped int64 `json:"unread_dropped,omitempty"`
	// Lost is the number of connections that ended.
	Lost int `json:"lost,omitempty"`
	// Mute is true if messages were left when no connection was open any more that could publish:
	// over HTTP only one can.
	Mute bool `json:"mute,omitempty"`
	// SilentFrom is the number, from 1, of the first of the last messages that nobody got; 0 if
	// somebody got the last one.
	SilentFrom int `json:"silent_from,omitempty"`
	// Failures are what went wrong, by kind.
	Failures []record.Failure `json:"failures,omitempty"`
	// DeliveredPerSecond is the rate of deliveries during Seconds.
	DeliveredPerSecond float64 `json:"delivered_per_second"`
	// LastP50US is the time from when a message was due until the last connection had it, in
	// microseconds: the median over the messages that reached all. It is null if none did, or if
	// there are several client hosts, whose clocks cannot be compared.
	LastP50US *float64 `json:"last_p50_us"`
	// LastP99US is the 99th percentile of these times.
	LastP99US *float64 `json:"last_p99_us"`
	// Deliveries has the same times of each single delivery; null as above.
	Deliveries *record.Latency `json:"deliveries"`
	// ClientHosts is the number of client hosts.
	ClientHosts int `json:"client_hosts"`
	// ServerCPUUS is the server's CPU time for each delivery, in microseconds.
	ServerCPUUS *float64 `json:"server_cpu_us"`
	// ClientCPUUS is the swarm's.
	ClientCPUUS *float64 `json:"client_cpu_us"`
	// RSSBeforeBytes is the server's resident memory when all connections were open, before the
	// first message.
	RSSBeforeBytes *int64 `json:"rss_before_bytes"`
	// RSSPeakBytes is the most that was seen of it while messages were sent, in the warm-up too,
	// twice a second and at the end.
	RSSPeakBytes *int64 `json:"rss_peak_bytes"`
	// ClientBound says why the times are the swarm's rather than the server's; "" if they are not.
	ClientBound string `json:"client_bound,omitempty"`
}

// BroadcastPlan is the phase's table in a plan, Broadcast its object in a trial's record.
var (
	BroadcastPlan = plan.NewPart("broadcast", BroadcastTable{}, func(b BroadcastTable, p plan.Plan) []string {
		list := b.Problems("broadcast", p)
		if b.Seconds > 0 {
			list.If(!plan.Positive(b.RatePerSecond), "broadcast.rate_per_second is %g: it must be positive", b.RatePerSecond)
			list.If(!(b.UnreadShare >= 0 && b.UnreadShare <= mostSlow), "broadcast.unread_share is %g: it must be from 0 to %g", b.UnreadShare, mostSlow)
			list.If(b.UnreadShare > 0 && b.hearing() == control.HearPolls,
				"broadcast.unread_share is %g: a connection that polls is owed one answer at most, so it cannot be left unread", b.UnreadShare)
			list.If(b.UnreadShare > 0 && (p.Client.Engine != control.EngineSocket || p.Encrypts()),
				"broadcast.unread_share is %g: only plain connections of the engine socket can be left unread", b.UnreadShare)
			list.If(b.PayloadBytes < control.LeastBroadcast, "broadcast.payload_bytes is %d: a message is known by its first %d bytes", b.PayloadBytes, control.LeastBroadcast)
			list.If(b.RatePerSecond*max(b.Seconds, b.WarmupSeconds) > control.MostBroadcast, "broadcast.rate_per_second is %g: that makes more than %d messages", b.RatePerSecond, int(control.MostBroadcast))
			list.If(slices.Contains(p.Protocol, control.ProtocolTCP), "broadcast.seconds is %g: only servers of WebSocket and HTTP broadcast, and protocol is %q", b.Seconds, p.Protocol)
			text := base64.StdEncoding.EncodedLen(b.PayloadBytes)
			list.If(slices.Contains(p.Protocol, control.ProtocolHTTP) && text > p.Server.MaxMessageBytes,
				"broadcast.payload_bytes is %d: over HTTP that is base64 of %d bytes, more than server.max_message_bytes (%d)", b.PayloadBytes, text, p.Server.MaxMessageBytes)
			list.If(p.Compresses(), "broadcast.seconds is %g: what is broadcast is not compressed, and compression is %q", b.Seconds, p.Compression)
		}
		list.If(!slices.Contains(control.Hearings, b.hearing()), "broadcast.http is %q: it is one of %s", b.HTTP, strings.Join(control.Hearings, ", "))
		return list
	})
	Broadcast = record.NewSection[BroadcastRecord]("broadcast")
)

var _ = phase.Add(phase.Phase{
	Name:      "broadcast",
	Order:     105,
	About:     "Starts a server that sends every message to all connections, has one connection publish at a fixed rate (open loop), and counts what all others get.",
	Table:     BroadcastPlan,
	Finds:     []record.Object{Broadcast},
	OwnServer: true,
	Broadcast: true,
	Planned: func(p plan.Plan, connections int) (bool, float64) {
		table := BroadcastPlan.Of(p)
		runs, seconds := table.planned()
		return runs, seconds + float64(connections)/connectsPerSecond
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		if t.ServerProcesses > 1 {
			t.Warn("no broadcast: the server has %d processes, and a message reaches the connections of one; raise the limit of open files (ulimit -n), or take fewer connections", t.ServerProcesses)
			return nil
		}
		defer t.CloseSession(ctx)
		table := BroadcastPlan.Of(t.Plan)
		if err := openAll(ctx, t, "broadcast", session.Options{Broadcast: true, Hear: table.hearing()}); err != nil {
			return err
		}
		return runBroadcast(ctx, t, table)
	},
})

// connectsPerSecond is about how fast connections are opened, for estimates.
const connectsPerSecond = 5000

// openAll opens a session for a phase, with as many connections as the main one had. All take
// part: the server counts them.
func openAll(ctx context.Context, t *phase.Trial, name string, o session.Options) error {
	if err := t.OpenSession(ctx, o); err != nil {
		return err
	}
	t.Session.Enter(name, true)
	reached := t.Record.Connections.Reached
	if _, err := connections.RampTo(ctx, t, reached); err != nil {
		return err
	}
	for range countTries {
		reading, err := t.Session.Meter.Read(ctx)
		if err != nil {
			return err
		}
		if n := reading.Connections(); n == nil || *n >= int64(reached) {
			return nil
		}
		if err := phase.Sleep(ctx, countPause); err != nil {
			return err
		}
	}
	return fmt.Errorf("the server counts fewer than the %d connections that are open", reached)
}

// The server has so many tries to count all connections, with a pause between two, in seconds.
const (
	countTries = 50
	countPause = 0.1
)

// runBroadcast publishes, first for a warm-up.
func runBroadcast(ctx context.Context, t *phase.Trial, b BroadcastTable) error {
	c := control.Command{
		Op: "broadcast", PayloadBytes: b.PayloadBytes, RatePerSecond: b.RatePerSecond,
		TimeoutSeconds: connections.RampPlan.Of(t.Plan).TimeoutSeconds,
	}
	t.Session.Enter("broadcast", false) // the peak of memory begins anew
	reading, err := t.Session.Meter.Read(ctx)
	if err != nil {
		return err
	}
	begin := reading
	if b.WarmupSeconds > 0 {
		// What the server grows by in the warm-up is part of what a broadcast takes.
		c.Seconds, c.Options = b.WarmupSeconds, runOptions(1, 0)
		warmup, err := t.Session.Do(ctx, c)
		if err != nil {
			return err
		}
		judgeLoad(t, "broadcast (warm-up)", warmup)
		if begin, err = t.Session.Meter.Read(ctx); err != nil {
			return err
		}
	}
	c.Seconds, c.Options = b.Seconds, runOptions(2, b.UnreadShare)
	result, piece, err := t.Session.Metered(ctx, "broadcast", c, answered)
	if !session.HasResult(err) {
		return err
	}
	found := broadcastOf(result, piece, t)
	found.PayloadBytes, found.RSSBeforeBytes, found.RSSPeakBytes = b.PayloadBytes, reading.RSSBytes(), t.Session.PeakRSS()
	if t.Record.Protocol == control.ProtocolHTTP {
		found.HTTP = b.hearing()
	}
	if now, then := t.Session.Meter.Last.Connections(), begin.Connections(); err == nil && now != nil && then != nil {
		// A peer that reads nothing may not learn that it has been dropped.
		found.UnreadDropped = max(found.UnreadDropped, min(found.Unread, *then-*now-int64(found.Lost)))
	}
	Broadcast.Set(t.Record, found)
	t.CPU("delivery", piece)
	t.SwarmMemory(result.Usage)
	t.SwarmLag(result.Usage)
	found.judge(t)
	return err
}

// runOptions are the options of broadcast number run of a session.
func runOptions(run uint32, unread float64) json.RawMessage {
	return control.OptionsOf(control.BroadcastOptions{Run: run, UnreadShare: unread})
}

// broadcastOf returns the record of a broadcast.
func broadcastOf(result control.Result, piece record.Phase, t *phase.Trial) *BroadcastRecord {
	found := &BroadcastRecord{
		Seconds: result.Seconds, Published: int64(len(result.Spread)), Sent: result.Sent,
		Expected: result.Offered, Received: answered(result), Late: result.Late,
		Corrupt: result.Corrupt, Repeated: result.Counts[control.CountRepeated], Early: result.Counts[control.CountEarly],
		Unread: result.Counts[control.CountUnread], UnreadDropped: result.Counts[control.CountUnreadLost],
		Mute: result.Counts[control.CountMute] > 0,
		Lost: result.Lost, Failures: phase.FailuresOf(result.Failures), ClientHosts: max(t.ClientHosts, 1),
	}
	if found.Published > 0 {
		found.Connections = int(found.Expected / found.Published)
	}
	if result.Seconds > 0 {
		found.DeliveredPerSecond = float64(result.Delivered) / result.Seconds
	}
	var last []float64
	for k, s := range result.Spread {
		switch {
		case s.Received >= int64(found.Connections):
			found.Complete++
			last = append(last, float64(s.Nanoseconds)/1e3)
			found.SilentFrom = 0
		case s.Received > 0:
			found.SilentFrom = 0
		case found.SilentFrom == 0:
			found.SilentFrom = k + 1
		}
	}
	if found.ClientHosts == 1 {
		slices.Sort(last)
		found.LastP50US, found.LastP99US = percentile(last, 0.5), percentile(last, 0.99)
		found.Deliveries = t.Latency(result.Latency)
	}
	if n := float64(found.Received); n > 0 {
		if piece.ServerCPUSeconds != nil {
			found.ServerCPUUS = new(*piece.ServerCPUSeconds / n * 1e6)
		}
		found.ClientCPUUS = new((result.Usage.UserSeconds + result.Usage.SystemSeconds) / n * 1e6)
	}
	found.ClientBound = found.boundBy(result, t.ServerCPUs)
	return found
}

// percentile is the smallest of sorted values that the share q of them does not exceed; nil of
// none.
func percentile(sorted []float64, q float64) *float64 {
	if len(sorted) == 0 {
		return nil
	}
	return new(sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)])
}

// boundBy says why the swarm set the pace; "" if it did not. Server and swarm work on a message at
// the same time, and whoever takes longer for it decides when the last connection has it.
func (b *BroadcastRecord) boundBy(result control.Result, serverCPUs int) string {
	used := result.Usage
	switch {
	case used.Busy >= boundBusy:
		return "the swarm was never idle"
	case b.LastP99US != nil && used.LagP99Seconds*1e6 > boundLag**b.LastP99US:
		return "the swarm was late"
	case b.ServerCPUUS != nil && b.ClientCPUUS != nil && *b.ClientCPUUS/float64(max(1, result.Processes)) > *b.ServerCPUUS/float64(max(1, serverCPUs)):
		return "the swarm takes longer to read a message than the server to send it"
	}
	return ""
}

// judge notes what the server did wrong.
func (b *BroadcastRecord) judge(t *phase.Trial) {
	if b.Corrupt > 0 {
		t.Invalidate("broadcast: %d deliveries were not what had been sent", b.Corrupt)
	}
	switch missing := b.Expected - b.Received; {
	case b.Mute:
		t.Warn("broadcast: no connection that can publish was open any more")
	case b.SilentFrom > 0:
		t.Warn("broadcast: the server stopped publishing: nobody got messages %d to %d of %d", b.SilentFrom, b.Published, b.Published)
	case missing > 0:
		t.Warn("broadcast: %d of %d deliveries are missing", missing, b.Expected)
	}
	if b.Sent < b.Published {
		t.Warn("broadcast: the server did not take %d of %d messages from their publisher", b.Published-b.Sent, b.Published)
	}
	if b.Repeated > 0 {
		t.Warn("broadcast: %d deliveries came twice, or after later messages", b.Repeated)
	}
	if b.Early > 0 {
		t.Warn("broadcast: %d deliveries came before the swarm was ready to count them", b.Early)
	}
	if b.UnreadDropped > 0 {
		t.Warn("broadcast: the server dropped %d of %d connections that read nothing", b.UnreadDropped, b.Unread)
	}
	if b.Lost > 0 {
		t.Warn("broadcast: %d connections were lost", b.Lost)
	}
	if b.ClientBound != "" {
		t.Warn("broadcast: %s", b.ClientBound)
	}
}

// TableBroadcast is the table of the figures below.
const TableBroadcast figure.Table = "broadcast"

var _ = overview.Add(340, overview.Table{
	Name: TableBroadcast, Title: "Broadcasts: one message to all connections",
	Columns: overview.Labels, Notes: broadcastNotes,
})

// overHTTP says how connections of HTTP get the messages.
var overHTTP = map[string]string{
	control.HearEvents: " over HTTP, as server-sent events in base64",
	control.HearPolls:  " over HTTP, by long polls, in base64",
}

// broadcastNotes say how many connections got what.
func broadcastNotes(run overview.Run) (notes []string) {
	for _, trial := range run.Trials {
		if b := Broadcast.Of(&trial); b != nil && b.Seconds > 0 {
			notes = append(notes, fmt.Sprintf("One connection publishes %s messages of %d bytes a second, and each is to reach %s connections%s.",
				table.Number(float64(b.Published)/b.Seconds), b.PayloadBytes, table.Count(b.Connections), overHTTP[b.HTTP]))
		}
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}

// believeCounts says why a count is not believed.
func believeCounts(t *record.Trial) string {
	if b := Broadcast.Of(t); b != nil && b.Early > 0 {
		return fmt.Sprintf("%d deliveries came before the swarm was ready to count them", b.Early)
	}
	return ""
}

// fewIncomplete is the share of messages that may miss a connection before the times of the others
// are not believed.
const fewIncomplete = 0.001

// believeTimes says why the times until all have a message are not believed.
func believeTimes(t *record.Trial) string {
	b := Broadcast.Of(t)
	switch {
	case b == nil:
		return ""
	case b.Mute:
		return "no connection that can publish was open any more"
	case b.SilentFrom > 0:
		return fmt.Sprintf("the server stopped publishing: nobody got messages %d to %d", b.SilentFrom, b.Published)
	case float64(b.Published-b.Complete) > fewIncomplete*float64(b.Published):
		return fmt.Sprintf("%d of %d messages did not reach all connections", b.Published-b.Complete, b.Published)
	}
	return believeCounts(t)
}

// untimed is believeTimes for a time that was not taken.
func untimed(t *record.Trial) string {
	if b := Broadcast.Of(t); b != nil && b.ClientHosts > 1 {
		return fmt.Sprintf("the clocks of %d client hosts cannot be compared", b.ClientHosts)
	}
	return believeTimes(t)
}

// ofTime reads a time. Where there is none, it is 0, and [untimed] says why it is not believed.
func ofTime(of func(*BroadcastRecord) *float64) func(*record.Trial) *float64 {
	return figure.Reads(Broadcast, func(b *BroadcastRecord) *float64 {
		if value := of(b); value != nil || b.Published == 0 {
			return value
		}
		return new(0.0)
	})
}

// swarmBound says why the swarm set the pace of a broadcast.
func swarmBound(t *record.Trial) string {
	if b := Broadcast.Of(t); b != nil {
		return b.ClientBound
	}
	return ""
}

// addBroadcast adds a figure of broadcasts to their table.
func addBroadcast(f figure.Figure) figure.Figure {
	f.Phase, f.Optional, f.Tables = "broadcast", true, []figure.Table{TableBroadcast, figure.TableComparison}
	return figure.Add(placeBroadcast, f)
}

const placeBroadcast = figure.PlaceLoads + 70

// The figures of a broadcast.
var (
	_ = addBroadcast(figure.Figure{
		Name: "broadcast.reach", Title: "reach", Alone: "broadcast reach", Unit: figure.UnitShare, Kind: figure.Loss, Better: figure.Higher, Slack: 0.001,
		Means: "Messages to all that were received whole and right, each counted at every connection, as a share of those expected.",
		Of: figure.Reads(Broadcast, func(b *BroadcastRecord) *float64 {
			if b.Expected == 0 {
				return nil
			}
			return new(float64(b.Received) / float64(b.Expected))
		}),
		Believe: believeCounts,
	})
	_ = addBroadcast(figure.Figure{
		Name: "broadcast.last_p50_us", Title: "last has it p50", Alone: "broadcast last p50", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Pace,
		Means:   "Time from the moment a message to all was due until the last connection had it: the median over the messages.",
		Of:      ofTime(func(b *BroadcastRecord) *float64 { return b.LastP50US }),
		Believe: untimed, ClientBound: swarmBound,
	})
	_ = addBroadcast(figure.Figure{
		Name: "broadcast.last_p99_us", Title: "last has it p99", Alone: "broadcast last p99", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Pace,
		Means:   "99th percentile of the time from when a message to all was due until the last connection had it.",
		Of:      ofTime(func(b *BroadcastRecord) *float64 { return b.LastP99US }),
		Believe: untimed, ClientBound: swarmBound,
	})
	_ = addBroadcast(figure.Figure{
		Name: "broadcast.delivered_per_second", Title: "delivered", Alone: "broadcast delivered", Unit: figure.PerSecond("msg"), Kind: figure.Rate, Better: figure.Higher, Depends: figure.Pace, Tolerance: 0.01,
		Means:   "Messages received per second while one connection published to all, over all connections.",
		Of:      figure.Reads(Broadcast, func(b *BroadcastRecord) *float64 { return &b.DeliveredPerSecond }),
		Believe: believeCounts, ClientBound: swarmBound,
	})
	_ = phase.AddCPU(placeBroadcast, "delivery", figure.Figure{
		Title: "CPU per delivery", Phase: "broadcast",
		Means:     "CPU time of the server, user and system, per message delivered to one connection of a broadcast.",
		Tolerance: 0.15, Optional: true, Tables: []figure.Table{TableBroadcast, figure.TableComparison},
	})
	_ = addBroadcast(figure.Figure{
		Name: "broadcast.rss_peak_bytes", Title: "RSS added", Alone: "RSS added by a broadcast", Unit: figure.UnitBytes, Kind: figure.Memory, Better: figure.Lower, Tolerance: 0.1, Slack: 64,
		Means: "Resident memory of the server at its peak while it sent messages to all, less that before, per connection.",
		Of: figure.Reads(Broadcast, func(b *BroadcastRecord) *float64 {
			return phase.Added(b.RSSBeforeBytes, b.RSSPeakBytes, b.Connections)
		}),
	})
	_ = addBroadcast(figure.Figure{
		Name: "broadcast.repeated", Title: "repeated", Alone: "broadcasts repeated", Unit: figure.UnitCount, Kind: figure.Loss, Better: figure.Lower, Slack: 0.5,
		Means: "Deliveries of a broadcast that came twice, or after later messages.",
		Of:    figure.Reads(Broadcast, func(b *BroadcastRecord) *float64 { return new(float64(b.Repeated)) }),
	})
	_ = addBroadcast(figure.Figure{
		Name: "broadcast.lost", Title: "lost", Alone: "broadcast connections lost", Unit: figure.UnitCount, Kind: figure.Loss, Better: figure.Lower, Slack: 0.5,
		Means: "Connections that died during a broadcast.",
		Of:    figure.Reads(Broadcast, func(b *BroadcastRecord) *float64 { return new(float64(b.Lost)) }),
	})
)
