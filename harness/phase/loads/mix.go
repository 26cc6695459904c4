package loads

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"connbench/clients/control"
	"connbench/harness/figure"
	"connbench/harness/overview"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/table"
)

// MixTable is a plan's [mix].
type MixTable struct {
	// Seconds is how long each share of the connections is active, and before that none; 0
	// leaves the phase out.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
	// WarmupSeconds is how long the same load runs before; its figures do not count.
	WarmupSeconds float64 `toml:"warmup_seconds" json:"warmup_seconds" spoils:"-"`
	// Shares are the shares of the connections that are active, one after the other and
	// ascending. The other connections are idle.
	Shares []float64 `toml:"shares" json:"shares" spoils:"phase"`
	// MessagesPerSecond is how many messages each active connection sends a second.
	MessagesPerSecond float64 `toml:"messages_per_second" json:"messages_per_second" spoils:"phase"`
	// PayloadBytes are the sizes of the messages' payloads, ascending. The messages of each
	// connection have them in turn.
	PayloadBytes []int `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
}

// load returns the load of one share. Its size is the mean of the sizes.
func (m MixTable) load() Load {
	sum := 0
	for _, size := range m.PayloadBytes {
		sum += size
	}
	return Load{Seconds: m.Seconds, WarmupSeconds: m.WarmupSeconds, PayloadBytes: sum / max(1, len(m.PayloadBytes))}
}

// MixRecord is what a server takes while some of its connections are active and the others
// idle. Before each share the server collects its garbage, so that what an active connection
// takes is not what another share has left behind.
type MixRecord struct {
	// MessagesPerSecond is how many messages each active connection sent a second.
	MessagesPerSecond float64 `json:"messages_per_second"`
	// PayloadBytes are the sizes of their payloads.
	PayloadBytes []int `json:"payload_bytes"`
	// IdleCores is the CPU time of the server per second while no connection was active.
	IdleCores *float64 `json:"idle_cores"`
	// RSSEmptyBytes is the resident memory of the server before the first connection.
	RSSEmptyBytes *int64 `json:"rss_empty_bytes"`
	// RSSIdleBytes is that with all connections idle, settled.
	RSSIdleBytes *int64 `json:"rss_idle_bytes"`
	// RSSAfterBytes is that when all connections are idle again, settled.
	RSSAfterBytes *int64 `json:"rss_after_bytes"`
	// Levels are the shares in the order of the plan.
	Levels []MixLevel `json:"levels"`
}

// MixLevel is the load of one share of the connections, without the histogram. Its payload_bytes
// is the mean of the sizes.
type MixLevel struct {
	// Share is the share of the connections that was active.
	Share float64 `json:"share"`
	// Active is their number.
	Active int `json:"active"`
	// Cores is the CPU time of the server per second, for active and idle connections.
	Cores *float64 `json:"cores"`
	// RSSBeforeBytes is the resident memory of the server before, settled.
	RSSBeforeBytes *int64 `json:"rss_before_bytes"`
	// RSSBytes is that at the end of the load, garbage included.
	RSSBytes *int64 `json:"rss_bytes"`
	record.Load
}

// MixPlan is the phase's table in a plan, Mix its object in a trial's record.
var (
	MixPlan = plan.NewPart("mix", MixTable{}, func(m MixTable, p plan.Plan) []string {
		list := Load{Seconds: m.Seconds, WarmupSeconds: m.WarmupSeconds, PayloadBytes: 1}.Problems("mix", p)
		before := 0.0
		for _, share := range m.Shares {
			list.If(!(share > before && share <= 1), "mix.shares has %g after %g: the shares must be ascending, above 0 and at most 1", share, before)
			before = share
		}
		last := 0
		for _, size := range m.PayloadBytes {
			list.If(size <= last || size > p.Server.MaxMessageBytes, "mix.payload_bytes has %d after %d: the sizes must be ascending, above 0 and at most server.max_message_bytes (%d)", size, last, p.Server.MaxMessageBytes)
			last = size
		}
		if m.Seconds > 0 {
			list.If(len(m.Shares) == 0, "mix.shares is empty: name at least one")
			list.If(len(m.PayloadBytes) == 0, "mix.payload_bytes is empty: name at least one size")
			list.If(!plan.Positive(m.MessagesPerSecond), "mix.messages_per_second is %g: it must be positive", m.MessagesPerSecond)
		}
		return list
	})
	Mix = record.NewSection[MixRecord]("mix")
)

var _ = phase.Add(phase.Phase{
	Name:  "mix",
	Order: 72,
	About: "Has a share of the connections send messages of several sizes while the others are idle, one share after the other.",
	Table: MixPlan,
	Finds: []record.Object{Mix},
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		m := MixPlan.Of(p)
		return m.Seconds > 0, m.Seconds + float64(len(m.Shares))*(m.Seconds+m.WarmupSeconds)
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := MixPlan.Of(t.Plan)
		options := control.OptionsOf(control.MixOptions{PayloadBytes: table.PayloadBytes})
		found := &MixRecord{
			MessagesPerSecond: table.MessagesPerSecond, PayloadBytes: table.PayloadBytes,
			RSSEmptyBytes: t.Session.Meter.First.RSSBytes(), Levels: []MixLevel{},
		}
		if err := found.idle(ctx, t, table.Seconds); err != nil {
			return err
		}
		before := found.RSSIdleBytes
		for _, share := range table.Shares {
			level := MixLevel{Share: share, Active: max(1, int(share*float64(t.Record.Connections.Reached)+0.5)), RSSBeforeBytes: before}
			load, piece, err := table.load().Carry(ctx, t, "mix", control.Command{
				Op: "mix", Connections: level.Active, RatePerSecond: table.MessagesPerSecond * float64(level.Active), Options: options,
			})
			if load == nil {
				return err
			}
			load.Histogram = ""
			level.Load, level.Cores = *load, cores(piece)
			if err == nil {
				level.RSSBytes = t.Session.Meter.Last.RSSBytes()
			}
			found.Levels = append(found.Levels, level)
			Mix.Set(t.Record, found)
			if err != nil {
				return err
			}
			settled, err := t.Session.Meter.Settle(ctx)
			if err != nil {
				return err
			}
			before = settled.RSSBytes()
			found.RSSAfterBytes = before
		}
		return nil
	},
})

// idle measures the server while no connection is active.
func (m *MixRecord) idle(ctx context.Context, t *phase.Trial, seconds float64) error {
	settled, err := t.Session.Meter.Settle(ctx)
	if err != nil {
		return err
	}
	m.RSSIdleBytes = settled.RSSBytes()
	_, piece, err := t.Session.Metered(ctx, "mix", control.Command{Op: "hold", Seconds: seconds}, func(control.Result) int64 { return 0 })
	if !session.HasResult(err) {
		return err
	}
	m.IdleCores = cores(piece)
	return err
}

// cores is the server's CPU time per second of a piece; nil if it is unknown.
func cores(piece record.Phase) *float64 {
	if piece.ServerCPUSeconds == nil || piece.Seconds == 0 {
		return nil
	}
	return new(*piece.ServerCPUSeconds / piece.Seconds)
}

// TableMix is the table of the mix's figures.
const TableMix figure.Table = "mix"

var _ = overview.Add(320, overview.Table{
	Name: TableMix, Title: "Mix: what active and idle connections take",
	Columns: overview.Labels,
	Notes: func(run overview.Run) []string {
		for i := range run.Trials {
			if m := Mix.Of(&run.Trials[i]); m != nil {
				var sizes []string
				for _, size := range m.PayloadBytes {
					sizes = append(sizes, table.Count(size))
				}
				return []string{fmt.Sprintf("An active connection sends %s messages a second, in turn of %s bytes; the others are idle.", table.Number(m.MessagesPerSecond), table.List(sizes))}
			}
		}
		return nil
	},
})

// placeMix is where the figures of the mix stand.
const placeMix = figure.PlaceLoads + 60

// addMix adds a figure of the mix to its table.
func addMix(f figure.Figure) figure.Figure {
	f.Phase, f.Better, f.Tables = "mix", figure.Lower, []figure.Table{TableMix, figure.TableComparison}
	return figure.Add(placeMix, f)
}

// The figures of idle connections, and of memory.
var (
	_ = addMix(figure.Figure{
		Name: "mix.idle_cpu_us", Title: "CPU, idle", Alone: "CPU of an idle connection", Unit: figure.UnitEffort, Kind: figure.CPU, Depends: figure.Speed,
		Means: "CPU time of the server, user and system, per second and connection while no connection sends anything.",
		Of: func(t *record.Trial) *float64 {
			m := Mix.Of(t)
			if m == nil || m.IdleCores == nil || t.Connections.Reached == 0 {
				return nil
			}
			return new(*m.IdleCores / float64(t.Connections.Reached) * 1e6)
		},
	})
	_ = addMix(figure.Figure{
		Name: "mix.idle_rss_bytes", Title: "RSS, idle", Alone: "RSS of an idle connection", Unit: figure.UnitBytes, Kind: figure.Memory,
		Means: "Resident memory of the server with all connections idle and its garbage collected, less that of the empty server, per connection.",
		Of: func(t *record.Trial) *float64 {
			if m := Mix.Of(t); m != nil {
				return phase.Added(m.RSSEmptyBytes, m.RSSIdleBytes, t.Connections.Reached)
			}
			return nil
		},
	})
	_ = addMix(figure.Figure{
		Name: "mix.active_rss_bytes", Title: "RSS, active", Alone: "RSS added by an active connection", Unit: figure.UnitBytes, Kind: figure.Memory,
		Means: "Resident memory of the server, garbage included, that an active connection takes beyond an idle one, while the plan's largest share is active.",
		Of: figure.Reads(Mix, func(m *MixRecord) *float64 {
			if len(m.Levels) == 0 {
				return nil
			}
			last := m.Levels[len(m.Levels)-1]
			return phase.Added(last.RSSBeforeBytes, last.RSSBytes, last.Active)
		}),
	})
	_ = addMix(figure.Figure{
		Name: "mix.kept_bytes", Title: "RSS kept", Alone: "RSS kept per active connection", Unit: figure.UnitBytes, Kind: figure.Memory,
		Means: "Resident memory that the server still holds once all connections are idle again and its garbage is collected, per connection of the largest share: retained buffers and leaks.",
		Of: figure.Reads(Mix, func(m *MixRecord) *float64 {
			if len(m.Levels) == 0 {
				return nil
			}
			return phase.Added(m.RSSIdleBytes, m.RSSAfterBytes, m.Levels[len(m.Levels)-1].Active)
		}),
	})
)

// The figures of each share: one family each.
var (
	_ = addShares("mix.active_cpu.", figure.Figure{
		Title: "CPU, %s active", Unit: figure.UnitEffort, Kind: figure.CPU, Depends: figure.SystemCPU,
		Means: "CPU time of the server, user and system, per second and active connection with %s of the connections active, less what it takes while all are idle.",
	}, (*MixRecord).believeCPU, func(m *MixRecord, l MixLevel) *float64 {
		if l.Cores == nil || m.IdleCores == nil {
			return nil
		}
		return new((*l.Cores - *m.IdleCores) / float64(l.Active) * 1e6)
	})
	_ = addShares("mix.p99.", figure.Figure{
		Title: "p99, %s active", Unit: figure.UnitMicroseconds, Kind: figure.Latency, Depends: figure.Pace,
		Means: "99th percentile of the time from when a message was due until its whole echo was back, with %s of the connections active.",
	}, func(_ *MixRecord, l MixLevel) string { return TooManyUnanswered(&l.Load) }, func(_ *MixRecord, l MixLevel) *float64 { return new(l.P99US) })
)

// believeCPU says why the CPU time of a share is not believed.
func (m *MixRecord) believeCPU(l MixLevel) string {
	if l.Cores != nil && m.IdleCores != nil && *l.Cores <= *m.IdleCores {
		return "the server took no more CPU than while idle"
	}
	return ""
}

// addShares adds a family of figures, one for each share. %s in title and meaning is the share.
// believe says why one is not believed.
func addShares(prefix string, f figure.Figure, believe func(*MixRecord, MixLevel) string, of func(*MixRecord, MixLevel) *float64) figure.Family {
	at := func(share float64) figure.Figure {
		level := func(t *record.Trial) (*MixRecord, *MixLevel) {
			m := Mix.Of(t)
			if m == nil {
				return nil, nil
			}
			for i := range m.Levels {
				if shareKey(m.Levels[i].Share) == shareKey(share) {
					return m, &m.Levels[i]
				}
			}
			return nil, nil
		}
		g, percent := f, fmt.Sprintf("%g %%", percentOf(share))
		g.Name, g.Title, g.Means, g.Parameter = prefix+shareKey(share)+f.Unit.Suffix, fmt.Sprintf(f.Title, percent), fmt.Sprintf(f.Means, percent), share
		g.Phase, g.Better, g.Tables = "mix", figure.Lower, []figure.Table{TableMix, figure.TableComparison}
		g.Of = func(t *record.Trial) *float64 {
			if m, l := level(t); l != nil {
				return of(m, *l)
			}
			return nil
		}
		g.Believe = func(t *record.Trial) string {
			if m, l := level(t); l != nil {
				return believe(m, *l)
			}
			return ""
		}
		if f.Kind == figure.Latency {
			g.ClientBound = func(t *record.Trial) string {
				if _, l := level(t); l != nil {
					return PaceOfSwarm(&l.Load)
				}
				return ""
			}
		}
		return g
	}
	return figure.AddFamily(placeMix, figure.Family{
		Name: prefix, Example: prefix + "10pct" + f.Unit.Suffix,
		Members: func(runs ...*record.Run) (list []figure.Figure) {
			for _, share := range shares(runs) {
				list = append(list, at(share))
			}
			return list
		},
		Named: func(name string) (figure.Figure, bool) {
			key, is := strings.CutPrefix(name, prefix)
			key, ends := strings.CutSuffix(key, f.Unit.Suffix)
			percent, err := strconv.ParseFloat(strings.TrimSuffix(key, "pct"), 64)
			if !is || !ends || err != nil || !keyOfShare.MatchString(key) || percent <= 0 || percent > 100 {
				return figure.Figure{}, false
			}
			return at(percent / 100), true
		},
	})
}

// keyOfShare matches what shareKey returns.
var keyOfShare = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?pct$`)

// shareKey returns the name of a share in figures, "10pct".
func shareKey(share float64) string {
	return strconv.FormatFloat(percentOf(share), 'f', -1, 64) + "pct"
}

// percentOf returns a share in percent, without what binary fractions add to it.
func percentOf(share float64) float64 {
	percent, err := strconv.ParseFloat(strconv.FormatFloat(share*100, 'g', 9, 64), 64)
	if err != nil {
		return share * 100
	}
	return percent
}

// shares returns the shares that runs have results for, ascending.
func shares(runs []*record.Run) []float64 {
	found := map[float64]bool{}
	for _, run := range runs {
		for i := range run.Trials {
			if m := Mix.Of(&run.Trials[i]); m != nil {
				for _, l := range m.Levels {
					found[l.Share] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
