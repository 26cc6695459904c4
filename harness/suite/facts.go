package suite

import (
	"context"
	"strconv"

	"connbench/harness/lab"
	"connbench/harness/limits"
	"connbench/harness/probe"
	"connbench/harness/reading"
	"connbench/harness/record"
)

// factsOf reads what the limits of a host are computed from. reserve is the memory that
// must stay free, in bytes.
func factsOf(ctx context.Context, host *lab.Host, reserveBytes int64) (limits.Facts, error) {
	m, err := host.Agent.Measure(ctx, nil, true)
	return facts(host.Facts, m.System, reserveBytes), err
}

// facts returns what limits are computed from: a host's description and a detailed
// reading.
func facts(host record.Host, system reading.System, reserveBytes int64) limits.Facts {
	f := limits.Facts{
		Name: host.Name, Sysctls: host.Sysctls,
		OpenFiles: limit(host.Limits[probe.LimitNoFileHard]), SoftOpenFiles: limit(host.Limits[probe.LimitNoFileSoft]),
		Processes: limit(host.Limits[probe.LimitNProc]), Admin: host.Limits[probe.LimitAdmin] == "yes",
		AvailableBytes: system.Memory.Available,
		UsedFiles:      system.OpenFiles, UsedTasks: system.Tasks, UsedConnections: system.Conntrack,
		MemoryGroup: group(system.Groups.Memory, reserveBytes), TaskGroup: group(system.Groups.Tasks, 0),
	}
	switch host.Limits[probe.LimitConntrack] {
	case probe.ConntrackActive:
		f.Tracks = new(true)
	case probe.ConntrackInactive:
		f.Tracks = new(false)
	}
	if most := limit(host.Limits[probe.LimitCgroupMemory]); f.MemoryGroup == nil && most != nil && *most == limits.Unlimited {
		f.MemoryGroup = &limits.Group{Limit: limits.Unlimited}
	}
	return f
}

// limit parses a limit as the probe writes it; nil if the probe could not read it.
func limit(text string) *int64 {
	if text == "unlimited" {
		return new(int64(limits.Unlimited))
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil
	}
	return &value
}

func group(use *reading.GroupUse, reserveBytes int64) *limits.Group {
	if use == nil {
		return nil
	}
	return &limits.Group{Folder: use.Folder, Limit: use.Limit, Used: use.Used, Reserve: use.Reserve(reserveBytes)}
}
