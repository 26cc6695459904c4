// Package plan says what a run does: which variants, how many connections, which
// phases and how long. Plans are TOML files; those of this folder are built in.
package plan

import (
	"embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"connbench/clients/control"
	"connbench/harness/config"
	"connbench/harness/variant"
)

//go:embed *.toml
var builtin embed.FS

// Max, as a number of connections, is as many as the host can hold.
const Max Count = math.MaxInt

// Count is a number of connections, or [Max].
type Count int

// UnmarshalText reads what a plan says: connections = 10000 or connections = "max".
func (c *Count) UnmarshalText(text []byte) error {
	n, err := ParseCount(string(text))
	*c = n
	return err
}

// MarshalText is the inverse of UnmarshalText.
func (c Count) MarshalText() ([]byte, error) {
	if c == Max {
		return []byte("max"), nil
	}
	return strconv.AppendInt(nil, int64(c), 10), nil
}

// ParseCount reads a positive number ("10000", "10_000") or "max".
func ParseCount(text string) (Count, error) {
	if text == "max" {
		return Max, nil
	}
	n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
	if err != nil {
		return 0, fmt.Errorf("connections %q is neither a number nor max", text)
	}
	if n < 1 {
		return 0, fmt.Errorf("connections is %d: it must be at least 1, or max", n)
	}
	return Count(n), nil
}

// ParseBytes reads an amount of memory: "1GiB", "512 MiB", "1000000".
func ParseBytes(text string) (int64, error) {
	number, unit := text, int64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if before, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = strings.TrimSpace(before), 1<<(10*(i+1))
		}
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || !(x > 0 && x*float64(unit) < 1<<60) {
		return 0, fmt.Errorf("%q is no amount of memory such as 1GiB or 512MiB", text)
	}
	return int64(x * float64(unit)), nil
}

// Plan is what a run does.
//
// The tag spoils of a key says which figures of two runs cannot be compared where the
// key differs: "phase" for those of the phase whose part of the plan it is in, else
// names of figures. What servers are asked to do spoils. How they are set up ("-") is
// reported, and may be the very thing that is compared. A key without the tag is named
// by figures themselves, among what they depend on.
type Plan struct {
	// Name names the run's folder; Title and About are for people.
	Name  string `toml:"name" json:"name" spoils:"-"`
	Title string `toml:"title" json:"title" spoils:"-"`
	About string `toml:"about" json:"about" spoils:"-"`

	// Variants are names or name/class; Classes those taken of a bare name.
	Variants []string `toml:"variants" json:"variants" spoils:"-"`
	Classes  []string `toml:"classes" json:"classes" spoils:"-"`
	Rounds   int      `toml:"rounds" json:"rounds" spoils:"-"`
	// Connections is the target, as text: a number or "max".
	Connections Count `toml:"connections" json:"connections"`
	// BudgetBytes is what the connections may take of memory, as [record.Budget]
	// counts it: the ramp goes on until that is spent. 0: no budget.
	BudgetBytes int64 `toml:"budget_bytes" json:"budget_bytes,omitempty"`
	// MemoryReserveBytes is what MemAvailable, less the slab of the connections, must
	// not fall below: the ramp stops.
	MemoryReserveBytes int64 `toml:"memory_reserve_bytes" json:"memory_reserve_bytes" spoils:"connections.reached"`
	// KeepNoisy has noisy trials not run again: for a plan that asks how many, and
	// not how fast.
	KeepNoisy bool `toml:"keep_noisy" json:"keep_noisy,omitempty" spoils:"-"`
	// Lab is where the plan is run unless somebody says otherwise; "": in the local
	// lab. A run's manifest names the lab that it was.
	Lab string `toml:"lab" json:"-"`
	// Seed makes keys, payloads and the order of variants reproducible.
	Seed uint64 `toml:"seed" json:"seed" spoils:"-"`

	Server   Server `toml:"server" json:"server"`
	Client   Client `toml:"client" json:"client"`
	Ramp     Ramp   `toml:"ramp" json:"ramp"`
	Hold     Hold   `toml:"hold" json:"hold"`
	Ping     Ping   `toml:"ping" json:"ping,omitzero"`
	Echo     Load   `toml:"echo" json:"echo"`
	Sweep    Sweep  `toml:"sweep" json:"sweep,omitzero"`
	Saturate Load   `toml:"saturate" json:"saturate"`

	Complexity Complexity `toml:"complexity" json:"complexity,omitzero"`
}

// Server is how servers are started, all alike.
type Server struct {
	// Processes is the number of server processes; 0: as many as the target
	// needs descriptors for.
	Processes int `toml:"processes" json:"processes" spoils:"connections.reached"`
	// Port is the first process's port, the next process has the next; 0: any.
	Port int `toml:"port" json:"port" spoils:"-"`
	// Addresses is how many of the server host's addresses are listened on, 0: as
	// the lab has it; Ports how many ports of each by each process. Both multiply the
	// connections that one client address can have.
	Addresses int `toml:"addresses" json:"addresses,omitempty" spoils:"connections.reached"`
	Ports     int `toml:"ports" json:"ports" spoils:"connections.reached"`
	// CPUs is how many of the server host's CPUs are used, and the number of event
	// loops and of Go's threads (GOMAXPROCS) of each process; 0: all.
	CPUs int `toml:"cpus" json:"cpus,omitempty" spoils:"-"`
	// OpenFiles is the RLIMIT_NOFILE of each process; 0: the host's.
	OpenFiles       int `toml:"open_files" json:"open_files,omitempty" spoils:"connections.reached"`
	MaxMessageBytes int `toml:"max_message_bytes" json:"max_message_bytes" spoils:"-"`
	Backlog         int `toml:"backlog" json:"backlog" spoils:"-"`
	// GOGC and MemoryLimitBytes are the garbage collector's settings, for every
	// Go server; no memory limit: 0.
	GOGC             int   `toml:"gogc" json:"gogc" spoils:"-"`
	MemoryLimitBytes int64 `toml:"memory_limit_bytes" json:"memory_limit_bytes" spoils:"-"`
	// ReadySeconds is how long a server may take until it listens.
	ReadySeconds float64 `toml:"ready_seconds" json:"ready_seconds" spoils:"-"`
}

// Client is how the swarm is started.
type Client struct {
	// Engine is one of control.Engines.
	Engine string `toml:"engine" json:"engine" spoils:"-"`
	// Sources is how many addresses of each client host are used; 0: all that it
	// has. FirstPort and LastPort bound the ports of each; both 0: as
	// net.ipv4.ip_local_port_range says.
	Sources   int `toml:"sources" json:"sources,omitempty" spoils:"connections.reached"`
	FirstPort int `toml:"first_port" json:"first_port,omitempty" spoils:"connections.reached"`
	LastPort  int `toml:"last_port" json:"last_port,omitempty" spoils:"connections.reached"`
	// Processes is the number of swarm processes on each client host; 0: as many as
	// its CPUs and descriptors demand. OpenFiles is the RLIMIT_NOFILE of each of
	// them; 0: the host's.
	Processes int `toml:"processes" json:"processes,omitempty"`
	OpenFiles int `toml:"open_files" json:"open_files,omitempty" spoils:"connections.reached"`
}

// Ramp is how connections are opened.
type Ramp struct {
	// Steps is the number of points, equally far apart, at which the ramp pauses
	// to be measured: the more, the tighter the fit.
	Steps int `toml:"steps" json:"steps" spoils:"-"`
	// Window is the largest number of unfinished handshakes; RatePerSecond paces
	// connects, 0: as fast as the window allows.
	Window        int     `toml:"window" json:"window" spoils:"phase"`
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second" spoils:"phase"`
	// TimeoutSeconds bounds one connect with its handshake.
	TimeoutSeconds float64 `toml:"timeout_seconds" json:"timeout_seconds" spoils:"connections.reached"`
	// PauseSeconds is how long nothing moves before a point is measured.
	PauseSeconds float64 `toml:"pause_seconds" json:"pause_seconds" spoils:"-"`
	// Settled asks for a second ramp, against a fresh server that settles before
	// each point: the cost without garbage.
	Settled bool `toml:"settled" json:"settled" spoils:"-"`
}

// Hold keeps all connections idle.
type Hold struct {
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
}

// Load is a phase of messages; Seconds 0 leaves it out.
type Load struct {
	Seconds      float64 `toml:"seconds" json:"seconds" spoils:"-"`
	PayloadBytes int     `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
	// WarmupSeconds of the same load come first and do not count.
	WarmupSeconds float64 `toml:"warmup_seconds" json:"warmup_seconds" spoils:"-"`
	// RatePerSecond is the offered rate (echo), InFlight the number of
	// outstanding messages (saturate).
	RatePerSecond float64 `toml:"rate_per_second" json:"rate_per_second,omitempty" spoils:"phase"`
	InFlight      int     `toml:"in_flight" json:"in_flight,omitempty" spoils:"phase"`
}

// Ping is a phase of keepalive pings; Seconds 0 leaves it out.
type Ping struct {
	Seconds float64 `toml:"seconds" json:"seconds" spoils:"-"`
	// IntervalSeconds is the time from one ping of a connection to its next; those
	// of all connections are spread evenly over it.
	IntervalSeconds float64 `toml:"interval_seconds" json:"interval_seconds" spoils:"phase"`
	// PayloadBytes is at most 125 (RFC 6455 section 5.5).
	PayloadBytes int `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
}

// At is the phase over a number of connections.
func (p Ping) At(connections int) Load {
	return Load{Seconds: p.Seconds, PayloadBytes: p.PayloadBytes, RatePerSecond: float64(connections) / p.IntervalSeconds}
}

// largestPing is the longest payload of a ping (RFC 6455 section 5.5).
const largestPing = 125

// problem says in one line what is wrong with p, or "".
func (p Ping) problem() string {
	switch {
	case p.Seconds < 0:
		return "ping.seconds must not be negative; 0 leaves it out"
	case p.Seconds > 0 && p.IntervalSeconds <= 0:
		return "ping.interval_seconds must be positive"
	case p.Seconds > 0 && (p.PayloadBytes < 1 || p.PayloadBytes > largestPing):
		return fmt.Sprintf("ping.payload_bytes is %d: it must be from 1 to %d", p.PayloadBytes, largestPing)
	}
	return ""
}

// Sweep is a phase of rising offered rates, which ends with the first that is not
// kept. The highest that is kept is the knee of the curve of latency against load.
type Sweep struct {
	// RatesPerSecond are the rates, ascending; none leaves the phase out.
	RatesPerSecond []float64 `toml:"rates_per_second" json:"rates_per_second" spoils:"phase"`
	// Seconds, WarmupSeconds and PayloadBytes hold for each rate, as in [Load].
	Seconds       float64 `toml:"seconds" json:"seconds" spoils:"phase"`
	WarmupSeconds float64 `toml:"warmup_seconds" json:"warmup_seconds" spoils:"-"`
	PayloadBytes  int     `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
	// P99US is the 99th percentile of the latency, in microseconds, up to which a
	// rate counts as kept.
	P99US float64 `toml:"p99_us" json:"p99_us" spoils:"phase"`
}

// At is the phase at one of its rates.
func (s Sweep) At(rate float64) Load {
	return Load{Seconds: s.Seconds, WarmupSeconds: s.WarmupSeconds, PayloadBytes: s.PayloadBytes, RatePerSecond: rate}
}

// Duration is how long all rates take, in seconds.
func (s Sweep) Duration() float64 {
	return float64(len(s.RatesPerSecond)) * (s.Seconds + s.WarmupSeconds)
}

// problem says in one line what is wrong with s, or "".
func (s Sweep) problem() string {
	if len(s.RatesPerSecond) == 0 {
		return ""
	}
	before := 0.0
	for _, rate := range s.RatesPerSecond {
		if rate <= before {
			return "sweep.rates_per_second must be positive and ascending"
		}
		before = rate
	}
	if s.Seconds <= 0 || s.P99US <= 0 {
		return "sweep.seconds and sweep.p99_us must be positive"
	}
	return ""
}

// Complexity finds how many connections a server keeps while every message takes
// it some CPU time: for each such time a fresh server, on which the number of
// active connections is searched for up to which latency stays within a bound.
type Complexity struct {
	// WorkUS are the CPU times of a message, in microseconds, ascending; none
	// leaves the phase out.
	WorkUS []int `toml:"work_us" json:"work_us" spoils:"-"`
	// MessagesPerSecond is what every active connection sends, evenly (open loop).
	MessagesPerSecond float64 `toml:"messages_per_second" json:"messages_per_second" spoils:"phase"`
	// P99US is the 99th percentile of the latency, in microseconds, up to which a
	// number of connections counts as kept.
	P99US float64 `toml:"p99_us" json:"p99_us" spoils:"phase"`
	// Resolution bounds the quotient of the least number that is not kept and the
	// largest that is.
	Resolution float64 `toml:"resolution" json:"resolution" spoils:"phase"`
	// Seconds, WarmupSeconds and PayloadBytes hold for each number of connections
	// that is tried, as in [Load]. What is offered beyond a server's capacity piles
	// up for Seconds: an excess of less than P99US in that time does not show.
	Seconds       float64 `toml:"seconds" json:"seconds" spoils:"phase"`
	WarmupSeconds float64 `toml:"warmup_seconds" json:"warmup_seconds" spoils:"-"`
	PayloadBytes  int     `toml:"payload_bytes" json:"payload_bytes" spoils:"phase"`
}

// At is the phase with a number of active connections.
func (c Complexity) At(connections int) Load {
	return Load{
		Seconds: c.Seconds, WarmupSeconds: c.WarmupSeconds, PayloadBytes: c.PayloadBytes,
		RatePerSecond: c.MessagesPerSecond * float64(connections),
	}
}

// tries is about how many numbers of connections are tried for each work: some
// to find the right power of two, the others to divide it.
const tries = 8

// Duration is about how long all of the phase takes, in seconds.
func (c Complexity) Duration() float64 {
	return float64(len(c.WorkUS)*tries) * (c.Seconds + c.WarmupSeconds)
}

// problem says in one line what is wrong with c, or "".
func (c Complexity) problem() string {
	if len(c.WorkUS) == 0 {
		return ""
	}
	before := -1
	for _, work := range c.WorkUS {
		if work <= before {
			return "complexity.work_us must be ascending, and none negative"
		}
		before = work
	}
	switch {
	case c.Seconds <= 0 || c.P99US <= 0 || c.MessagesPerSecond <= 0:
		return "complexity.seconds, complexity.p99_us and complexity.messages_per_second must be positive"
	case c.Resolution < 1.01:
		return fmt.Sprintf("complexity.resolution is %g: it must be at least 1.01", c.Resolution)
	}
	return ""
}

// Names lists the built-in plans.
func Names() []string {
	entries, err := builtin.ReadDir(".")
	if err != nil {
		panic(err) // embedded: it is there, or the program was not built
	}
	var names []string
	for _, entry := range entries {
		names = append(names, strings.TrimSuffix(entry.Name(), ".toml"))
	}
	return names
}

// LoadNamed reads a built-in plan by name, or a plan file by its path.
func LoadNamed(name string) (Plan, error) {
	if slices.Contains(Names(), name) {
		text, err := builtin.ReadFile(name + ".toml")
		if err != nil {
			return Plan{}, err
		}
		return Parse(name+".toml", text)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return Plan{}, fmt.Errorf("unknown plan %q: neither a file nor one of %s", name, strings.Join(Names(), ", "))
	}
	return Parse(name, text)
}

// Parse reads a plan; file is for its errors. Keys that the file leaves out have
// the values of [Default].
func Parse(file string, text []byte) (Plan, error) {
	p := Default()
	p.Name = strings.TrimSuffix(filepath.Base(file), ".toml")
	if err := config.Decode(file, text, &p); err != nil {
		return p, err
	}
	if problem := p.Problem(); problem != "" {
		return p, fmt.Errorf("%s: %s", file, problem)
	}
	return p, nil
}

// Default has the settings that plans share.
func Default() Plan {
	return Plan{
		Classes:            []string{variant.ClassTuned},
		Rounds:             1,
		MemoryReserveBytes: 1 << 30,
		Seed:               1,
		Server:             Server{Ports: 1, MaxMessageBytes: 64 << 10, Backlog: 4096, GOGC: 100, ReadySeconds: 20},
		Client:             Client{Engine: control.EngineSocket},
		Ramp:               Ramp{Steps: 8, Window: 256, TimeoutSeconds: 10, PauseSeconds: 0.2, Settled: true},
	}
}

// Problem says in one line what is wrong with p, or "".
func (p Plan) Problem() string {
	switch {
	case p.Name == "" || strings.ContainsAny(p.Name, "/ \t\n"):
		return fmt.Sprintf("name %q: it becomes part of a folder's name, so it must be one word", p.Name)
	case len(p.Variants) == 0:
		return "variants is empty: name at least one"
	case len(p.Classes) == 0:
		return `classes is empty: it holds "default", "tuned" or both`
	case p.Rounds < 1:
		return fmt.Sprintf("rounds is %d: it must be at least 1", p.Rounds)
	case p.Connections < 1:
		return fmt.Sprintf("connections is %d: it must be at least 1, or \"max\"", p.Connections)
	case p.BudgetBytes < 0:
		return fmt.Sprintf("budget_bytes is %d: it must not be negative; 0 is no budget", p.BudgetBytes)
	case p.Ramp.Steps < 1:
		return fmt.Sprintf("ramp.steps is %d: it must be at least 1 (6 and more give an interval worth having)", p.Ramp.Steps)
	case p.Ramp.Window < 1:
		return fmt.Sprintf("ramp.window is %d: it must be at least 1", p.Ramp.Window)
	case p.Ramp.TimeoutSeconds <= 0:
		return fmt.Sprintf("ramp.timeout_seconds is %g: it must be positive", p.Ramp.TimeoutSeconds)
	case p.Server.Processes < 0 || p.Server.Port < 0 || p.Server.Port > 65535:
		return "server.processes and server.port must not be negative, and a port is at most 65535"
	case p.Server.Ports < 1 || p.Server.Addresses < 0 || p.Server.CPUs < 0 || p.Server.OpenFiles < 0:
		return "server.ports must be at least 1, and server.addresses, server.cpus and server.open_files not negative"
	case p.Client.Sources < 0 || p.Client.Processes < 0 || p.Client.OpenFiles < 0:
		return "client.sources, client.processes and client.open_files must not be negative"
	case (p.Client.FirstPort != 0 || p.Client.LastPort != 0) && (p.Client.FirstPort < 1 || p.Client.LastPort > 65535 || p.Client.FirstPort > p.Client.LastPort):
		return fmt.Sprintf("client.first_port is %d and client.last_port %d: not a range within 1 to 65535", p.Client.FirstPort, p.Client.LastPort)
	case p.Server.MaxMessageBytes < 125 || p.Server.Backlog < 1 || p.Server.GOGC < 1:
		return "server.max_message_bytes must be at least 125, server.backlog and server.gogc at least 1"
	case !slices.Contains(control.Engines, p.Client.Engine):
		return fmt.Sprintf("client.engine is %q: it is one of %s", p.Client.Engine, strings.Join(control.Engines, ", "))
	case p.Hold.Seconds < 0 || p.Echo.Seconds < 0 || p.Saturate.Seconds < 0:
		return "seconds must not be negative; 0 leaves a phase out"
	case p.Echo.Seconds > 0 && p.Echo.RatePerSecond <= 0:
		return "echo.rate_per_second must be positive"
	case p.Saturate.Seconds > 0 && p.Saturate.InFlight < 1:
		return "saturate.in_flight must be at least 1"
	}
	for _, problem := range []string{p.Ping.problem(), p.Sweep.problem(), p.Complexity.problem()} {
		if problem != "" {
			return problem
		}
	}
	for _, class := range p.Classes {
		if class != variant.ClassDefault && class != variant.ClassTuned {
			return fmt.Sprintf(`classes has %q: a class is "default" or "tuned"`, class)
		}
	}
	for _, load := range []struct {
		name string
		Load
	}{{"echo", p.Echo}, {"sweep", p.Sweep.At(0)}, {"complexity", p.Complexity.At(0)}, {"saturate", p.Saturate}} {
		if load.Seconds > 0 && (load.PayloadBytes < 1 || load.PayloadBytes > p.Server.MaxMessageBytes) {
			return fmt.Sprintf("%s.payload_bytes is %d: it must be from 1 to server.max_message_bytes (%d)", load.name, load.PayloadBytes, p.Server.MaxMessageBytes)
		}
	}
	return ""
}

// Seconds is a duration from a number of seconds.
func Seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
