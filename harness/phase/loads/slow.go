package loads

import (
	"context"
	"fmt"
	"slices"

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

// SlowTable is a plan's [slow].
type SlowTable struct {
	// Load is that of the other connections, first without slow peers and then with them, each
	// for so many seconds.
	Load
	// RatePerSecond is how many messages are due a second, over all other connections.
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second,omitempty" spoils:"phase"`
	// UnreadShare is the share of the connections that send messages and read nothing.
	UnreadShare float64 `toml:"unread_share" json:"unread_share,omitempty" spoils:"phase"`
	// FloodBytes is how much payload each of these sends, evenly, as far as the server takes it.
	FloodBytes int64 `toml:"flood_bytes" json:"flood_bytes,omitempty" spoils:"phase"`
	// DribbleShare is the share of the connections that send a message one byte at a time.
	DribbleShare float64 `toml:"dribble_share" json:"dribble_share,omitempty" spoils:"phase"`
	// DribbleSeconds is the pause between two bytes of each of these.
	DribbleSeconds float64 `toml:"dribble_seconds" json:"dribble_seconds,omitempty" spoils:"phase"`
}

// SlowRecord is what slow peers did to a server and to the other connections.
type SlowRecord struct {
	// Without is the load of the other connections before there were slow peers.
	Without *record.Load `json:"without"`
	// With is the same load next to them.
	With *record.Load `json:"with"`
	// Unread is the number of peers that sent messages and read nothing.
	Unread int64 `json:"unread"`
	// Dribbling is the number of peers that sent one byte at a time.
	Dribbling int64 `json:"dribbling"`
	// FloodBytes is how much payload each of the former was to send.
	FloodBytes int64 `json:"flood_bytes"`
	// TakenBytes is how much of it server and kernel took, per peer. The kernel's buffers of both
	// ends are part of it.
	TakenBytes *float64 `json:"taken_bytes"`
	// Dropped is the number of peers that read nothing and that the server ended.
	Dropped int64 `json:"dropped,omitempty"`
	// DribblingDropped is the number of those that sent one byte at a time and that the server
	// ended.
	DribblingDropped int64 `json:"dribbling_dropped,omitempty"`
	// RSSBeforeBytes is the server's resident memory at its peak under the same load before there
	// were slow peers, the warm-up included.
	RSSBeforeBytes *int64 `json:"rss_before_bytes"`
	// RSSPeakBytes is the most that was seen of it next to them, twice a second and at the end.
	RSSPeakBytes *int64 `json:"rss_peak_bytes"`
}

// SlowPlan is the phase's table in a plan, Slow its object in a trial's record.
var (
	SlowPlan = plan.NewPart("slow", SlowTable{}, func(s SlowTable, p plan.Plan) []string {
		list := s.Problems("slow", p)
		if s.Seconds > 0 {
			list.If(!plan.Positive(s.RatePerSecond), "slow.rate_per_second is %g: it must be positive", s.RatePerSecond)
			for key, share := range map[string]float64{"unread_share": s.UnreadShare, "dribble_share": s.DribbleShare} {
				list.If(!(share >= 0 && share <= mostSlow), "slow.%s is %g: it must be from 0 to %g", key, share, mostSlow)
			}
			list.If(s.UnreadShare+s.DribbleShare == 0, "slow.seconds is %g: unread_share or dribble_share must be positive", s.Seconds)
			list.Between("slow.flood_bytes", s.FloodBytes, 0, mostFlood)
			list.Duration("slow.dribble_seconds", s.DribbleSeconds)
			list.If(s.DribbleShare > 0 && !plan.Positive(s.DribbleSeconds), "slow.dribble_seconds is %g: it must be positive", s.DribbleSeconds)
			list.If(p.Client.Engine != control.EngineSocket, "slow.seconds is %g: only the engine socket can leave a connection unread", s.Seconds)
			list.If(p.Encrypts(), "slow.seconds is %g: connections with TLS cannot be left unread", s.Seconds)
		}
		return list
	})
	Slow = record.NewSection[SlowRecord]("slow")
)

const (
	// mostSlow is the largest share of slow peers of each kind.
	mostSlow = 0.25
	// mostFlood is the most that a peer sends, in bytes.
	mostFlood = 1 << 30
)

var _ = phase.Add(phase.Phase{
	Name:      "slow",
	Order:     109,
	About:     "Offers messages to a fresh server at a fixed rate (open loop), first without and then next to peers that read nothing or send one byte at a time.",
	Table:     SlowPlan,
	Finds:     []record.Object{Slow},
	OwnServer: true,
	Planned: func(p plan.Plan, connections int) (bool, float64) {
		s := SlowPlan.Of(p)
		return s.Seconds > 0, 2*s.Seconds + s.WarmupSeconds + float64(connections)/connectsPerSecond
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		defer t.CloseSession(ctx)
		if err := openAll(ctx, t, "slow", session.Options{}); err != nil {
			return err
		}
		return runSlow(ctx, t, SlowPlan.Of(t.Plan))
	},
})

// runSlow carries the load twice, and looks at the server while the slow peers are there.
func runSlow(ctx context.Context, t *phase.Trial, s SlowTable) error {
	found := &SlowRecord{FloodBytes: s.FloodBytes}
	Slow.Set(t.Record, found)
	t.Session.Enter("slow", false)
	var err error
	if found.Without, _, err = s.Carry(ctx, t, "slow", control.Command{Op: "echo", RatePerSecond: s.RatePerSecond}); err != nil {
		return err
	}
	before := t.Session.Meter.Last
	found.RSSBeforeBytes = t.Session.PeakRSS() // what the load itself takes is in it
	t.Session.Enter("slow", false)             // the peak of memory begins anew
	c := control.Command{
		Op: "slow", RatePerSecond: s.RatePerSecond, PayloadBytes: s.PayloadBytes, Seconds: s.Seconds,
		TimeoutSeconds: connections.RampPlan.Of(t.Plan).TimeoutSeconds,
		Options: control.OptionsOf(control.SlowOptions{
			UnreadShare: s.UnreadShare, FloodBytes: s.FloodBytes, DribbleShare: s.DribbleShare, DribbleSeconds: s.DribbleSeconds,
		}),
	}
	result, piece, err := t.Session.Metered(ctx, "slow", c, answered)
	if !session.HasResult(err) {
		return err
	}
	counts := result.Counts
	found.With = Of(t, "slow", c, result, piece)
	found.Unread, found.Dropped = counts[control.CountUnread], counts[control.CountUnreadLost]
	found.Dribbling, found.DribblingDropped = counts[control.CountDribbling], counts[control.CountDribblingLost]
	found.RSSPeakBytes = t.Session.PeakRSS()
	if now, then := t.Session.Meter.Last.Connections(), before.Connections(); err == nil && now != nil && then != nil {
		// A peer that reads nothing may not learn that it has been dropped.
		found.Dropped = max(found.Dropped, min(found.Unread, *then-*now-int64(result.Lost)-found.DribblingDropped))
	}
	if found.Unread > 0 {
		found.TakenBytes = new(float64(counts[control.CountUnreadBytes]) / float64(found.Unread))
	}
	if found.Dropped > 0 {
		t.Warn("slow: the server dropped %d of %d peers that read nothing", found.Dropped, found.Unread)
	}
	if found.DribblingDropped > 0 {
		t.Warn("slow: the server dropped %d of %d peers that send one byte at a time", found.DribblingDropped, found.Dribbling)
	}
	return err
}

// fate says what became of a peer that reads nothing.
func (s *SlowRecord) fate() string {
	switch {
	case s.Unread == 0 || s.TakenBytes == nil:
		return ""
	case s.Dropped >= s.Unread:
		return fmt.Sprintf("dropped, after %s MiB", table.Number(*s.TakenBytes/(1<<20)))
	case s.Dropped > 0:
		return fmt.Sprintf("%d of %d dropped, after %s MiB", s.Dropped, s.Unread, table.Number(*s.TakenBytes/(1<<20)))
	case *s.TakenBytes >= 0.99*float64(s.FloodBytes):
		return fmt.Sprintf("all %s MiB taken", table.Number(float64(s.FloodBytes)/(1<<20)))
	}
	return fmt.Sprintf("not read from, after %s MiB", table.Number(*s.TakenBytes/(1<<20)))
}

// TableSlow is the table of the figures below.
const TableSlow figure.Table = "slow"

var _ = overview.Add(345, overview.Table{
	Name: TableSlow, Title: "Slow peers: what they do to the others and to the server",
	Columns: func(run overview.Run) []overview.Column {
		return append(overview.Labels(run), overview.Words(placeSlow, "a peer that reads nothing is", fateOf))
	},
	Notes: slowNotes,
})

const placeSlow = figure.PlaceLoads + 75

// fateOf is the fate of such peers in the last trial that has one.
func fateOf(v figure.Variant) string {
	fate := ""
	for _, trial := range v.Valid {
		if s := Slow.Of(trial); s != nil {
			if f := s.fate(); f != "" {
				fate = f
			}
		}
	}
	return fate
}

// slowNotes say how many peers there were, and what they did.
func slowNotes(run overview.Run) (notes []string) {
	for _, trial := range run.Trials {
		if s := Slow.Of(&trial); s != nil {
			notes = append(notes, fmt.Sprintf("Peers that read nothing: %d, each sending up to %s MiB. Peers that send one byte at a time: %d. The bytes taken include what lies in the kernel's buffers of both ends.",
				s.Unread, table.Number(float64(s.FloodBytes)/(1<<20)), s.Dribbling))
		}
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}

// addSlow adds a figure of slow peers to their table.
func addSlow(f figure.Figure) figure.Figure {
	f.Phase, f.Optional, f.Tables = "slow", true, []figure.Table{TableSlow, figure.TableComparison}
	return figure.Add(placeSlow, f)
}

// sides are sections of their own to those who judge a load.
func without(s *SlowRecord) *record.Load { return s.Without }
func with(s *SlowRecord) *record.Load    { return s.With }

// believeSide says why the latencies of one of the two loads are not believed.
func believeSide(side func(*SlowRecord) *record.Load) func(*record.Trial) string {
	return func(t *record.Trial) string {
		if s := Slow.Of(t); s != nil {
			return TooManyUnanswered(side(s))
		}
		return ""
	}
}

// sidesPace says why the pace of one of the two loads is the swarm's.
func sidesPace(side func(*SlowRecord) *record.Load) func(*record.Trial) string {
	return func(t *record.Trial) string {
		if s := Slow.Of(t); s != nil {
			return PaceOfSwarm(side(s))
		}
		return ""
	}
}

func sideP99(side func(*SlowRecord) *record.Load) func(*record.Trial) *float64 {
	return figure.Reads(Slow, func(s *SlowRecord) *float64 {
		return figure.From(side(s), func(l *record.Load) float64 { return l.P99US })
	})
}

// either is the first reason of the two loads.
func either(reason func(func(*SlowRecord) *record.Load) func(*record.Trial) string) func(*record.Trial) string {
	return func(t *record.Trial) string {
		if why := reason(with)(t); why != "" {
			return why
		}
		return reason(without)(t)
	}
}

// The figures of slow peers.
var (
	_ = addSlow(figure.Figure{
		Name: "slow.without_p99_us", Title: "p99 without", Alone: "echo p99 without slow peers", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Pace,
		Means: "99th percentile of the time from when a message was due until its whole echo was back, before there were slow peers.",
		Of:    sideP99(without), Believe: believeSide(without), ClientBound: sidesPace(without),
	})
	_ = addSlow(figure.Figure{
		Name: "slow.with_p99_us", Title: "p99 with", Alone: "echo p99 next to slow peers", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Pace,
		Means: "The same time on the other connections while slow peers were connected.",
		Of:    sideP99(with), Believe: believeSide(with), ClientBound: sidesPace(with),
	})
	_ = addSlow(figure.Figure{
		Name: "slow.p99_share", Title: "with as a share", Alone: "echo p99 next to slow peers, as a share of that without", Unit: figure.UnitShare, Kind: figure.Latency, Better: figure.Lower, Depends: figure.Pace,
		Means: "The 99th percentile of the other connections' latency next to slow peers, as a share of that without them: above 100% they pay for the slow ones.",
		Of: figure.Reads(Slow, func(s *SlowRecord) *float64 {
			if s.Without == nil || s.With == nil || s.Without.P99US == 0 {
				return nil
			}
			return new(s.With.P99US / s.Without.P99US)
		}),
		Believe: either(believeSide), ClientBound: either(sidesPace),
	})
	_ = addSlow(figure.Figure{
		Name: "slow.taken_bytes", Title: "taken", Alone: "taken from a peer that reads nothing", Unit: figure.UnitBytes, Kind: figure.Memory, Better: figure.None,
		Means: "Bytes of payload that the server and the kernel took from a peer that reads nothing, until the server stopped reading from it, dropped it, or had taken everything.",
		Of:    figure.Reads(Slow, func(s *SlowRecord) *float64 { return s.TakenBytes }),
	})
	_ = addSlow(figure.Figure{
		Name: "slow.rss_added_bytes", Title: "RSS added", Alone: "RSS added by a peer that reads nothing", Unit: figure.UnitBytes, Kind: figure.Memory, Better: figure.Lower, Slack: 1 << 20,
		Means: "Resident memory of the server at its peak next to slow peers, less its peak under the same load before, per peer that reads nothing.",
		Of: figure.Reads(Slow, func(s *SlowRecord) *float64 {
			return phase.Added(s.RSSBeforeBytes, s.RSSPeakBytes, s.Unread)
		}),
	})
	_ = addSlow(figure.Figure{
		Name: "slow.dropped_share", Title: "dropped", Alone: "slow peers dropped", Unit: figure.UnitShare, Kind: figure.Loss, Better: figure.None,
		Means: "Slow peers that the server ended, as a share of all slow peers.",
		Of: figure.Reads(Slow, func(s *SlowRecord) *float64 {
			if all := s.Unread + s.Dribbling; all > 0 {
				return new(float64(s.Dropped+s.DribblingDropped) / float64(all))
			}
			return nil
		}),
	})
)
