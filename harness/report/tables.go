package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"connbench/harness/cause"
	figures "connbench/harness/figure"
	"connbench/harness/phase"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// builder makes a table with a row for each variant, column by column.
type builder struct {
	variants []figures.Variant
	table.Table
}

func newBuilder(title string, variants []figures.Variant) *builder {
	return &builder{variants, table.Table{Title: title, Rows: make([][]table.Cell, len(variants))}}
}

func (b *builder) add(c table.Column, of func(figures.Variant) table.Cell) {
	b.Columns = append(b.Columns, c)
	for i, variant := range b.variants {
		b.Rows[i] = append(b.Rows[i], of(variant))
	}
}

func (b *builder) words(title string, of func(figures.Variant) string) {
	b.add(table.Column{Title: title, Text: true}, func(v figures.Variant) table.Cell { return table.Words(of(v)) })
}

// figure adds a figure's medians with their spreads, and letters at those that
// cannot be told apart.
func (b *builder) figure(name string) {
	figure := figures.Must(name)
	unit, format := table.Unit(figure.Unit), table.Value(figure.Unit)
	ties := tieLetters(figures.Summaries(b.variants, figure))
	i := 0
	b.add(table.Column{Title: figure.Title, Unit: unit, Means: figure.Means}, func(v figures.Variant) table.Cell {
		c := table.Summary(v.Summary(figure), format)
		if figure.Better != figures.None {
			c.Ties = ties[i]
		}
		i++
		return c
	})
}

// figures adds those of the figures that some variant has.
func (b *builder) figures(names ...string) {
	for _, name := range names {
		figure := figures.Must(name)
		if slices.ContainsFunc(b.variants, func(v figures.Variant) bool { return len(v.Values(figure)) > 0 }) {
			b.figure(name)
		}
	}
}

// tieLetters gives every sample the letters of the ties it is in, the lowest
// tie's first. Samples that are all of one and the same value are seen to be
// equal without a letter, and where there are too few rounds to tell anything
// apart there is no letter at all.
func tieLetters(samples []stats.Summary) []string {
	letters := make([]string, len(samples))
	ranking := stats.Rank(samples)
	if ranking.Undecided {
		return letters
	}
	letter := 'a'
	for _, tie := range ranking.Ties {
		tied := ranking.Order[tie[0] : tie[1]+1]
		first := samples[tied[0]].Low
		if !slices.ContainsFunc(tied, func(i int) bool { return samples[i].Low != first || samples[i].High != first }) {
			continue
		}
		for _, i := range tied {
			letters[i] += string(letter)
		}
		letter++
	}
	return letters
}

// tables are the tables of a run: what its connections carried, its complexity
// curve, where the kernel's bytes go and what is left in the end only where it has
// them.
func tables(run *record.Run) []table.Table {
	variants := figures.Variants(run)
	list := []table.Table{capacity(run, variants), cost(run, variants)}
	loaded := func(t record.Trial) bool {
		for range t.Loads() {
			return true
		}
		return phase.Sweep.Of(&t) != nil
	}
	if slices.ContainsFunc(run.Trials, loaded) {
		list = append(list, load(variants))
	}
	if len(phase.Kept.Members(run)) > 0 {
		list = append(list, complexity(run, variants))
	}
	for _, t := range []table.Table{kernel(run, variants), after(variants)} {
		if len(t.Columns) > 1 {
			list = append(list, t)
		}
	}
	return list
}

func capacity(run *record.Run, variants []figures.Variant) table.Table {
	b := newBuilder("Capacity: how many connections, and what stopped the next one", variants)
	b.words("variant", func(v figures.Variant) string { return v.Name })
	b.words("class", func(v figures.Variant) string { return v.Class })
	b.words("I/O model", func(v figures.Variant) string { return v.Model })
	b.add(table.Column{Title: "processes", Means: "Processes of the server."}, func(v figures.Variant) table.Cell {
		return table.Summary(trialSummary(v.Valid, func(t *record.Trial) int { return t.ServerProcesses }), whole)
	})
	b.add(table.Column{Title: "target", Unit: "conn", Means: "Connections asked for."}, func(v figures.Variant) table.Cell {
		return table.Summary(trialSummary(v.Valid, func(t *record.Trial) int { return t.Connections.Target }), whole)
	})
	b.figure("connections.reached")
	b.figures("budget.connections")
	b.words("stopped by", func(v figures.Variant) string { return stopReasons(v.Valid) })
	if memory := serverMemory(run.Manifest); memory > 0 && slices.ContainsFunc(variants, filledMemory) {
		b.add(table.Column{
			Title: "in memory", Unit: "conn/GiB",
			Means: "Connections reached per GiB of the server host's memory, where that is what stopped the ramp.",
		}, func(v figures.Variant) table.Cell {
			if !filledMemory(v) {
				return table.Words(table.Missing)
			}
			return table.Summary(trialSummary(v.Valid, func(t *record.Trial) int {
				return int(float64(t.Connections.Reached) / float64(memory) * (1 << 30))
			}), whole)
		})
	}
	b.figure("ramp.connects_per_second")
	b.figures("ramp.last_tenth", "ramp.last_tenth_accept_cpu")
	b.figure("ramp.handshake.p99_us")
	b.words("valid trials", func(v figures.Variant) string {
		return fmt.Sprintf("%d of %d", len(v.Valid), len(v.Valid)+len(v.Invalid))
	})
	if budget := budgetOf(run); budget > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("In budget: connections at which PSS of the server's processes, empty ones included, and kernel memory "+
			"above that with the empty server came to %s.", table.Memory(budget)))
		b.Notes = append(b.Notes, whoseKernel(run)...)
	}
	if run.Manifest.Limit != "" {
		b.Notes = append(b.Notes, "Predicted before the first trial: "+run.Manifest.Limit)
	}
	return b.done()
}

// budgetOf is the plan's budget of memory in bytes, 0 if it has none.
func budgetOf(run *record.Run) int64 {
	for _, t := range run.Trials {
		if budget := phase.Budget.Of(&t); budget != nil {
			return budget.Bytes
		}
	}
	return 0
}

// serverMemory is the memory of the server's host in bytes, 0 if that is unknown.
func serverMemory(m record.Manifest) int64 {
	for _, host := range m.Hosts {
		if slices.Contains(host.Roles, record.RoleServer) {
			return host.MemoryBytes
		}
	}
	return 0
}

// filledMemory is true where each valid trial went on until memory stopped it.
func filledMemory(v figures.Variant) bool {
	return len(v.Valid) > 0 && !slices.ContainsFunc(v.Valid, func(t *record.Trial) bool {
		return !cause.FullMemory(t.Stop.Reason)
	})
}

func whole(x float64) string { return table.Count(int(x)) }

func trialSummary(trials []*record.Trial, of func(*record.Trial) int) stats.Summary {
	var values []float64
	for _, trial := range trials {
		values = append(values, float64(of(trial)))
	}
	return stats.Summarize(values)
}

// stopReasons lists what ended the ramps, the most frequent first.
func stopReasons(trials []*record.Trial) string {
	times := map[string]int{}
	var reasons []string
	for _, trial := range trials {
		if times[trial.Stop.Reason]++; times[trial.Stop.Reason] == 1 {
			reasons = append(reasons, trial.Stop.Reason)
		}
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return times[b] - times[a] })
	if len(reasons) == 0 {
		return table.Missing
	}
	if len(reasons) > 1 {
		for i, reason := range reasons {
			reasons[i] = fmt.Sprintf("%s (%d)", reason, times[reason])
		}
	}
	return strings.Join(reasons, ", ")
}

func cost(run *record.Run, variants []figures.Variant) table.Table {
	b := newBuilder("Cost: what one connection takes", variants)
	b.words("variant", figures.Labels(variants))
	rss := figures.Must("per_connection.rss_bytes")
	b.figure(rss.Name)
	b.add(table.Column{Title: "÷ floor", Means: "RSS per connection as a multiple of the floor's."}, func(v figures.Variant) table.Cell {
		floor := figures.Floor(variants, v.Class)
		if floor == nil {
			return table.Words(table.Missing)
		}
		least, own := floor.Summary(rss), v.Summary(rss)
		switch {
		case own.N() == 0 || least.N() == 0 || least.Low <= 0:
			return table.Words(table.Missing)
		case own.Low <= 0:
			return table.Words("≈ 0")
		}
		ratio := own.Median / least.Median
		return table.Cell{Text: table.Number(ratio), Value: &ratio}
	})
	b.figure("per_connection.rss_settled_bytes")
	b.figure("per_connection.live_heap_bytes")
	b.figure("per_connection.stack_bytes")
	b.figure("per_connection.kernel_bytes")
	b.figure("cpu.accept_us")
	b.figure("cpu.idle_cores")
	b.Notes = append(b.Notes, whoseKernel(run)...)
	return b.done()
}

// whoseKernel says whose ends of the connections the kernel's memory holds, where
// it might be both.
func whoseKernel(run *record.Run) []string {
	switch {
	case run.BothEnds():
		return []string{"Kernel memory holds both ends of each connection: server and clients share a host."}
	case run.Manifest.OneKernel():
		return []string{"Kernel memory is the server's side alone: the clients' engine (packet) has no sockets."}
	case len(run.Manifest.Hosts) > 1:
		return []string{"Kernel memory is the server's side alone: the server is alone on its kernel."}
	}
	return nil
}

func load(variants []figures.Variant) table.Table {
	b := newBuilder("Load: what the connections carry", variants)
	b.words("variant", figures.Labels(variants))
	for _, name := range []string{
		"echo.offered_per_second", "echo.delivered_per_second", "echo.p50_us", "echo.p99_us", "echo.p999_us",
		"cpu.echo_us", "saturate.delivered_per_second",
	} {
		b.figure(name)
	}
	b.figures("sweep.knee_per_second", "ping.delivered_per_second", "ping.p99_us", "cpu.ping_us")
	bound := false
	b.words("client-bound", func(v figures.Variant) string {
		text := clientBound(v.Valid)
		bound = bound || text != "no" && text != table.Missing
		return text
	})
	if bound {
		b.Notes = append(b.Notes, "Client-bound: in that phase the clients, not the server, set the pace; the server could have done more.")
	}
	return b.done()
}

func complexity(run *record.Run, variants []figures.Variant) table.Table {
	b := newBuilder("Complexity: how many active connections are kept as a message takes more work", variants)
	b.words("variant", figures.Labels(variants))
	works := phase.Kept.Members(run)
	for _, work := range works {
		b.figure(work.Name)
	}
	var bounds, all, bound []string
	for _, trial := range run.Trials {
		if c := phase.Complexity.Of(&trial); c != nil {
			bounds = append(bounds, fmt.Sprintf("Each active connection sends %s messages a second; a number of them is kept where 99 %% of the messages come back and the 99th percentile of their latency stays within %s ms.",
				table.Number(c.MessagesPerSecond), table.Number(c.P99LimitUS/1000)))
		}
	}
	slices.Sort(bounds)
	b.Notes = append(b.Notes, slices.Compact(bounds)...)
	label := figures.Labels(variants)
	for _, v := range variants {
		for _, work := range works {
			stopped := map[string]bool{}
			for _, trial := range v.Valid {
				if c := phase.Complexity.Of(trial); c != nil {
					stopped[c.StoppedBy[phase.WorkKey(int(work.Parameter))]] = true
				}
			}
			name := fmt.Sprintf("%s at %g µs", label(v), work.Parameter)
			if stopped[phase.KeptAll] {
				all = append(all, name)
			}
			if stopped[phase.KeptClient] {
				bound = append(bound, name)
			}
		}
	}
	if len(all) > 0 {
		b.Notes = append(b.Notes, "Kept all connections that there were, and might have kept more: "+table.List(all)+".")
	}
	if len(bound) > 0 {
		b.Notes = append(b.Notes, "The clients, not the server, were too slow for more: "+table.List(bound)+".")
	}
	return b.done()
}

// clientBound names the loads in which the swarm set the pace.
func clientBound(trials []*record.Trial) string {
	times, bound := map[string]int{}, map[string]int{}
	for _, trial := range trials {
		for name, load := range trial.Loads() {
			times[name]++
			if load.ClientBound {
				bound[name]++
			}
		}
	}
	if len(times) == 0 {
		return table.Missing
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(bound)) {
		if bound[name] < times[name] {
			name = fmt.Sprintf("%s (%d of %d)", name, bound[name], times[name])
		}
		names = append(names, name)
	}
	return cmp.Or(strings.Join(names, ", "), "no")
}

// kernelKinds is the number of kinds of kernel memory that have a column of their
// own, the largest.
const kernelKinds = 9

// kernel says where the kernel's bytes go.
func kernel(run *record.Run, variants []figures.Variant) table.Table {
	b := newBuilder("Kernel: where a connection's bytes go", variants)
	b.words("variant", figures.Labels(variants))
	of := func(kind string) func(figures.Variant) stats.Summary {
		return func(v figures.Variant) stats.Summary {
			var values []float64
			for _, trial := range v.Valid {
				if len(trial.KernelCaches) > 0 { // one that is not listed is next to nothing
					values = append(values, trial.KernelCaches[kind])
				}
			}
			return stats.Summarize(values)
		}
	}
	largest := map[string]float64{}
	for _, v := range variants {
		for _, trial := range v.Valid {
			for kind := range trial.KernelCaches {
				if s := of(kind)(v); s.N() > 0 {
					largest[kind] = max(largest[kind], s.Median)
				}
			}
		}
	}
	kinds := slices.SortedFunc(maps.Keys(largest), func(a, b string) int {
		return cmp.Or(cmp.Compare(largest[b], largest[a]), cmp.Compare(a, b))
	})
	for _, kind := range kinds[:min(kernelKinds, len(kinds))] {
		title, means := strings.ReplaceAll(kind, "_", " "), "Growth per connection."
		if cache, ok := strings.CutPrefix(kind, "slab:"); ok {
			title, means = cache, "Growth of this slab cache per connection, whole slabs."
		}
		b.add(table.Column{Title: title, Unit: "B/conn", Means: means}, func(v figures.Variant) table.Cell {
			return table.Summary(of(kind)(v), table.Value(figures.UnitBytes))
		})
	}
	if len(kinds) == 0 {
		return b.Table
	}
	b.figure("per_connection.kernel_bytes")
	b.figures("per_connection.group_kernel_bytes")
	if len(kinds) > kernelKinds {
		b.Notes = append(b.Notes, fmt.Sprintf("The %d largest kinds; trials.jsonl has all.", kernelKinds))
	}
	b.Notes = append(b.Notes, whoseKernel(run)...)
	return b.done()
}

// after says what is left when all connections have been closed.
func after(variants []figures.Variant) table.Table {
	b := newBuilder("After: what is left when all connections are closed", variants)
	b.words("variant", figures.Labels(variants))
	b.figures("after.close_seconds", "after.rss_given_back", "after.kernel_given_back", "after.descriptors", "after.goroutines", "after.time_wait")
	if len(b.Columns) == 1 {
		return b.Table
	}
	return b.done()
}

// done adds the notes that say how to read the table.
func (b *builder) done() table.Table {
	b.Notes = append(reading(b.Table), b.Notes...)
	for _, row := range b.Rows {
		if slices.ContainsFunc(row, func(c table.Cell) bool { return c.Text == table.Missing }) {
			b.Notes = append(b.Notes, table.Missing+" not measured; the trials listed below say why.")
			break
		}
	}
	return b.Table
}

// reading says what the figures, the ± and the letters of a table mean, which
// depends on the number of rounds behind them.
func reading(t table.Table) []string {
	least, most, ties, interval := 0, 0, false, 0
	for _, row := range t.Rows {
		for _, c := range row {
			if n := c.Summary.N(); n > 0 {
				most = max(most, n)
				if least == 0 || n < least {
					least = n
				}
				if c.Summary.Interval {
					interval = max(interval, n)
				}
			}
			ties = ties || c.Ties != ""
		}
	}
	var text string
	switch {
	case most == 0:
		return nil
	case most == 1:
		return []string{"One round: how far the figures scatter is not known, and so not which of them differ. Three rounds tell."}
	case least == most:
		text = fmt.Sprintf("Medians of %s", table.Plural(most, "round"))
	default:
		text = fmt.Sprintf("Medians of %d to %s", least, table.Plural(most, "round"))
	}
	switch {
	case interval == 0:
		text += "; ± spans all of them (a 95% interval takes six)."
	case least < 6:
		text += "; ± is the 95% interval of the median, or spans all rounds where they are fewer than six."
	default:
		text += "; ± is the 95% interval of the median."
	}
	switch {
	case least < 3:
		text += " Too few to tell which figures differ: that takes three."
	case ties:
		text += " Figures of a column that share a letter are within the noise of each other; the rest differ."
	default:
		text += " All figures of a column that are not the same differ by more than the noise."
	}
	return []string{text}
}
