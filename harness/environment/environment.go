// Package environment lists what a run was made on and with, fact by fact: hosts,
// settings, versions, plan. Two runs may differ in any of these facts, and figures
// say on which of them they depend.
package environment

import (
	"fmt"
	"maps"
	"slices"

	"connbench/harness/record"
)

// Fact names one thing that two runs may differ in, "CPU model".
type Fact string

// The facts that figures depend on, and others that are only reported. The order is
// that of [Of].
var (
	_            = ofHost("kernel", func(h record.Host) string { return h.Kernel })
	_            = ofHost("OS", func(h record.Host) string { return h.OS })
	Architecture = ofHost("architecture", func(h record.Host) string { return h.Architecture })
	CPUModel     = ofHost("CPU model", func(h record.Host) string { return h.CPUModel })
	CPUs         = ofHost("CPUs", func(h record.Host) string { return fmt.Sprint(h.CPUs) })
	UsableCPUs   = ofHost("usable CPUs", func(h record.Host) string { return fmt.Sprint(h.UsableCPUs) })
	Hypervisor   = ofHost("hypervisor", func(h record.Host) string { return h.Virtual })
	Link         = ofHost("link", func(h record.Host) string { return h.Link })
	Emulated     = ofHost("CPUs emulated", func(h record.Host) string {
		if h.Emulated {
			return "in software"
		}
		return ""
	})
	// CPUQuota and MemoryLimit are those of the control groups that programs ran in.
	CPUQuota    = ofHost("CPU quota", func(h record.Host) string { return h.Limits[cpuQuota] })
	MemoryLimit = ofHost("memory limit", func(h record.Host) string { return h.Limits[memoryLimit] })
	// Memory is rounded: MemTotal changes by some pages from boot to boot.
	Memory = ofHost("memory", func(h record.Host) string { return fmt.Sprintf("%.1f GiB", float64(h.MemoryBytes)/(1<<30)) })

	_          = ofTrial("plan", func(t record.Trial) string { return t.Plan })
	Lab        = ofTrial("lab", func(t record.Trial) string { return t.Lab })
	Engine     = ofTrial("engine", func(t record.Trial) string { return t.Engine })
	ServerCPUs = ofTrial("server CPUs", func(t record.Trial) string { return fmt.Sprint(t.ServerCPUs) })
	ClientCPUs = ofTrial("client CPUs", func(t record.Trial) string { return fmt.Sprint(t.ClientCPUs) })
)

// Plan is the value of a key of the plan, "connections" or "echo.rate_per_second".
func Plan(key string) Fact { return Fact("plan." + key) }

// Keys of [record.Host.Limits] that have a fact of their own.
const (
	cpuQuota    = "cgroup_cpus"
	memoryLimit = "cgroup_memory_bytes"
)

type reader[T any] struct {
	fact Fact
	read func(T) string
}

var (
	hostFacts  []reader[record.Host]
	trialFacts []reader[record.Trial]
)

// ofHost registers a fact that each host has, ofTrial one that the first trial tells
// for the whole run.
func ofHost(name Fact, read func(record.Host) string) Fact {
	hostFacts = append(hostFacts, reader[record.Host]{name, read})
	return name
}

func ofTrial(name Fact, read func(record.Trial) string) Fact {
	trialFacts = append(trialFacts, reader[record.Trial]{name, read})
	return name
}

// Item is the value of a fact in one run.
type Item struct {
	Fact Fact
	// Of is the host or the variant that has it, "" where the run has one host only or the
	// whole run has it.
	Of    string
	Value string
}

// Name is the fact with its owner, "CPU model of server".
func (i Item) Name() string {
	if i.Of == "" {
		return string(i.Fact)
	}
	return string(i.Fact) + " of " + i.Of
}

// Of lists the facts of a run in the order in which people compare them. A run that is
// a trials file alone has only those of its trials.
func Of(run *record.Run) []Item {
	var items []Item
	m := run.Manifest
	if m.Schema != 0 {
		items = slices.Concat(hosts(m.Hosts), versions(m), variants(m.Variants), leaves("plan", m.Plan))
	}
	if len(run.Trials) > 0 {
		for _, fact := range trialFacts {
			items = append(items, Item{Fact: fact.fact, Value: fact.read(run.Trials[0])})
		}
	}
	return items
}

func hosts(list []record.Host) (items []Item) {
	for _, host := range list {
		of := ""
		if len(list) > 1 {
			of = host.Name
		}
		for _, fact := range hostFacts {
			items = append(items, Item{fact.fact, of, fact.read(host)})
		}
		items = append(items, entries("sysctl ", of, host.Sysctls)...)
		limits := maps.Clone(host.Limits)
		delete(limits, cpuQuota) // facts already
		delete(limits, memoryLimit)
		items = append(items, entries("limit ", of, limits)...)
	}
	return items
}

func versions(m record.Manifest) []Item {
	return append([]Item{{"connbench", "", m.Connbench}, {"Go", "", m.GoVersion}}, entries("module ", "", m.Modules)...)
}

func variants(list []record.Variant) (items []Item) {
	for _, v := range list {
		of := v.Name + "/" + v.Class
		items = append(items, Item{"settings", of, v.Settings})
		items = append(items, entries("", of, v.Environment)...)
		items = append(items, Item{"program", of, v.SHA256[:min(len(v.SHA256), 12)]}) // enough to see that it is another
	}
	return items
}

// entries lists a map by its keys.
func entries(prefix, of string, values map[string]string) (items []Item) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		items = append(items, Item{Fact(prefix + key), of, values[key]})
	}
	return items
}

// leaves lists the keys of a plan.
func leaves(path string, value any) (items []Item) {
	table, is := value.(map[string]any)
	if !is {
		return []Item{{Fact: Fact(path), Value: fmt.Sprint(value)}}
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		items = append(items, leaves(path+"."+key, table[key])...)
	}
	return items
}
