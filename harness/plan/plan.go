// Package plan says what a run does: which variants, how many connections, which
// phases and how long. Plans are TOML files; those of this folder are built in.
package plan

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"connbench/clients/control"
	"connbench/harness/config"
	"connbench/harness/explain"
	"connbench/harness/naming"
	"connbench/harness/variant"
)

//go:embed *.toml
var builtin embed.FS

// Max, as a number of connections, means as many as the host can hold.
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
		return 0, fmt.Errorf("connections is %q: neither a number nor max", text)
	}
	if n < 1 || n > mostConnections {
		return 0, fmt.Errorf("connections is %d: it must be from 1 to %d, or max", n, int(mostConnections))
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
// A key's tag "spoils" says which figures of two runs cannot be compared if the key
// differs: "phase" means the figures of the phase that the table belongs to, otherwise it
// has names of figures. A key spoils figures if it changes what servers are asked to do.
// Keys for how servers are set up ("-") are only reported: they may be what is compared.
// If a key has no tag, the figures that depend on it name it.
type Plan struct {
	// Name is the name of the plan, which becomes part of the run's folder: that of its
	// file unless it says otherwise.
	Name string `toml:"name" json:"name" spoils:"-"`
	// Title is its name for people.
	Title string `toml:"title" json:"title" spoils:"-"`
	// About is what the plan is for.
	About string `toml:"about" json:"about" spoils:"-"`

	// Variants are the servers to measure: names, or name/class.
	Variants []string `toml:"variants" json:"variants" spoils:"-"`
	// Classes are the classes of settings that a bare name in [Plan.Variants] stands for:
	// "default", "tuned" or both.
	Classes []string `toml:"classes" json:"classes" spoils:"-"`
	// Protocol lists what is spoken: "websocket", "http" (HTTP/1.1 over persistent connections)
	// or "tcp" (bytes). Each variant is measured once with each that it speaks, and left out if
	// it speaks none. Empty means "websocket".
	Protocol []string `toml:"protocol" json:"protocol,omitempty" spoils:"-"`
	// Security lists the layers below the protocol. Each variant is measured once with each:
	// "none", "tls" (TLS 1.3, full handshakes) or "tls-resumed" (each swarm process resumes
	// one session, once it has a ticket for it). Empty means "none". If the list has TLS,
	// variants without TLS are left out.
	Security []string `toml:"security" json:"security,omitempty" spoils:"-"`
	// Compression lists how messages of WebSocket are compressed, by permessage-deflate. Each
	// variant is measured once with each that it can do: "none", "deflate" (each message by
	// itself) or "deflate-takeover" (both sides refer to the messages before). Empty means
	// "none". Variants that can do nothing of the list are left out. If the list is there,
	// messages are text that looks like JSON in place of random bytes, compressed or not.
	Compression []string `toml:"compression" json:"compression,omitempty" spoils:"-"`
	// Rounds is how often every variant is measured, each time by a fresh server.
	Rounds int `toml:"rounds" json:"rounds" spoils:"-"`
	// Connections is the number of connections to open, or "max" for as many as the
	// limits of the lab allow.
	Connections Count `toml:"connections" json:"connections"`
	// BudgetBytes is the memory that the connections may take; 0 is no budget. The ramp
	// goes on until it is spent, or all connections are open.
	BudgetBytes int64 `toml:"budget_bytes" json:"budget_bytes,omitempty"`
	// MemoryReserveBytes is the memory of the server's host that must stay available. The
	// ramp stops when MemAvailable, less the slab of the connections, falls below it.
	MemoryReserveBytes int64 `toml:"memory_reserve_bytes" json:"memory_reserve_bytes" spoils:"connections.reached"`
	// KeepNoisy is true if noisy trials are not run again: for plans that ask how many
	// connections there can be, and not how fast.
	KeepNoisy bool `toml:"keep_noisy" json:"keep_noisy,omitempty" spoils:"-"`
	// Lab is where the plan runs unless the command line says otherwise; "" is the local
	// lab.
	Lab string `toml:"lab" json:"-"`
	// Seed is the seed of keys, payloads and the order of variants.
	Seed uint64 `toml:"seed" json:"seed" spoils:"-"`

	// Server is how servers are started.
	Server Server `toml:"server" json:"server"`
	// Client is how the swarm is started.
	Client Client `toml:"client" json:"client"`

	// parts are the tables of the phases, by name; see [Part].
	parts map[string]any
}

// Server is how servers are started, all alike.
type Server struct {
	// Processes is the number of server processes; 0 is as many as the connections need
	// descriptors for.
	Processes int `toml:"processes" json:"processes" spoils:"connections.reached"`
	// Port is the port of the first process, and the next process has the next; 0 is any
	// free port.
	Port int `toml:"port" json:"port" spoils:"-"`
	// Addresses is how many addresses of the server's host are listened on; 0 is as many
	// as the lab has. More multiply the connections that one client address can have.
	Addresses int `toml:"addresses" json:"addresses,omitempty" spoils:"connections.reached"`
	// Ports is how many ports of each address each process listens on. More multiply the
	// connections that one client address can have.
	Ports int `toml:"ports" json:"ports" spoils:"connections.reached"`
	// CPUs is how many CPUs of the server's host are used, and the number of event loops
	// and of Go's threads (GOMAXPROCS) of each process; 0 is all CPUs of the lab's server.
	CPUs int `toml:"cpus" json:"cpus,omitempty" spoils:"-"`
	// OpenFiles is the limit of open files (RLIMIT_NOFILE) of each process; 0 is the
	// host's.
	OpenFiles int `toml:"open_files" json:"open_files,omitempty" spoils:"connections.reached"`
	// MaxMessageBytes is the largest message that servers must accept.
	MaxMessageBytes int `toml:"max_message_bytes" json:"max_message_bytes" spoils:"-"`
	// Backlog is the length of each accept queue, as in listen(2).
	Backlog int `toml:"backlog" json:"backlog" spoils:"-"`
	// GOGC is the garbage collector's GOGC, for every Go server.
	GOGC int `toml:"gogc" json:"gogc" spoils:"-"`
	// MemoryLimitBytes is the garbage collector's GOMEMLIMIT, for every Go server; 0 is
	// no limit.
	MemoryLimitBytes int64 `toml:"memory_limit_bytes" json:"memory_limit_bytes" spoils:"-"`
	// ReadySeconds is how long a server may take until it listens.
	ReadySeconds float64 `toml:"ready_seconds" json:"ready_seconds" spoils:"-"`
	// AnswerSeconds is how long a server may take to answer a question. To collect the
	// garbage of a full heap takes seconds on a busy host.
	AnswerSeconds float64 `toml:"answer_seconds" json:"answer_seconds,omitempty" spoils:"-"`
}

// Client is how the swarm is started.
type Client struct {
	// Engine is what moves the bytes of the connections: [control.EngineSocket] (sockets
	// of the kernel) or [control.EnginePacket] (TCP in the swarm itself, over TUN devices).
	Engine string `toml:"engine" json:"engine" spoils:"-"`
	// Sources is how many addresses of each client host are used; 0 is all that it has.
	Sources int `toml:"sources" json:"sources,omitempty" spoils:"connections.reached"`
	// FirstPort is the first source port of each address. Where both are 0,
	// net.ipv4.ip_local_port_range says which ports are used.
	FirstPort int `toml:"first_port" json:"first_port,omitempty" spoils:"connections.reached"`
	// LastPort is the last source port of each address.
	LastPort int `toml:"last_port" json:"last_port,omitempty" spoils:"connections.reached"`
	// Processes is the number of swarm processes on each client host; 0 is as many as its
	// CPUs and descriptors demand.
	Processes int `toml:"processes" json:"processes,omitempty"`
	// OpenFiles is the limit of open files (RLIMIT_NOFILE) of each of them; 0 is the
	// host's.
	OpenFiles int `toml:"open_files" json:"open_files,omitempty" spoils:"connections.reached"`
}

// Names lists the built-in plans.
func Names() []string {
	entries, err := builtin.ReadDir(".")
	if err != nil {
		panic(err) // it is embedded
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
	text, err := config.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Plan{}, explain.Hint(fmt.Errorf("there is no plan %q", name), "take one of %s, or a file", strings.Join(Names(), ", "))
	}
	if err != nil {
		return Plan{}, err
	}
	return Parse(name, text)
}

// Parse reads a plan. file is the name for its errors. Keys that are left out have the
// values of [Default].
func Parse(file string, text []byte) (Plan, error) {
	p := Default()
	p.Name = strings.TrimSuffix(filepath.Base(file), ".toml")
	return p, p.decode(file, text)
}

// Default returns the defaults of all general keys.
func Default() Plan {
	return Plan{
		Classes:            []string{variant.ClassTuned},
		Rounds:             1,
		MemoryReserveBytes: 1 << 30,
		Seed:               1,
		Server:             Server{Ports: 1, MaxMessageBytes: 64 << 10, Backlog: 4096, GOGC: 100, ReadySeconds: 20, AnswerSeconds: 60},
		Client:             Client{Engine: control.EngineSocket},
	}
}

// Bounds of what a plan may ask for. They are beyond any machine, and keep what is
// computed from them from overflowing.
const (
	mostConnections = 1e12
	mostBytes       = 1 << 60
	mostMessage     = 1 << 30
	mostProcesses   = 1 << 20
	mostFiles       = 1 << 31
	mostRounds      = 1000
	mostPort        = 65535
)

// Problems returns everything that is wrong with p. Each line begins with the key.
func (p Plan) Problems() []string {
	var list Problems
	if err := naming.Check("name", p.Name); err != nil {
		list = append(list, err.Error())
	}
	list.If(len(p.Variants) == 0, "variants is empty: name at least one")
	list.If(len(p.Classes) == 0, `classes is empty: it holds "default", "tuned" or both`)
	for _, class := range p.Classes {
		list.If(class != variant.ClassDefault && class != variant.ClassTuned, `classes has %q: a class is "default" or "tuned"`, class)
	}
	for _, axis := range variant.Axes {
		if err := axis.Check(axis.Asked(p.Layers())); err != nil {
			list = append(list, err.Error())
		}
	}
	list.If(p.Compresses() && slices.ContainsFunc(p.Protocol, func(spoken string) bool { return spoken != control.ProtocolWebSocket }),
		"compression needs WebSocket, but protocol is %q", p.Protocol)
	list.Between("rounds", int64(p.Rounds), 1, mostRounds)
	list.If(p.Connections < 1 || p.Connections > mostConnections && p.Connections != Max, "connections is %d: it must be from 1 to %d, or \"max\"", p.Connections, int(mostConnections))
	list.Between("budget_bytes", p.BudgetBytes, 0, mostBytes)
	list.Between("memory_reserve_bytes", p.MemoryReserveBytes, 0, mostBytes)

	s := p.Server
	list.Between("server.processes", int64(s.Processes), 0, mostProcesses)
	list.Between("server.port", int64(s.Port), 0, mostPort)
	list.Between("server.addresses", int64(s.Addresses), 0, mostProcesses)
	list.Between("server.ports", int64(s.Ports), 1, mostPort)
	list.Between("server.cpus", int64(s.CPUs), 0, mostProcesses)
	list.Between("server.open_files", int64(s.OpenFiles), 0, mostFiles)
	list.Between("server.max_message_bytes", int64(s.MaxMessageBytes), 125, mostMessage)
	list.Between("server.backlog", int64(s.Backlog), 1, math.MaxInt32)
	list.Between("server.gogc", int64(s.GOGC), 1, math.MaxInt32)
	list.Between("server.memory_limit_bytes", s.MemoryLimitBytes, 0, mostBytes)
	list.Time("server.ready_seconds", s.ReadySeconds)
	list.Time("server.answer_seconds", s.AnswerSeconds)

	c := p.Client
	list.If(!slices.Contains(control.Engines, c.Engine), "client.engine is %q: it is one of %s", c.Engine, strings.Join(control.Engines, ", "))
	list.Between("client.sources", int64(c.Sources), 0, math.MaxInt32)
	list.Between("client.processes", int64(c.Processes), 0, mostProcesses)
	list.Between("client.open_files", int64(c.OpenFiles), 0, mostFiles)
	list.Between("client.first_port", int64(c.FirstPort), 0, mostPort)
	list.Between("client.last_port", int64(c.LastPort), 0, mostPort)
	list.If(c.FirstPort == 0 && c.LastPort > 0, "client.last_port is %d, and client.first_port is missing", c.LastPort)
	list.If(c.FirstPort > max(0, c.LastPort), "client.first_port is %d, and client.last_port is %d", c.FirstPort, c.LastPort)

	for _, part := range registered {
		list = append(list, part.check(p)...)
	}
	return list
}

// Encrypts says whether a plan asks for TLS.
func (p Plan) Encrypts() bool {
	return slices.ContainsFunc(p.Security, func(layer string) bool { return layer != variant.SecurityNone })
}

// Compresses says whether a plan asks for compression.
func (p Plan) Compresses() bool {
	return slices.ContainsFunc(p.Compression, func(way string) bool { return way != variant.CompressionNone })
}

// Layers are the ways in which each variant is measured.
func (p Plan) Layers() variant.Layers {
	return variant.Layers{Protocol: p.Protocol, Security: p.Security, Compression: p.Compression}
}

// Problems collects what is wrong with a plan.
type Problems []string

// If adds a problem if wrong is true.
func (list *Problems) If(wrong bool, format string, args ...any) {
	if wrong {
		*list = append(*list, fmt.Sprintf(format, args...))
	}
}

// Between adds a problem if the number of a key is out of bounds.
func (list *Problems) Between(key string, value, least, most int64) {
	list.If(value < least || value > most, "%s is %d: it must be from %d to %d", key, value, least, most)
}

// longest is the longest time that a plan may ask for: a year, in seconds.
const longest = 365 * 24 * 3600

// Duration adds a problem if a number of seconds is negative, not a number, or longer than
// a year.
func (list *Problems) Duration(key string, seconds float64) {
	list.If(!(seconds >= 0 && seconds <= longest), "%s is %g: it must be from 0 to %d", key, seconds, longest)
}

// Time adds a problem if a number of seconds is not positive, or longer than a year.
func (list *Problems) Time(key string, seconds float64) {
	list.If(!(seconds > 0 && seconds <= longest), "%s is %g: it must be positive, and at most %d", key, seconds, longest)
}

// most is the largest rate or latency bound that a plan may name.
const most = 1e12

// Positive reports whether x can be a rate or a bound: more than 0, and neither infinite nor
// absurd.
func Positive(x float64) bool { return x > 0 && x <= most }

// Seconds converts a number of seconds, at most to the longest duration.
func Seconds(s float64) time.Duration {
	if s >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(s * float64(time.Second))
}
