package attach

import (
	"fmt"
	"slices"
	"strings"

	"connbench/harness/figure"
	"connbench/harness/record"
	"connbench/harness/table"
)

// Verdict is the answer of a run in plain sentences: how many connections the attached server
// holds, what each costs next to the floor, and what some more would need.
func Verdict(run *record.Run, more int) string {
	variants := figure.Variants(run)
	i := slices.IndexFunc(variants, func(v figure.Variant) bool { return v.Class == record.ClassAttached })
	if i < 0 || len(variants[i].Valid) == 0 {
		return ""
	}
	v, t := variants[i], variants[i].Valid[0]
	servers := 0
	for _, host := range run.Manifest.Hosts {
		if slices.Contains(host.Roles, record.RoleServer) {
			servers++
		}
	}
	lines := []string{held(v.Name, t, servers)}
	if cost := costs(v, figure.Floor(variants, v), run.BothEnds(), t.Security); cost != "" {
		lines = append(lines, cost)
	}
	if need := needs(v, t, more); need != "" {
		lines = append(lines, need)
	}
	if run.Manifest.Limit != "" {
		lines = append(lines, "The first limit here: "+run.Manifest.Limit+".")
	}
	return strings.Join(lines, "\n")
}

// held says how many connections there were, on how many hosts, and what stopped the next one.
func held(name string, t *record.Trial, servers int) string {
	c, on := t.Connections, ""
	if servers > 1 {
		on = fmt.Sprintf(" on %d hosts", servers)
	}
	if c.Reached == c.Target {
		return fmt.Sprintf("%s held all %s%s.", name, table.Plural(c.Target, "connection"), on)
	}
	line := fmt.Sprintf("%s held %s of %s%s; what stopped the next one: %s", name, table.Count(c.Reached), table.Plural(c.Target, "connection"), on, t.Stop.Reason)
	if len(t.Stop.Evidence) > 0 {
		line += " (" + t.Stop.Evidence[0] + ")"
	}
	return line + "."
}

// costs says what a connection takes, next to the floor.
func costs(v figure.Variant, floor *figure.Variant, bothEnds bool, security string) string {
	rss, kernel := v.Summary(figure.RSS), v.Summary(figure.Kernel)
	if rss.N() == 0 {
		return fmt.Sprintf("What a connection costs the server is not known: %s.", v.Doubt(figure.RSS))
	}
	line := fmt.Sprintf("Each costs %s bytes of the server's resident memory", table.Number(rss.Median))
	if kernel.N() == 0 {
		return line + "."
	}
	line += fmt.Sprintf(" and %s bytes in the kernel", table.Number(kernel.Median))
	if bothEnds {
		line += ", which holds the clients' ends too"
	}
	if floor == nil {
		return line + "."
	}
	least, leastKernel := floor.Summary(figure.RSS), floor.Summary(figure.Kernel)
	if least.N() == 0 || leastKernel.N() == 0 {
		return line + "."
	}
	sum := least.Median + leastKernel.Median
	without := ""
	if security != "" {
		without = ", without TLS,"
	}
	return line + fmt.Sprintf(": together %s times what the floor%s takes (%s).", table.Number((rss.Median+kernel.Median)/sum), without, table.Number(sum))
}

// needs says what more connections would take, by the lines through the points of the ramp.
func needs(v figure.Variant, t *record.Trial, more int) string {
	rss := v.Summary(figure.RSS)
	if rss.N() == 0 || more <= t.Connections.Reached {
		return ""
	}
	line := fmt.Sprintf("%s of them would need about %s of the server's memory", table.Count(more),
		table.Memory(int64(rss.Median*float64(more)+t.Fits["rss_bytes"].Intercept)))
	fit, ok := figure.FitSteps(t.Steps, func(s record.Step) *int64 { return s.Descriptors })
	if ok {
		line += fmt.Sprintf(" and %s descriptors", table.Count(int(fit.Slope*float64(more)+fit.Intercept+0.5)))
	}
	return line + "."
}
