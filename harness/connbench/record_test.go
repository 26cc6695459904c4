package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/scripts/needs"
)

// rare are the fields that a run of the test may leave empty, with what fills them in.
// All others that are documented are there in some trial.
var rare = map[string]string{
	"loads.BroadcastRecord.client_bound":        "a swarm that is slower than the server",
	"loads.BroadcastRecord.corrupt":             "a server that changes what it sends to all",
	"loads.BroadcastRecord.early":               "a swarm of which a process is late",
	"loads.BroadcastRecord.failures":            "a connection that fails during a broadcast",
	"loads.BroadcastRecord.http":                "a broadcast over HTTP",
	"loads.BroadcastRecord.late":                "a server that is late with a broadcast",
	"loads.BroadcastRecord.lost":                "a server that ends connections",
	"loads.BroadcastRecord.mute":                "a server that ends the connection that publishes",
	"loads.BroadcastRecord.repeated":            "a server that sends a message to all twice",
	"loads.SlowRecord.dropped":                  "a server that drops who reads nothing",
	"loads.SlowRecord.dribbling_dropped":        "a server that drops who sends one byte at a time",
	"loads.BroadcastRecord.unread_dropped":      "a server that drops who reads nothing",
	"loads.BroadcastRecord.silent_from":         "a server that stops publishing",
	"comebacks.Returned.ended":                  "a host that runs out of memory meanwhile",
	"comebacks.Returned.late":                   "a connection that comes back late",
	"comebacks.Returned.failures":               "a connect that fails while connections come back",
	"comebacks.Returned.missing":                "a connection that never comes back",
	"comebacks.Returned.reason":                 "a connection that never comes back",
	"comebacks.Returned.evidence":               "a connection that never comes back",
	"connections.CloseRecord.kernel_bytes":      "a machine on which other programs open few TCP sockets at that moment",
	"connections.HoldRecord.lost":               "a connection that dies while idle",
	"connections.RampRecord.offered_per_second": "a ramp with a rate",
	"loads.ListenRecord.bytes":                  "a server that sends of its own accord",
	"loads.ListenRecord.lost":                   "a server that ends connections",
	"loads.ListenRecord.messages":               "a server that sends of its own accord",
	"loads.ListenRecord.server_cpu_us":          "a server that sends of its own accord",
	"record.Host.emulated":                      "CPUs emulated in software",
	"record.Host.link":                          "hosts of their own, joined by network cards",
	"record.Host.virtual":                       "a hypervisor that shows itself",
	"record.Manifest.published":                 "a run that was published",
	"record.Manifest.warnings":                  "a host of which something cannot be read",
	"record.PerConnection.group_kernel_bytes":   "a control group that we may make",
	"record.Phase.server_instructions":          "a CPU that shows its counters",
	"record.Phase.steal_seconds":                "a hypervisor that ran somebody else meanwhile",
	"record.Phase.throttled_seconds":            "a CPU quota",
	"record.Quality.no_instructions":            "a CPU that hides its counters",
	"record.Quality.throttled_share":            "a CPU quota",
	"record.Step.foreign_sockets":               "other programs that open TCP sockets meanwhile",
	"record.Step.group_kernel_bytes":            "a control group that we may make",
	"record.Step.kernel_doubt":                  "other programs that open many TCP sockets meanwhile",
	"record.Trial.device":                       "a server that speaks TCP itself",
	"record.Trial.noisy":                        "other programs that disturb the host",
	"record.Trial.repeats":                      "other programs that disturb the host",
	"record.Variant.commit":                     "an earlier build next to the present one",
	"record.Variant.device":                     "a server that speaks TCP itself",
	"record.Variant.go":                         "several releases of Go",
	"record.Variant.waives":                     "a library that cannot keep a check of the gate",
}

// others are the phases that the small plan leaves out.
const others = `
[listen]
seconds = 0.2
[census]
by = "say"
[say]
text = "{n} here"
expect = "^[0-9]+ here$"
seconds = 0.3
rate_per_second = 100
[churn]
seconds = 0.5
share_per_second = 0.5
[storm]
seconds = 20
[stayers]
seconds = 20
before_seconds = 0.2
share = 0.5
rate_per_second = 200
payload_bytes = 16
[restart]
seconds = 20
backoff_seconds = 0.2
[mix]
seconds = 0.3
shares = [0.1, 1]
messages_per_second = 2
payload_bytes = [8, 300]
[slow]
seconds = 0.5
payload_bytes = 1024
rate_per_second = 200
unread_share = 0.01
flood_bytes = 1048576
dribble_share = 0.01
dribble_seconds = 0.05
[broadcast]
seconds = 0.5
unread_share = 0.01
rate_per_second = 20
payload_bytes = 16
`

// disturbed are the fields of kernel memory, which is not believed where other programs open
// many TCP sockets meanwhile: other tests may. The record then says so.
var disturbed = []string{
	"record.PerConnection.kernel_bytes", "record.Trial.kernel_caches",
	// A ramp to a budget ends where what it has spent stays unknown.
	"connections.BudgetRecord.spent_bytes", "connections.BudgetRecord.connections", "searches.ComplexityRecord.kept_high",
}

// fields are what a run's files have filled in: fields that are neither null nor left
// out nor 0, by type and name in the file.
type fields map[string]bool

// see notes the fields of a value and of those within.
func (f fields) see(value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			f.see(value.Elem())
		}
	case reflect.Slice:
		for i := range value.Len() {
			f.see(value.Index(i))
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			f.see(value.MapIndex(key))
		}
	case reflect.Struct:
		f.seeStruct(value)
	}
}

func (f fields) seeStruct(value reflect.Value) {
	kind := value.Type()
	if kind == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range kind.NumField() {
		field := kind.Field(i)
		if !field.IsExported() {
			continue
		}
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && !value.Field(i).IsZero() {
			f[kind.String()+"."+name] = true
		}
		f.see(value.Field(i))
	}
	if kind == reflect.TypeFor[record.Trial]() {
		trial := value.Interface().(record.Trial)
		for _, section := range trial.Each {
			f.see(reflect.ValueOf(section))
		}
	}
}

// documentedFields are all fields of a run's files, each of which the reference has.
func documentedFields() (list []string) {
	_, sections := record.Sections()
	seen := map[reflect.Type]bool{}
	var add func(kind reflect.Type)
	add = func(kind reflect.Type) {
		switch kind.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			add(kind.Elem())
			return
		}
		if kind.Kind() != reflect.Struct || kind == reflect.TypeFor[time.Time]() || seen[kind] {
			return
		}
		seen[kind] = true
		for i := range kind.NumField() {
			field := kind.Field(i)
			if !field.IsExported() {
				continue
			}
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
				list = append(list, kind.String()+"."+name)
			}
			add(field.Type)
		}
	}
	for _, kind := range append(sections, reflect.TypeFor[record.Manifest](), reflect.TypeFor[record.Trial](), reflect.TypeFor[record.Sample]()) {
		add(kind)
	}
	return list
}

// A run of every phase fills in every field that is documented, but for those that this
// host or a sound run cannot have.
func TestEveryFieldIsFilledIn(t *testing.T) {
	t.Parallel()
	needs.Namespaces(t)
	seen := fields{}
	for _, c := range []*benchRun{
		// A server with all figures, in a network namespace of its own, by every phase.
		// A few hundred connections would fit into what earlier ones left free in the
		// kernel's slabs, and the host's memory would hardly grow.
		benchTest(t, fmt.Sprintf(small, true, 0, 0.6)+others, "--servers", "../../servers", "--variants", "floor", "--lab", "netns", "--connections", "4000"),
		// A server without WebSocket and with TLS.
		benchTest(t, strings.Replace(brief, "connections", "protocol = [\"tcp\"]\nsecurity = [\"none\", \"tls-resumed\"]\nconnections", 1), "--servers", "../../servers", "--variants", "goroutine/tuned"),
		// A server with compression.
		benchTest(t, strings.Replace(compressing(`"deflate"`), "steps = 6", "steps = 6\npayload_bytes = 100", 1), "--servers", "../../servers", "--variants", "goroutine/tuned"),
		// Servers that fail.
		hostileTest(t, fmt.Sprintf(small, false, 0, 0.1), "corrupts,dies-in-load"),
		benchTest(t, fmt.Sprintf(small, false, 0, 0.1), "--variants", "stops-accepting"),
		// A budget, and bounds of latency that nothing keeps.
		benchTest(t, strings.ReplaceAll(fmt.Sprintf(small, false, 0, 0.1), "p99_us = 9e6", "p99_us = 1"),
			"--variants", "sound", "--connections", "max", "--budget", "24MiB"),
	} {
		if status := c.exit(t); status > 1 {
			t.Fatalf("exit status %d\n%s", status, c.stderr.String())
		}
		run := c.run(t)
		seen.see(reflect.ValueOf(run))
		for sample, err := range folder.Samples(run) {
			if err != nil {
				t.Fatal(err)
			}
			seen.see(reflect.ValueOf(&sample))
		}
	}
	documented := documentedFields()
	doubted := seen["record.Step.kernel_doubt"] || seen["record.Step.foreign_sockets"]
	for _, name := range documented {
		if rare[name] == "" && !seen[name] && !(doubted && slices.Contains(disturbed, name)) {
			t.Errorf("%s is documented, and no trial has it", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rare)) {
		if !slices.Contains(documented, name) {
			t.Errorf("%s is rare (%s), and there is no such field", name, rare[name])
		}
	}
}
