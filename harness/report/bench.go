package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"

	"connbench/harness/figure"
	"connbench/harness/plain"
	"connbench/harness/record"
)

// writeBench writes the valid trials as Go benchmark text
// (golang.org/design/14313-benchmark-format), one line each, so that benchstat
// summarises and compares them: benchstat -col /variant bench.txt. The header holds
// only what must be equal for figures to be compared at all, since benchstat makes a
// table of its own for each value of it.
func writeBench(w io.Writer, run *record.Run) error {
	out := benchfmt.NewWriter(w)
	figures := figure.Of(run)
	for _, f := range figures {
		if f.Better == figure.None {
			continue
		}
		unit := benchUnit(f)
		if err := out.Write(&benchfmt.UnitMetadata{
			UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: unit, Key: "better"}, OrigUnit: unit, Value: f.Better.String(),
		}); err != nil {
			return err
		}
	}
	config := benchConfig(run)
	variants := map[string]figure.Variant{}
	for _, v := range figure.Variants(run) {
		variants[v.String()] = v
	}
	for i := range run.Trials {
		trial := &run.Trials[i]
		v := variants[trial.Variant+"/"+trial.Class]
		if !slices.Contains(v.Valid, trial) {
			continue
		}
		result := &benchfmt.Result{
			Config: config,
			Name: benchfmt.Name(fmt.Sprintf("Connections/variant=%s/class=%s/target=%d",
				trial.Variant, trial.Class, trial.Connections.Target)),
			Iters: trial.Connections.Reached,
		}
		for _, f := range figures {
			if value, _ := f.Among(trial); value != nil && len(v.Values(f)) > 0 {
				result.Values = append(result.Values, benchfmt.Value{Value: *value * benchScale(f), Unit: benchUnit(f)})
			}
		}
		if err := out.Write(result); err != nil {
			return err
		}
	}
	return nil
}

func benchConfig(run *record.Run) []benchfmt.Config {
	var config []benchfmt.Config
	add := func(key, value string) {
		if value = strings.TrimSpace(plain.Line(value)); value != "" {
			config = append(config, benchfmt.Config{Key: key, Value: []byte(value), File: true})
		}
	}
	add("goos", "linux")
	for _, host := range run.Manifest.Hosts {
		if len(run.Manifest.Hosts) == 1 || strings.Contains(strings.Join(host.Roles, " "), record.RoleServer) {
			add("goarch", host.Architecture)
			add("cpu", host.CPUModel)
			break
		}
	}
	add("plan", planName(run))
	add("lab", run.Manifest.Lab)
	return config
}

// benchUnit is the unit under which a figure goes into benchmark text: its name with
// its unit in the form that golang.org/x/perf/benchunit scales.
func benchUnit(f figure.Figure) string {
	name := strings.TrimSuffix(strings.TrimPrefix(f.Name, "per_connection."), f.Unit.Suffix)
	return strings.NewReplacer(".", "-", "_", "-").Replace(name) + f.Unit.Bench
}

// benchScale is the factor from a figure's unit to its benchUnit.
func benchScale(f figure.Figure) float64 {
	if f.Unit.BenchScale != 0 {
		return f.Unit.BenchScale
	}
	return 1
}
