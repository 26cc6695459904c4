// Package figures lists the numbers that a trial is judged by, once, for tables,
// comparisons, plots and benchmark text alike, and gathers them over the rounds.
package figures

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"connbench/harness/record"
	"connbench/harness/table"
)

// Kind groups figures that depend on the same things of a machine, and so are
// comparable between two machines, or are not, together.
type Kind string

// The kinds of figures.
const (
	Capacity Kind = "capacity" // how many; depends on limits and memory
	Memory   Kind = "memory"   // bytes per connection; depends on kernel and library, hardly on speed
	CPU      Kind = "CPU"      // CPU time; depends on the processor and its load
	Latency  Kind = "latency"  // time; depends on everything
	Rate     Kind = "rate"     // events a second; depends on everything
)

// Better says which way a figure improves.
type Better int

// The directions.
const (
	Lower  Better = -1
	None   Better = 0 // a setting rather than a result
	Higher Better = 1
)

// String is the direction as benchstat's unit metadata has it, "" for None.
func (b Better) String() string {
	return map[Better]string{Lower: "lower", Higher: "higher"}[b]
}

// Figure is one number of a trial.
type Figure struct {
	// Name is the path in the record, "per_connection.rss_bytes".
	Name string
	// Title is the name for people, Unit what is counted, "B/conn".
	Title, Unit string
	Kind        Kind
	Better      Better
	// Means is the definition, one sentence.
	Means string
	// Of is the value in a trial, nil where it was not taken.
	Of func(*record.Trial) *float64
}

// All are the figures that any run may have, in the order of the tables; see [Of].
var All = []Figure{
	{"connections.reached", "reached", "conn", Capacity, Higher,
		"Connections that answered the census at the end of the hold: swarm, server and kernel counted the same.",
		func(t *record.Trial) *float64 { return number(t.Connections.Reached) }},
	{"budget.connections", "in budget", "conn", Capacity, Higher,
		"Connections at which the plan's budget of memory was spent: PSS of the server's processes, and kernel memory above that with the empty server.",
		func(t *record.Trial) *float64 {
			if t.Budget == nil {
				return nil
			}
			return t.Budget.Connections
		}},
	{"ramp.connects_per_second", "connect rate", "conn/s", Rate, Higher,
		"Connections opened with a verified handshake, per second of the ramp, pauses for measurement left out.",
		func(t *record.Trial) *float64 { return t.Ramp.ConnectsPerSecond }},
	{"ramp.last_tenth", "last tenth of first", "share", Rate, Higher,
		"Connect rate over the last tenth of the ramp as a share of that over its first: below 100% connecting became slower as there were more.",
		func(t *record.Trial) *float64 {
			first, last := t.Ramp.FirstPerSecond, t.Ramp.LastPerSecond
			if first == nil || last == nil {
				return nil
			}
			return new(*last / *first)
		}},
	{"ramp.last_tenth_accept_cpu", "accept CPU, last tenth of first", "share", CPU, Lower,
		"CPU time of the server per connection over the last tenth of the ramp as a share of that over its first: above 100% a connection became dearer as there were more. Other programs can slow a ramp down; this they hardly touch.",
		func(t *record.Trial) *float64 { return acceptCPUGrowth(t.Steps) }},
	{"ramp.handshake.p50_us", "handshake p50", "µs", Latency, Lower,
		"Median time from connect to the verified handshake answer.",
		func(t *record.Trial) *float64 {
			return latency(t.Ramp.Handshake, func(l *record.Latency) float64 { return l.P50US })
		}},
	{"ramp.handshake.p99_us", "handshake p99", "µs", Latency, Lower,
		"Time from connect to the verified handshake answer that 99 % stayed below.",
		func(t *record.Trial) *float64 {
			return latency(t.Ramp.Handshake, func(l *record.Latency) float64 { return l.P99US })
		}},

	{"per_connection.rss_bytes", "RSS", "B/conn", Memory, Lower,
		"Resident memory of the server per connection: slope of a line through the steps of the ramp, so that what an empty server takes does not count.",
		func(t *record.Trial) *float64 { return t.PerConnection.RSSBytes }},
	{"per_connection.rss_settled_bytes", "settled RSS", "B/conn", Memory, Lower,
		"The same slope over a second ramp, in which the server collects its garbage and gives free memory back before each point.",
		func(t *record.Trial) *float64 { return t.PerConnection.RSSSettledBytes }},
	{"per_connection.pss_bytes", "PSS", "B/conn", Memory, Lower,
		"Proportional set size of the server per connection: as RSS, but pages shared by processes are divided among them.",
		func(t *record.Trial) *float64 { return t.PerConnection.PSSBytes }},
	{"per_connection.pss_settled_bytes", "settled PSS", "B/conn", Memory, Lower,
		"PSS per connection over the second, settled ramp.",
		func(t *record.Trial) *float64 { return t.PerConnection.PSSSettledBytes }},
	{"per_connection.heap_in_use_bytes", "heap in use", "B/conn", Memory, Lower,
		"Heap memory of the server that holds objects or garbage, per connection, by its own account.",
		func(t *record.Trial) *float64 { return t.PerConnection.HeapInUseBytes }},
	{"per_connection.live_heap_bytes", "live heap", "B/conn", Memory, Lower,
		"Heap memory of the server that its last garbage collection found alive, per connection, by its own account.",
		func(t *record.Trial) *float64 { return t.PerConnection.LiveHeapBytes }},
	{"per_connection.stack_bytes", "stack", "B/conn", Memory, Lower,
		"Memory of the server's goroutine stacks per connection, by its own account.",
		func(t *record.Trial) *float64 { return t.PerConnection.StackBytes }},
	{"per_connection.kernel_bytes", "kernel", "B/conn", Memory, Lower,
		"Kernel memory of the host per connection: slab, TCP buffers and page tables. Where server and clients share a kernel it holds both ends, unless the clients speak TCP themselves (engine packet).",
		func(t *record.Trial) *float64 { return t.PerConnection.KernelBytes }},
	{"per_connection.group_kernel_bytes", "kernel, servers' group", "B/conn", Memory, Lower,
		"Kernel memory per connection that is charged to the control group of the servers: their side alone, as far as the kernel charges it. Version 1 of control groups leaves out the socket itself, some 2,600 bytes.",
		func(t *record.Trial) *float64 { return t.PerConnection.GroupKernelBytes }},
	{"per_connection.goroutines", "goroutines", "per conn", Memory, Lower,
		"Goroutines of the server per connection.",
		func(t *record.Trial) *float64 { return t.PerConnection.Goroutines }},
	{"per_connection.threads", "threads", "per conn", Memory, Lower,
		"Threads of the server per connection.",
		func(t *record.Trial) *float64 { return t.PerConnection.Threads }},

	{"cpu.accept_us", "CPU per accept", "µs", CPU, Lower,
		"CPU time of the server, user and system, during the ramp, per connection accepted and upgraded.",
		func(t *record.Trial) *float64 { return t.CPU.AcceptUS }},
	{"cpu.accept_user_us", "user CPU per accept", "µs", CPU, Lower,
		"The part of CPU per accept that was spent in the server's own code.",
		func(t *record.Trial) *float64 { return t.CPU.AcceptUserUS }},
	{"cpu.accept_system_us", "system CPU per accept", "µs", CPU, Lower,
		"The part of CPU per accept that was spent in the kernel.",
		func(t *record.Trial) *float64 { return t.CPU.AcceptSystemUS }},
	{"cpu.echo_us", "CPU per message", "µs", CPU, Lower,
		"CPU time of the server, user and system, per message echoed at the offered rate.",
		func(t *record.Trial) *float64 { return t.CPU.EchoUS }},
	{"cpu.echo_user_us", "user CPU per message", "µs", CPU, Lower,
		"The part of CPU per message that was spent in the server's own code.",
		func(t *record.Trial) *float64 { return t.CPU.EchoUserUS }},
	{"cpu.echo_system_us", "system CPU per message", "µs", CPU, Lower,
		"The part of CPU per message that was spent in the kernel.",
		func(t *record.Trial) *float64 { return t.CPU.EchoSystemUS }},
	{"cpu.idle_cores", "CPU while idle", "cores", CPU, Lower,
		"CPU seconds of the server per second while all connections are open and nothing is sent.",
		func(t *record.Trial) *float64 { return t.CPU.IdleCores }},

	{"echo.offered_per_second", "offered", "msg/s", Rate, None,
		"Messages that were due per second, over all connections (open loop).",
		func(t *record.Trial) *float64 {
			if t.Echo == nil {
				return nil
			}
			return t.Echo.OfferedPerSecond
		}},
	{"echo.delivered_per_second", "delivered", "msg/s", Rate, Higher,
		"Messages per second whose echo came back whole and right, of those offered.",
		func(t *record.Trial) *float64 {
			return load(t.Echo, func(l *record.Load) float64 { return l.DeliveredPerSecond })
		}},
	{"echo.p50_us", "p50", "µs", Latency, Lower,
		"Median time from the moment a message was due to its whole echo.",
		func(t *record.Trial) *float64 { return load(t.Echo, func(l *record.Load) float64 { return l.P50US }) }},
	{"echo.p90_us", "p90", "µs", Latency, Lower,
		"Time from the moment a message was due to its whole echo that 90 % stayed below.",
		func(t *record.Trial) *float64 { return load(t.Echo, func(l *record.Load) float64 { return l.P90US }) }},
	{"echo.p99_us", "p99", "µs", Latency, Lower,
		"Time from the moment a message was due to its whole echo that 99 % stayed below.",
		func(t *record.Trial) *float64 { return load(t.Echo, func(l *record.Load) float64 { return l.P99US }) }},
	{"echo.p999_us", "p99.9", "µs", Latency, Lower,
		"Time from the moment a message was due to its whole echo that 99.9 % stayed below.",
		func(t *record.Trial) *float64 { return load(t.Echo, func(l *record.Load) float64 { return l.P999US }) }},

	{"ping.delivered_per_second", "pings", "ping/s", Rate, None,
		"Keepalive pings per second whose pong came back right, spread over all connections (open loop).",
		func(t *record.Trial) *float64 {
			return load(t.Ping, func(l *record.Load) float64 { return l.DeliveredPerSecond })
		}},
	{"ping.p99_us", "ping p99", "µs", Latency, Lower,
		"Time from the moment a ping was due to its whole pong that 99 % stayed below.",
		func(t *record.Trial) *float64 { return load(t.Ping, func(l *record.Load) float64 { return l.P99US }) }},
	{"cpu.ping_us", "CPU per ping", "µs", CPU, Lower,
		"CPU time of the server, user and system, per keepalive ping answered.",
		func(t *record.Trial) *float64 { return t.CPU.PingUS }},

	{"saturate.delivered_per_second", "saturated", "msg/s", Rate, Higher,
		"Echoes per second with a fixed number of messages in flight (closed loop): the most that server and clients together can do on this machine.",
		func(t *record.Trial) *float64 {
			return load(t.Saturate, func(l *record.Load) float64 { return l.DeliveredPerSecond })
		}},
	{"saturate.server_cpu_us", "CPU per message, saturated", "µs", CPU, Lower,
		"CPU time of the server per message echoed while saturated.",
		func(t *record.Trial) *float64 {
			if t.Saturate == nil {
				return nil
			}
			return t.Saturate.ServerCPUUS
		}},
	{"sweep.knee_per_second", "knee", "msg/s", Rate, Higher,
		"Highest of the plan's offered rates at which 99 % of the messages came back in time and their 99th percentile stayed within the plan's bound.",
		func(t *record.Trial) *float64 {
			if t.Sweep == nil {
				return nil
			}
			return t.Sweep.KneePerSecond
		}},
	{"after.close_seconds", "time to close", "s", Latency, Lower,
		"Time from the first close to the moment the server counted no connection any more.",
		func(t *record.Trial) *float64 { return t.After.CloseSeconds }},
	{"after.rss_given_back", "RSS given back", "share", Memory, Higher,
		"Share of the resident memory that the connections had added to the server which it gave back, after all were closed and it had settled.",
		func(t *record.Trial) *float64 {
			return givenBack(t, func(s record.Step) *int64 { return s.RSSBytes }, t.After.RSSSettledBytes)
		}},
	{"after.kernel_given_back", "kernel given back", "share", Memory, Higher,
		"Share of the kernel memory that the connections had added which was free again then.",
		func(t *record.Trial) *float64 {
			return givenBack(t, func(s record.Step) *int64 { return s.KernelBytes }, t.After.KernelBytes)
		}},
	{"after.descriptors", "descriptors left", "", Memory, Lower,
		"Descriptors of the server more than when it was empty.",
		func(t *record.Trial) *float64 { return whole(t.After.Descriptors) }},
	{"after.goroutines", "goroutines left", "", Memory, Lower,
		"Goroutines of the server more than when it was empty.",
		func(t *record.Trial) *float64 { return whole(t.After.Goroutines) }},
	{"after.time_wait", "TIME_WAIT left", "", Memory, Lower,
		"Sockets in TIME_WAIT, on all hosts.",
		func(t *record.Trial) *float64 { return whole(t.After.TimeWait) }},
}

// givenBack is the share of what the ramp added to a kind of memory that is gone
// again; nil where it added nothing.
func givenBack(t *record.Trial, of func(record.Step) *int64, after *int64) *float64 {
	if len(t.Steps) == 0 || after == nil {
		return nil
	}
	empty, full := of(t.Steps[0]), of(t.Steps[len(t.Steps)-1])
	if empty == nil || full == nil || *full <= *empty {
		return nil
	}
	return new(1 - float64(*after-*empty)/float64(*full-*empty))
}

// acceptCPUGrowth is the server's CPU time per connection over the last points of a
// ramp as a share of that over its first, each as few as hold a tenth of the
// connections; nil where the ramp has one step or CPU time was not measured.
func acceptCPUGrowth(points []record.Step) *float64 {
	if len(points) < 3 { // the empty server is the first point
		return nil
	}
	empty, full := points[0], points[len(points)-1]
	tenth := (full.Connections - empty.Connections + 9) / 10
	first := slices.IndexFunc(points, func(p record.Step) bool { return p.Connections >= empty.Connections+tenth })
	last := len(points) - 1
	for last > 0 && points[last].Connections > full.Connections-tenth {
		last--
	}
	early, late := acceptCPU(empty, points[first]), acceptCPU(points[last], full)
	if early == nil || late == nil || *early == 0 {
		return nil
	}
	return new(*late / *early)
}

// acceptCPU is the server's CPU time per connection between two points of a ramp, in
// seconds.
func acceptCPU(from, to record.Step) *float64 {
	if from.CPUSeconds == nil || to.CPUSeconds == nil || to.Connections <= from.Connections {
		return nil
	}
	return new((*to.CPUSeconds - *from.CPUSeconds) / float64(to.Connections-from.Connections))
}

func whole(n *int64) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

// Kept is how many connections were kept at an amount of work, one figure for each
// amount that a plan has.
func Kept(workUS int) Figure {
	key := record.WorkKey(workUS)
	return Figure{
		Name: keptPrefix + key, Title: fmt.Sprintf("kept at %d µs", workUS), Unit: "conn", Kind: Rate, Better: Higher,
		Means: fmt.Sprintf("Active connections that the server kept with every message taking it %d µs of CPU: the largest number found at which 99 %% of the messages came back and their 99th percentile stayed within the plan's bound.", workUS),
		Of: func(t *record.Trial) *float64 {
			if t.Complexity == nil {
				return nil
			}
			kept, found := t.Complexity.Kept[key]
			if !found {
				return nil
			}
			return number(kept)
		},
	}
}

const keptPrefix = "complexity.kept."

// Works are the amounts of work, in microseconds, for which runs have the
// connections kept, ascending.
func Works(runs ...*record.Run) []int {
	found := map[int]bool{}
	for _, run := range runs {
		for _, trial := range run.Trials {
			if trial.Complexity == nil {
				continue
			}
			for key := range trial.Complexity.Kept {
				if work, err := strconv.Atoi(strings.TrimSuffix(key, "us")); err == nil {
					found[work] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// Of are the figures that runs may have: All, and those of their amounts of work.
func Of(runs ...*record.Run) []Figure {
	list := slices.Clone(All)
	for _, work := range Works(runs...) {
		list = append(list, Kept(work))
	}
	return list
}

func number(n int) *float64 {
	x := float64(n)
	return &x
}

func latency(l *record.Latency, of func(*record.Latency) float64) *float64 {
	if l == nil {
		return nil
	}
	x := of(l)
	return &x
}

func load(l *record.Load, of func(*record.Load) float64) *float64 {
	if l == nil {
		return nil
	}
	x := of(l)
	return &x
}

// Find gives the figure of a name, which may be shortened to its end where that
// is not ambiguous: rss_bytes for per_connection.rss_bytes.
func Find(name string) (Figure, error) {
	var found []Figure
	for _, figure := range All {
		if figure.Name == name {
			return figure, nil
		}
		if strings.HasSuffix(figure.Name, "."+name) {
			found = append(found, figure)
		}
	}
	if text, is := strings.CutPrefix("complexity."+strings.TrimPrefix(name, "complexity."), keptPrefix); is {
		if work, err := strconv.Atoi(strings.TrimSuffix(text, "us")); err == nil && text == record.WorkKey(work) {
			return Kept(work), nil
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Figure{}, fmt.Errorf("unknown figure %q: there are %s, and %s100us and its like", name, strings.Join(names(All), ", "), keptPrefix)
	}
	return Figure{}, fmt.Errorf("figure %q is ambiguous: it may be %s", name, strings.Join(names(found), " or "))
}

// Must is Find for names that the program itself has.
func Must(name string) Figure {
	figure, err := Find(name)
	if err != nil {
		panic(err)
	}
	return figure
}

func names(list []Figure) []string {
	var names []string
	for _, figure := range list {
		names = append(names, figure.Name)
	}
	return names
}

// Headline are the figures that the tables show, in their order. The others are
// parts of these, or second ways to measure the same.
func Headline() []Figure {
	var list []Figure
	for _, name := range []string{
		"connections.reached", "ramp.connects_per_second", "ramp.handshake.p99_us",
		"per_connection.rss_bytes", "per_connection.rss_settled_bytes", "per_connection.live_heap_bytes",
		"per_connection.stack_bytes", "per_connection.kernel_bytes", "cpu.accept_us", "cpu.idle_cores",
		"echo.delivered_per_second", "echo.p50_us", "echo.p99_us", "echo.p999_us", "cpu.echo_us",
		"saturate.delivered_per_second",
	} {
		list = append(list, Must(name))
	}
	return list
}

// Display is the unit in which people read the figure, and writes a value in it.
func (f Figure) Display() (unit string, format func(float64) string) {
	switch f.Unit {
	case "conn":
		return f.Unit, func(x float64) string { return table.Count(int(math.Round(x))) }
	case "share":
		return "%", func(x float64) string { return table.Number(x * 100) }
	case "B/conn":
		return f.Unit, table.BytesPer
	case "cores":
		return "% of a core", func(x float64) string { return table.Number(x * 100) }
	}
	return f.Unit, table.Number
}

// FullTitle is the title where the figure stands alone, outside its table.
func (f Figure) FullTitle() string {
	switch phase, _, _ := strings.Cut(f.Name, "."); phase {
	case "echo":
		return "echo " + f.Title
	}
	if f.Unit == "B/conn" {
		return f.Title + " per connection"
	}
	return f.Title
}
