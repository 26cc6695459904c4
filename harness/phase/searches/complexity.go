package searches

import (
	"context"
	"errors"
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
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/plan"
	"connbench/harness/record"
	"connbench/harness/session"
	"connbench/harness/table"
)

// ComplexityTable is a plan's [complexity].
type ComplexityTable struct {
	// WorkUS are the CPU times that a message takes the server, ascending; none leaves the
	// phase out.
	WorkUS []int `toml:"work_us" json:"work_us" spoils:"-"`
	// MessagesPerSecond is how many messages every active connection sends, evenly spread.
	MessagesPerSecond float64 `toml:"messages_per_second" json:"messages_per_second" spoils:"phase"`
	// P99US is the 99th percentile of the latency up to which a number of connections
	// counts as kept.
	P99US float64 `toml:"p99_us" json:"p99_us" spoils:"phase"`
	// Resolution is the ratio at which a search ends: the smallest number that was not kept
	// divided by the largest that was.
	Resolution float64 `toml:"resolution" json:"resolution" spoils:"phase"`
	// Seconds is how long each number of connections is tried. What is offered beyond a
	// server's capacity piles up for that time: an excess of less than
	// [ComplexityTable.P99US] in it does not show.
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"phase"`
	// WarmupSeconds is how long each number is tried before; its figures do not count.
	WarmupSeconds float64 `toml:"warmup_seconds" json:"warmup_seconds" spoils:"-"`
	// PayloadBytes is the size of a message's payload.
	PayloadBytes int `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
}

// load returns the load that each number of connections is tried with.
func (c ComplexityTable) load() loads.Load {
	return loads.Load{Seconds: c.Seconds, WarmupSeconds: c.WarmupSeconds, PayloadBytes: c.PayloadBytes}
}

// ComplexityRecord is how many active connections a server kept while every message took
// it some CPU time. For each amount of work there is a fresh server, and a search for the
// largest number of connections at which 99 % of the messages come back and their 99th
// percentile is within the bound. What is offered beyond the server's capacity piles up
// while a number is tried: an excess smaller than the bound's share of that time (5 %
// where it is 50 ms of a second) does not show.
type ComplexityRecord struct {
	// P99LimitUS is the bound of the 99th percentile.
	P99LimitUS float64 `json:"p99_limit_us"`
	// MessagesPerSecond is how many messages each active connection sent.
	MessagesPerSecond float64 `json:"messages_per_second"`
	// Kept is the largest number of connections that was kept in most of its tries, by the
	// amount of work ("100us"); 0 where none was. An amount is missing if its search did
	// not end.
	Kept map[string]int `json:"kept"`
	// KeptLow is the largest number up to which every try was kept, by the amount of work.
	KeptLow map[string]int `json:"kept_low,omitempty"`
	// KeptHigh is the smallest number from which on no try was kept, by the amount of
	// work. An amount is missing if all were kept.
	KeptHigh map[string]int `json:"kept_high,omitempty"`
	// StoppedBy says why no more were kept, by the amount of work: [KeptLatency],
	// [KeptDelivery] (too few messages came back), [KeptClient] (the swarm was too slow) or
	// [KeptAll] (there were no more).
	StoppedBy map[string]string `json:"stopped_by"`
	// Levels are the numbers of connections that were tried, in the order of the search.
	Levels []Level `json:"levels"`
}

// Level is one number of active connections under load, without the histogram.
type Level struct {
	// WorkUS is the CPU time that a message takes the server.
	WorkUS int `json:"work_us"`
	// Connections is the number of active connections.
	Connections int `json:"connections"`
	record.Load
}

// WorkKey returns the name of an amount of work in a ComplexityRecord, "100us".
func WorkKey(workUS int) string { return strconv.Itoa(workUS) + "us" }

// workKey matches what WorkKey returns for amounts of up to 100 s.
var workKey = regexp.MustCompile(`^(0|[1-9][0-9]{0,7})us$`)

// Check returns an error for members that are not named by WorkKey.
func (c *ComplexityRecord) Check() error {
	for key := range c.Kept {
		if !workKey.MatchString(key) {
			return fmt.Errorf("kept: %.20q is not a number of microseconds (100us)", key)
		}
	}
	return nil
}

// ComplexityPlan is the phase's table in a plan, Complexity its object in a trial's
// record.
var (
	ComplexityPlan = plan.NewPart("complexity", ComplexityTable{}, func(c ComplexityTable, p plan.Plan) []string {
		if len(c.WorkUS) == 0 {
			return nil
		}
		list := c.load().Problems("complexity", p)
		before := -1
		for _, work := range c.WorkUS {
			list.If(work <= before || work > mostWorkUS, "complexity.work_us has %d: the times must be ascending, none negative, and at most %d", work, mostWorkUS)
			before = work
		}
		list.If(c.Seconds == 0, "complexity.seconds is 0: it must be positive")
		list.If(!plan.Positive(c.P99US), "complexity.p99_us is %g: it must be positive", c.P99US)
		list.If(!plan.Positive(c.MessagesPerSecond), "complexity.messages_per_second is %g: it must be positive", c.MessagesPerSecond)
		list.If(!(c.Resolution >= 1.01 && c.Resolution <= 2), "complexity.resolution is %g: it must be from 1.01 to 2", c.Resolution)
		return list
	})
	Complexity = record.NewSection[ComplexityRecord]("complexity")
)

// mostWorkUS is the largest amount of work for a message, in microseconds.
const mostWorkUS = 10_000_000

// firstTry is the number of connections that a search begins with. Fewer connections send
// too few messages for a percentile.
const firstTry = 32

// tries is about how many levels are tried for each amount of work: some to find the
// right power of two, some to halve the interval, and those next to the limit again.
const tries = 8 + 2*(triesEach-1)

var _ = phase.Add(phase.Phase{
	Name:      "complexity",
	Order:     110,
	About:     "Searches, for each amount of CPU time that a message takes, for the largest number of active connections that a fresh server keeps.",
	Table:     ComplexityPlan,
	Finds:     []record.Object{Complexity},
	OwnServer: true,
	Planned: func(p plan.Plan, _ int) (bool, float64) {
		c := ComplexityPlan.Of(p)
		return len(c.WorkUS) > 0, float64(len(c.WorkUS)*tries) * (c.Seconds + c.WarmupSeconds)
	},
	Run: func(ctx context.Context, t *phase.Trial) error {
		table := ComplexityPlan.Of(t.Plan)
		complexity := &ComplexityRecord{
			P99LimitUS: table.P99US, MessagesPerSecond: table.MessagesPerSecond,
			Kept: map[string]int{}, KeptLow: map[string]int{}, KeptHigh: map[string]int{}, StoppedBy: map[string]string{}, Levels: []Level{},
		}
		Complexity.Set(t.Record, complexity)
		// The most work comes first: what was kept with more work is a good number to begin
		// with.
		begin := firstTry
		for _, work := range slices.Backward(table.WorkUS) {
			t.Progress.Phase(fmt.Sprintf("complexity %d µs", work), 0)
			f, err := searchKept(ctx, t, table, work, begin)
			if err != nil {
				if ctx.Err() != nil {
					err = errors.New("interrupted")
				}
				return fmt.Errorf("%d µs: %w", work, err)
			}
			complexity.describe(WorkKey(work), f)
			begin = max(firstTry, f.kept)
		}
		return nil
	},
})

// describe records what the search for an amount of work found.
func (c *ComplexityRecord) describe(work string, f found) {
	c.Kept[work], c.KeptLow[work], c.StoppedBy[work] = f.kept, f.low, f.limit
	if f.high > 0 {
		c.KeptHigh[work] = f.high
	}
}

// searchKept searches one amount of work with a fresh server.
func searchKept(ctx context.Context, t *phase.Trial, table ComplexityTable, workUS, begin int) (found, error) {
	defer t.CloseSession(ctx)
	if err := t.OpenSession(ctx, session.Options{WorkMicroseconds: workUS}); err != nil {
		return found{}, err
	}
	t.Session.Enter("complexity", false)
	if _, err := t.Session.Meter.Read(ctx); err != nil {
		return found{}, err
	}
	open, most := 0, t.Record.Connections.Reached
	s := search{most: most, between: byHalves(begin, most, table.Resolution)}
	for active := s.next(); active != 0; active = s.next() {
		if active > open {
			var err error
			if open, err = connections.RampTo(ctx, t, active); err != nil {
				return found{}, err
			}
		}
		load, _, err := table.load().Carry(ctx, t, "complexity", control.Command{
			Op: "echo", Connections: active, RatePerSecond: table.MessagesPerSecond * float64(active),
		})
		if load != nil {
			load.Histogram = "" // dozens of levels would make the record large
			c := Complexity.Of(t.Record)
			c.Levels = append(c.Levels, Level{WorkUS: workUS, Connections: active, Load: *load})
			open -= load.Lost // the next level opens new ones
		}
		if err != nil {
			return found{}, err
		}
		s.tried(active, notKept(*load, table.P99US))
	}
	return s.result(), nil
}

// Kept is the number of connections kept as a message takes more work: one figure for
// each amount of work.
var Kept = figure.AddFamily(figure.PlaceLoads+100, figure.Family{
	Name:    "complexity.kept.",
	Example: "complexity.kept.100us",
	Members: func(runs ...*record.Run) (list []figure.Figure) {
		for _, work := range works(runs) {
			list = append(list, kept(work))
		}
		return list
	},
	Named: func(name string) (figure.Figure, bool) {
		key, is := strings.CutPrefix(name, "complexity.kept.")
		work, err := strconv.Atoi(strings.TrimSuffix(key, "us"))
		if !is || err != nil || key != WorkKey(work) {
			return figure.Figure{}, false
		}
		return kept(work), true
	},
	Curve: &figure.Curve{
		Name: "complexity", Title: "Active connections kept as a message takes more work",
		About: "Medians of the rounds, and how far they are uncertain. Both axes are logarithmic; no work at all is at the left end.",
		X:     "CPU time that a message takes in its handler, µs", Y: "active connections", Point: "connections at %g µs a message",
	},
})

func kept(workUS int) figure.Figure {
	key := WorkKey(workUS)
	return figure.Figure{
		Name: "complexity.kept." + key, Title: fmt.Sprintf("kept at %d µs", workUS), Unit: figure.UnitConnections,
		Kind: figure.Capacity, Better: figure.Higher, Phase: "complexity", Parameter: float64(workUS),
		Means: fmt.Sprintf("Active connections that the server kept with every message taking it %d µs of CPU: the largest number found at which 99 %% of the messages came back and their 99th percentile stayed within the plan's bound.", workUS),
		Of: func(t *record.Trial) *float64 {
			if c := Complexity.Of(t); c != nil {
				if n, found := c.Kept[key]; found {
					return figure.Int(&n)
				}
			}
			return nil
		},
		ClientBound: func(t *record.Trial) string {
			if c := Complexity.Of(t); c != nil && c.StoppedBy[key] == KeptClient {
				return swarmsLimit
			}
			return ""
		},
		Depends: figure.Pace,
		Tables:  []figure.Table{figure.TableComplexity, figure.TableTrials, figure.TableRepeatability, figure.TableComparison},
		Says:    &figure.Sentence{Before: fmt.Sprintf("With %d µs of work a message, ", workUS), After: " active connections are kept"},
	}
}

// works returns the amounts of work that runs have results for, in microseconds,
// ascending.
func works(runs []*record.Run) []int {
	found := map[int]bool{}
	for _, run := range runs {
		for _, trial := range run.Trials {
			c := Complexity.Of(&trial)
			if c == nil {
				continue
			}
			for key := range c.Kept {
				if work, err := strconv.Atoi(strings.TrimSuffix(key, "us")); err == nil {
					found[work] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

var _ = overview.Add(400, overview.Table{
	Name: figure.TableComplexity, Title: "Complexity: how many active connections are kept as a message takes more work",
	Columns: overview.Labels, Notes: complexityNotes,
})

// complexityNotes say when connections count as kept, and which searches ended for
// another reason than a slow server.
func complexityNotes(run overview.Run) []string {
	var notes, all, bound []string
	for _, trial := range run.Trials {
		if c := Complexity.Of(&trial); c != nil {
			notes = append(notes, fmt.Sprintf("Each active connection sends %s messages a second; a number of them is kept where 99 %% of the messages come back and the 99th percentile of their latency stays within %s ms.",
				table.Number(c.MessagesPerSecond), table.Number(c.P99LimitUS/1000)))
		}
	}
	slices.Sort(notes)
	notes = slices.Compact(notes)
	for _, v := range run.Variants {
		for _, kept := range Kept.Members(run.Run) {
			stopped := map[string]bool{}
			for _, trial := range v.Valid {
				if c := Complexity.Of(trial); c != nil {
					stopped[c.StoppedBy[WorkKey(int(kept.Parameter))]] = true
				}
			}
			name := fmt.Sprintf("%s at %g µs", run.Label(v), kept.Parameter)
			if stopped[KeptAll] {
				all = append(all, name)
			}
			if stopped[KeptClient] {
				bound = append(bound, name)
			}
		}
	}
	if len(all) > 0 {
		notes = append(notes, "Kept all connections that there were, and might have kept more: "+table.List(all)+".")
	}
	if len(bound) > 0 {
		notes = append(notes, "The clients, not the server, were too slow for more: "+table.List(bound)+".")
	}
	return notes
}
