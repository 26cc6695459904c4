// Package recordtest makes up runs for the tests of whatever reads runs. Nothing
// in it was measured, and no program but tests uses it.
package recordtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"connbench/harness/cause"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/phase/searches"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/stats"
)

// Options say what is made up.
type Options struct {
	Rounds      int
	Connections int
	// Noise is the standard deviation of figures from round to round, relative.
	Noise float64
	Seed  uint64
	// Change may alter each trial before it is recorded.
	Change func(*record.Trial)
	// ChangeManifest may alter the manifest.
	ChangeManifest func(*record.Manifest)
}

// Default is a run as the built-in full plan makes it.
var Default = Options{Rounds: 6, Connections: 10_000, Noise: 0.01, Seed: 1}

// model is a variant with the figures it is given: RSS, live heap, stack and
// kernel in bytes per connection, CPU in microseconds.
type model struct {
	name, model, library      string
	websocket                 string
	rss, heap, stack, kernel  float64
	accept, echo, p50, spread float64
}

var models = []model{
	{"floor", "epoll by hand", "", "made up", 291, 120, 0, 5190, 14.2, 4.1, 61, 0.6},
	{"gobwas-epoll", "epoll", "gobwas/ws", "made up", 640, 388, 0, 5190, 16.1, 5.3, 66, 0.62},
	{"gnet", "event loops", "gnet", "made up", 648, 392, 0, 5192, 15.9, 5.0, 64, 0.6},
	{"nbio", "event loops and a pool", "nbio", "", 1312, 877, 0, 5188, 21.7, 7.9, 90, 0.8},
	{"goroutine", "goroutine per connection", "gorilla/websocket", "", 9214, 1450, 4150, 5203, 27.4, 6.6, 75, 0.75},
}

// Write makes up a run and writes it to a new folder, finished.
func Write(t testing.TB, o Options) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	manifest, trials := Run(o)
	w, err := folder.Create(dir, manifest)
	check(t, err)
	for _, trial := range trials {
		for _, sample := range samples(trial) {
			check(t, w.AppendSample(sample))
		}
		_, err := w.AppendTrial(trial)
		check(t, err)
	}
	check(t, w.Close())
	return dir
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Read makes up a run as if it had been written and read.
func Read(o Options) *record.Run {
	manifest, trials := Run(o)
	manifest.Schema = record.Schema
	return &record.Run{Dir: fmt.Sprintf("results/run-%d", o.Seed), Manifest: manifest, Trials: trials}
}

// Run makes up a run.
func Run(o Options) (record.Manifest, []record.Trial) {
	random := rand.New(rand.NewPCG(o.Seed, 0))
	started := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	finished := started.Add(6 * time.Minute)
	yes := true
	manifest := record.Manifest{
		Title: "A made-up run", Started: started, Finished: &finished, State: record.StateFinished,
		Command: "make bench PLAN=full LAB=local", Connbench: "v0.1.0 (abc1234)", GoVersion: "go1.26.0", Seed: o.Seed,
		Plan: map[string]any{"name": "full", "rounds": o.Rounds, "connections": o.Connections},
		Lab:  "local",
		Hosts: []record.Host{{
			Name: "local", Roles: []string{record.RoleServer, record.RoleClient}, Kernel: "6.1.0-18-amd64", OS: "Debian GNU/Linux 12",
			Architecture: "amd64", CPUModel: "Made-up CPU @ 3.00GHz", CPUs: 4, UsableCPUs: []int{0, 1, 2, 3}, MemoryBytes: 16 << 30,
			Virtual: "kvm", Sysctls: map[string]string{"net.core.somaxconn": "4096", "fs.file-max": "9223372036854775807"},
			Limits: map[string]string{"nofile": "20000"},
		}},
		Modules: map[string]string{"github.com/gobwas/ws": "v1.4.0", "github.com/panjf2000/gnet/v2": "v2.9.7"},
		Limit:   "server descriptors: 19,968 connections in one process",
		Planned: o.Rounds * len(models),
	}
	for _, m := range models {
		manifest.Variants = append(manifest.Variants, record.Variant{
			Name: m.name, Class: "tuned", Title: m.name, Model: m.model, Library: m.library, WebSocket: m.websocket, Language: "Go", Settings: "made up",
			Build: []string{"go", "build"}, Run: []string{m.name}, SHA256: "0", Environment: map[string]string{"GOGC": "100"}, Conforms: &yes,
		})
	}
	if o.ChangeManifest != nil {
		o.ChangeManifest(&manifest)
	}
	var trials []record.Trial
	for round := range o.Rounds {
		for i := range models {
			trial := models[(i+round)%len(models)].trial(o, random)
			trial.Trial = len(trials) + 1
			trial.Round = round + 1
			trial.Started = started.Add(time.Duration(len(trials)) * 12 * time.Second)
			if o.Change != nil {
				o.Change(&trial)
			}
			trials = append(trials, trial)
		}
	}
	return manifest, trials
}

func (m model) trial(o Options, random *rand.Rand) record.Trial {
	noisy := func(x float64) float64 { return x * (1 + o.Noise*random.NormFloat64()) }
	n := o.Connections
	all := int64(n)
	t := record.Trial{
		Variant: m.name, Class: "tuned", Title: m.name, Model: m.model, Library: m.library,
		Plan: "full", Lab: "local", Engine: "socket", Seconds: 12,
		ServerProcesses: 1, ClientProcesses: 1, ServerCPUs: []int{0, 1}, ClientCPUs: []int{2, 3},
		Valid: true,
		Connections: record.Connections{Target: n, Reached: n, Peak: n,
			Census: record.Census{Swarm: &all, Server: &all, Kernel: &all}},
		Stop:         record.Stop{Reason: cause.Target.Reason, Evidence: []string{fmt.Sprintf("%d connections are open, as asked for", n)}},
		Fits:         map[string]record.Fit{},
		CPU:          map[string]*float64{},
		Client:       record.Client{CPUSeconds: 2.1, StateBytesPerConnection: 48, RSSBytes: 9 << 20, Busy: 0.31},
		Quality:      record.Quality{StealShare: at(0.001), SpinRatio: at(1.01)},
		KernelCaches: map[string]float64{},
	}
	for _, cost := range []struct {
		name  string
		value float64
	}{
		{"accept_us", m.accept}, {"accept_user_us", m.accept * 0.4}, {"accept_system_us", m.accept * 0.6},
		{"echo_us", m.echo}, {"echo_user_us", m.echo * 0.3}, {"echo_system_us", m.echo * 0.7}, {"idle_cores", 0.0012},
	} {
		t.CPU[cost.name] = at(noisy(cost.value))
	}
	connections.Hold.Set(&t, &connections.HoldRecord{Seconds: 3})
	connections.Close.Set(&t, &connections.CloseRecord{CloseSeconds: at(noisy(0.12))})
	slopes := map[string]float64{
		"rss_bytes": noisy(m.rss), "heap_in_use_bytes": noisy(m.heap * 1.2), "stack_bytes": noisy(m.stack),
		"kernel_bytes": noisy(m.kernel), "rss_settled_bytes": noisy(m.rss * 0.97), "live_heap_bytes": noisy(m.heap),
	}
	slopes["pss_bytes"], slopes["pss_settled_bytes"] = slopes["rss_bytes"], slopes["rss_settled_bytes"]
	for cache, share := range map[string]float64{"slab:TCP": 0.42, "slab:sock_inode_cache": 0.16, "slab:filp": 0.1, "slab:dentry": 0.08, "tcp_buffers": 0.2} {
		t.KernelCaches[cache] = slopes["kernel_bytes"] * share
	}
	steps := func(rss string) (steps []record.Step) {
		for i := range 9 {
			open := n * i / 8
			y := func(name string, base float64) *int64 {
				return ptr(int64(base + slopes[name]*float64(open) + 4096*random.NormFloat64()))
			}
			steps = append(steps, record.Step{
				Connections: open, RSSBytes: y(rss, 6e6), PSSBytes: y(rss, 5e6), HeapInUseBytes: y("heap_in_use_bytes", 1e6),
				LiveHeapBytes: y("live_heap_bytes", 4e5), StackBytes: y("stack_bytes", 3e5), KernelBytes: y("kernel_bytes", 2e8),
				Goroutines: ptr(int64(5)), Threads: ptr(int64(8)), Descriptors: ptr(int64(open + 9)), ServerCount: ptr(int64(open)),
				CPUSeconds: at(float64(open) * m.accept / 1e6),
			})
		}
		return steps
	}
	t.Steps, t.SettledSteps = steps("rss_bytes"), steps("rss_settled_bytes")
	fit := func(name string, steps []record.Step, of func(record.Step) *int64) *float64 {
		var points []stats.Point
		for _, s := range steps[1:] {
			points = append(points, stats.Point{X: float64(s.Connections), Y: float64(*of(s))})
		}
		line, _ := stats.Line(points)
		t.Fits[name] = record.Fit(line)
		return &line.Slope
	}
	t.PerConnection = record.PerConnection{
		RSSBytes:        fit("rss_bytes", t.Steps, func(s record.Step) *int64 { return s.RSSBytes }),
		PSSBytes:        fit("pss_bytes", t.Steps, func(s record.Step) *int64 { return s.PSSBytes }),
		HeapInUseBytes:  fit("heap_in_use_bytes", t.Steps, func(s record.Step) *int64 { return s.HeapInUseBytes }),
		StackBytes:      fit("stack_bytes", t.Steps, func(s record.Step) *int64 { return s.StackBytes }),
		KernelBytes:     fit("kernel_bytes", t.Steps, func(s record.Step) *int64 { return s.KernelBytes }),
		RSSSettledBytes: fit("rss_settled_bytes", t.SettledSteps, func(s record.Step) *int64 { return s.RSSBytes }),
		PSSSettledBytes: fit("pss_settled_bytes", t.SettledSteps, func(s record.Step) *int64 { return s.PSSBytes }),
		LiveHeapBytes:   fit("live_heap_bytes", t.SettledSteps, func(s record.Step) *int64 { return s.LiveHeapBytes }),
	}
	rate := noisy(1e6 / (m.accept * 2.2))
	connections.Ramp.Set(&t, &connections.RampRecord{Seconds: float64(n) / rate, ConnectsPerSecond: &rate, Handshake: latency(random, noisy(m.p50*9), 0.5)})
	offered := 5000.0
	loads.Echo.Set(&t, &record.Load{
		Seconds: 5, PayloadBytes: 64, OfferedPerSecond: &offered, DeliveredPerSecond: offered, Sent: 25000, Delivered: 25000,
		Latency: *latency(random, noisy(m.p50), m.spread), ServerCPUUS: t.CPU["echo_us"],
	})
	saturated := noisy(1e6 / (m.echo + 3))
	loads.Saturate.Set(&t, &record.Load{
		Seconds: 3, PayloadBytes: 64, DeliveredPerSecond: saturated, Sent: int64(3 * saturated), Delivered: int64(3 * saturated),
		InFlight: 128, Latency: *latency(random, noisy(m.p50*12), 0.3), ServerCPUUS: at(noisy(m.echo * 0.9)), ClientBound: m.name == "floor",
	})
	for _, name := range []string{"ramp", "hold", "census", "echo", "saturate", "close"} {
		t.Phases = append(t.Phases, record.Phase{Name: name, Seconds: 1.5, Events: int64(n), ServerCPUSeconds: at(float64(n) * m.accept / 1e6)})
	}
	return t
}

// latency draws a log-normal distribution around a median in microseconds.
func latency(random *rand.Rand, p50, spread float64) *record.Latency {
	h := draw(random, p50, spread)
	us := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return &record.Latency{
		P50US: us(50), P90US: us(90), P99US: us(99), P999US: us(99.9), MaxUS: float64(h.Max()) / 1000,
		Histogram: histogram(math.Round(math.Log(p50)*100)/100, spread),
	}
}

func draw(random *rand.Rand, p50, spread float64) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, int64(time.Second), 2)
	for range 1000 {
		_ = h.RecordValue(int64(1000 * p50 * math.Exp(spread*random.NormFloat64())))
	}
	return h
}

// histograms are the encoded histograms by median and spread: to encode one takes a
// hundred times as long as all else about a trial.
var histograms sync.Map

// histogram encodes such a distribution. It takes the logarithm of the median, rounded.
func histogram(median, spread float64) string {
	key := [2]float64{median, spread}
	if text, known := histograms.Load(key); known {
		return text.(string)
	}
	text, err := draw(rand.New(rand.NewPCG(1, 0)), math.Exp(median), spread).Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // it is our own histogram
	}
	histograms.Store(key, string(text))
	return string(text)
}

// samples are two a second over the phases of a trial.
func samples(t record.Trial) (samples []record.Sample) {
	if t.PerConnection.RSSBytes == nil || t.PerConnection.KernelBytes == nil || t.CPU["accept_us"] == nil {
		return nil // a trial that ended before there was anything to follow
	}
	phases := []string{"start", "ramp", "hold", "echo", "saturate", "close"}
	for i := range 24 {
		phase := phases[i*len(phases)/24]
		seconds := float64(i) / 2
		open := min(t.Connections.Reached, max(0, (i-4)*t.Connections.Reached/4))
		samples = append(samples, record.Sample{
			Trial: t.Trial, Phase: phase, Seconds: seconds, Open: open,
			ServerRSSBytes:   ptr(int64(6e6 + *t.PerConnection.RSSBytes*float64(open))),
			ServerCPUSeconds: at(float64(open)**t.CPU["accept_us"]/1e6 + seconds*0.01),
			ClientCPUSeconds: at(float64(open)*20/1e6 + seconds*0.02),
			KernelBytes:      ptr(int64(2e8 + *t.PerConnection.KernelBytes*float64(open))),
		})
	}
	return samples
}

// Complexity gives a trial a curve that declines by its variant's own law; noise
// scatters it by rounds.
func Complexity(trial *record.Trial) {
	c := &searches.ComplexityRecord{P99LimitUS: 1e5, MessagesPerSecond: 10, Kept: map[string]int{}, StoppedBy: map[string]string{}, Levels: []searches.Level{}}
	base := 10 + float64(len(trial.Variant))
	for _, work := range []int{0, 10, 1000} {
		kept := int(1e5/(base+float64(work))) + trial.Round
		key := searches.WorkKey(work)
		c.Kept[key], c.StoppedBy[key] = kept, searches.KeptLatency
		c.Levels = append(c.Levels, searches.Level{WorkUS: work, Connections: kept, Load: record.Load{OfferedPerSecond: at(float64(10 * kept))}})
	}
	searches.Complexity.Set(trial, c)
}

func at(x float64) *float64 { return &x }

func ptr(n int64) *int64 { return &n }
