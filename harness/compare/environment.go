package compare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	figures "connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Difference is one way in which the two environments differ.
type Difference struct {
	Name string `json:"name"`
	Old  string `json:"old"`
	New  string `json:"new"`
	// Spoils says which figures cannot be compared because of it, in words; ""
	// where all still can.
	Spoils string `json:"spoils,omitempty"`
	spoils func(figures.Figure) bool
}

// spoiler says that a difference in an item of the environment keeps figures
// from being compared. Items that no spoiler names, a kernel or a library, are
// reported and may be the very thing that is compared.
type spoiler struct {
	item   string
	words  string
	spoils func(figures.Figure) bool
}

func speed(f figures.Figure) bool {
	return f.Kind == figures.CPU || f.Kind == figures.Latency || f.Kind == figures.Rate
}

// pace is what the clients have a part in.
func pace(f figures.Figure) bool {
	return f.Kind == figures.Latency || f.Kind == figures.Rate
}

// systemCPU is CPU time of a phase with work for the kernel in it.
func systemCPU(f figures.Figure) bool {
	return f.Kind == figures.CPU && !userCPU(f) && f.Name != "cpu.idle_cores"
}

func userCPU(f figures.Figure) bool { return strings.HasSuffix(f.Name, "_user_us") }

func prefixed(prefixes ...string) func(figures.Figure) bool {
	return func(f figures.Figure) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(f.Name, p) })
	}
}

func everything(figures.Figure) bool { return true }

// either joins two conditions.
func either(a, b func(figures.Figure) bool) func(figures.Figure) bool {
	return func(f figures.Figure) bool { return a(f) || b(f) }
}

// kernelMemory is of one end of the connections, or of both. A budget is spent on it,
// too.
var kernelMemory = prefixed("per_connection.kernel_bytes", "budget.")

var spoilers = []spoiler{
	{"architecture", "everything", everything},
	{"CPU model", "CPU, latency and rates", speed},
	{"CPUs", "CPU, latency and rates", speed},
	{"usable CPUs", "CPU, latency and rates", speed},
	{"hypervisor", "CPU, latency and rates", speed},
	{"CPUs emulated", "CPU, latency and rates", speed},
	{"link", "latency and rates", pace},
	// Bytes per connection do not depend on how much memory there is; how many
	// connections fit does.
	{"memory", "connections reached", prefixed("connections.")},
	{"lab", "CPU, latency, rates and kernel memory", either(speed, kernelMemory)},
	// The server does the same for either engine, and its memory and user CPU show it.
	// Its system CPU has the softirqs of the clients' sockets in it, if they have any.
	{"engine", "latency, rates, kernel memory and system CPU", either(either(pace, kernelMemory), systemCPU)},
	{"server CPUs", "CPU, latency and rates", speed},
	{"client CPUs", "CPU, latency and rates", speed},
	// As a server runs, its garbage is a share of what it keeps, but not in
	// proportion: the collector has a least heap.
	{"plan.connections", "connections reached, and memory as the server runs", prefixed("connections.", "per_connection.rss_bytes", "per_connection.pss_bytes", "per_connection.heap_in_use_bytes")},
	{"plan.budget_bytes", "the connections in the budget", prefixed("budget.")},
	{"plan.ramp.window", "the ramp's rate, latency and CPU", prefixed("ramp.", "cpu.accept")},
	{"plan.ramp.rate_per_second", "the ramp's rate, latency and CPU", prefixed("ramp.", "cpu.accept")},
	{"plan.ping.interval_seconds", "the keepalive pings", prefixed("ping.", "cpu.ping")},
	{"plan.ping.payload_bytes", "the keepalive pings", prefixed("ping.", "cpu.ping")},
	{"plan.echo.payload_bytes", "the echo phase", prefixed("echo.", "cpu.echo")},
	{"plan.echo.rate_per_second", "the echo phase", prefixed("echo.", "cpu.echo")},
	{"plan.complexity.messages_per_second", "the connections kept", prefixed("complexity.")},
	{"plan.complexity.p99_us", "the connections kept", prefixed("complexity.")},
	{"plan.complexity.payload_bytes", "the connections kept", prefixed("complexity.")},
	{"plan.saturate.payload_bytes", "the saturated phase", prefixed("saturate.")},
	{"plan.saturate.in_flight", "the saturated phase", prefixed("saturate.")},
}

// item is one fact of an environment.
type item struct{ name, value string }

// environment lists the facts of a run in the order in which they are compared.
func environment(run *record.Run) []item {
	var items []item
	add := func(name, value string) { items = append(items, item{name, table.Plain(value)}) }
	m := run.Manifest
	if m.Schema != 0 {
		for _, host := range m.Hosts {
			of := ""
			if len(m.Hosts) > 1 {
				of = " of " + host.Name
			}
			add("kernel"+of, host.Kernel)
			add("OS"+of, host.OS)
			add("architecture"+of, host.Architecture)
			add("CPU model"+of, host.CPUModel)
			add("CPUs"+of, fmt.Sprint(host.CPUs))
			add("usable CPUs"+of, fmt.Sprint(host.UsableCPUs))
			add("hypervisor"+of, host.Virtual)
			add("link"+of, host.Link)
			if host.Emulated {
				add("CPUs emulated"+of, "in software")
			}
			// MemTotal changes by some pages from boot to boot.
			add("memory"+of, fmt.Sprintf("%.1f GiB", float64(host.MemoryBytes)/(1<<30)))
			for _, name := range slices.Sorted(maps.Keys(host.Sysctls)) {
				add("sysctl "+name+of, host.Sysctls[name])
			}
			for _, name := range slices.Sorted(maps.Keys(host.Limits)) {
				add("limit "+name+of, host.Limits[name])
			}
		}
		add("connbench", m.Connbench)
		add("Go", m.GoVersion)
		for _, name := range slices.Sorted(maps.Keys(m.Modules)) {
			add("module "+name, m.Modules[name])
		}
		for _, v := range m.Variants {
			of := " of " + v.Name + "/" + v.Class
			add("settings"+of, v.Settings)
			for _, name := range slices.Sorted(maps.Keys(v.Environment)) {
				add(name+of, v.Environment[name])
			}
			add("program"+of, short(v.SHA256))
		}
		flatten("plan", m.Plan, add)
	}
	if len(run.Trials) > 0 {
		t := run.Trials[0]
		add("plan", t.Plan)
		add("lab", t.Lab)
		add("engine", t.Engine)
		add("server CPUs", fmt.Sprint(t.ServerCPUs))
		add("client CPUs", fmt.Sprint(t.ClientCPUs))
	}
	return items
}

// short is the beginning of a hash: enough to see that it is another.
func short(hash string) string { return hash[:min(len(hash), 12)] }

// flatten lists the leaves of a plan.
func flatten(path string, value any, add func(name, value string)) {
	switch value := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			flatten(path+"."+key, value[key], add)
		}
	default:
		add(path, fmt.Sprint(value))
	}
}

// differences compares two environments. What only one of them names is
// different from nothing, save for variants that only one of them has.
func differences(old, new *record.Run) []Difference {
	before, after := environment(old), environment(new)
	found := []Difference{}
	value := func(items []item, name string) (string, bool) {
		i := slices.IndexFunc(items, func(it item) bool { return it.name == name })
		if i < 0 {
			return "", false
		}
		return items[i].value, true
	}
	known := old.Manifest.Schema != 0 && new.Manifest.Schema != 0
	seen := map[string]bool{}
	for _, it := range slices.Concat(before, after) {
		a, inOld := value(before, it.name)
		b, inNew := value(after, it.name)
		if seen[it.name] || a == b || !(inOld && inNew) && (!known || ofVariant(it.name, old, new)) {
			continue
		}
		seen[it.name] = true
		d := Difference{Name: it.name, Old: orNone(a), New: orNone(b)}
		for _, s := range spoilers {
			if s.item == it.name || strings.HasPrefix(it.name, s.item+" of ") {
				d.Spoils, d.spoils = s.words, s.spoils
			}
		}
		found = append(found, d)
	}
	return found
}

// ofVariant is true for an item of a variant that one of the runs does not have.
func ofVariant(name string, old, new *record.Run) bool {
	_, variant, found := strings.Cut(name, " of ")
	if !found {
		return false
	}
	has := func(run *record.Run) bool {
		return slices.ContainsFunc(run.Manifest.Variants, func(v record.Variant) bool { return v.Name+"/"+v.Class == variant })
	}
	return has(old) != has(new)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
