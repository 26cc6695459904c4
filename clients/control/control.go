// Package control is all that the suite and the swarm say to each other: JSON
// lines, commands on the swarm's standard input, events on its standard output.
//
// The first command is always [OpConfigure]. All others but [OpStop] are loads,
// called by their names. Commands are carried out one at a time, in order, and each
// ends with exactly one event of kind [KindDone] or [KindError]; [KindProgress]
// events may come before it. OpStop may be sent while another command runs and ends
// that one early, which then reports what it has; it has no event of its own. End of
// input ends the swarm: it resets its connections and exits 0.
package control

import "encoding/json"

// Op names a command: OpConfigure, OpStop or a load, such as "ramp" or "echo". Each load
// says what it does where it is implemented, in clients/internal/load.
type Op string

// The commands that are not loads.
const (
	OpConfigure Op = "configure" // once, first: Config
	OpStop      Op = "stop"      // end the running command early
)

// Command is one line of the swarm's standard input. All numbers are of the whole
// swarm, over all its hosts and processes. A load ignores what it has no use for.
type Command struct {
	Op Op `json:"op"`

	// Config comes with OpConfigure.
	Config *Config `json:"config,omitempty"`
	// Connections is the number to have open when a ramp or a close ends. For loads
	// that send messages it is the number of connections that take part while the
	// others idle; 0: all.
	Connections int `json:"connections,omitempty"`
	// RatePerSecond is the number of connects or messages that are due a second. A
	// ramp with 0 connects as fast as Window allows.
	RatePerSecond float64 `json:"rate_per_second,omitempty"`
	// Pacing is how RatePerSecond is distributed over time. Nil: evenly.
	Pacing *Pacing `json:"pacing,omitempty"`
	// Window is the largest number of unfinished connects and handshakes.
	Window int `json:"window,omitempty"`
	// InFlight is the number of outstanding messages in a closed loop.
	InFlight int `json:"in_flight,omitempty"`
	// PayloadBytes is the size of a message's payload. A ping's is bounded by the
	// protocol, in WebSocket to 125.
	PayloadBytes int `json:"payload_bytes,omitempty"`
	// Seconds is how long a load lasts that does not end by itself.
	Seconds float64 `json:"seconds,omitempty"`
	// TimeoutSeconds bounds one connect with its handshake, and the wait for the last
	// answers.
	TimeoutSeconds float64 `json:"timeout_seconds,omitempty"`
	// Options is what only this load knows.
	Options json.RawMessage `json:"options,omitempty"`
}

// Pacing distributes connects or messages over time.
type Pacing struct {
	// Name is that of a pacing, such as "constant".
	Name string `json:"name"`
	// Options is what only this pacing knows.
	Options json.RawMessage `json:"options,omitempty"`
}

// The engines.
const (
	EngineSocket = "socket" // kernel sockets
	EnginePacket = "packet" // TCP in the swarm itself, over TUN devices
)

// Engines lists them.
var Engines = []string{EngineSocket, EnginePacket}

// Config says what the swarm may use and whom it talks to.
type Config struct {
	// Engine moves the bytes: one of Engines.
	Engine string `json:"engine"`
	// Targets are the server's addresses, host:port. Connections are spread over
	// them evenly.
	Targets []string `json:"targets"`
	// Sources are the client's addresses: single addresses or prefixes, in which
	// every address is used but, for IPv4, the first and the last. All sources and
	// targets are of one address family. For EngineSocket they are addresses of the
	// host. For EnginePacket they are prefixes that do not include its own: the swarm
	// routes them to itself, and the host has to forward to them what comes from
	// targets elsewhere.
	Sources []string `json:"sources"`
	// FirstPort and LastPort bound the source ports. Both 0: those of
	// net.ipv4.ip_local_port_range. Ports of ip_local_reserved_ports are left out
	// either way.
	FirstPort int `json:"first_port,omitempty"`
	LastPort  int `json:"last_port,omitempty"`
	// Processes is the number of processes to split the swarm over. 0: one for each
	// CPU, more where descriptors demand it.
	Processes int `json:"processes,omitempty"`
	// CPUs are the CPUs that the swarm runs on; empty means all that the process may
	// use. Each has at least one event loop, and with engine "socket" more if the
	// connections need more descriptors.
	CPUs []int `json:"cpus"`
	// Protocol opens connections and frames messages: ProtocolWebSocket, also if empty, or another.
	Protocol string `json:"protocol,omitempty"`
	// Security is the layer between engine and protocol; empty: "none". TLS goes with "tls".
	Security string `json:"security,omitempty"`
	TLS      *TLS   `json:"tls,omitempty"`
	// Compression is what the swarm offers, and insists on: CompressionDeflate or
	// CompressionTakeover; empty: none. It takes ProtocolWebSocket.
	Compression string `json:"compression,omitempty"`
	// Text makes messages of JSON-like text, which can be compressed, in place of random bytes.
	// Compression implies it.
	Text bool `json:"text,omitempty"`
	// Opening is what the opening request of WebSocket asks for, and every request of HTTP; nil:
	// the path / and no more.
	Opening *Opening `json:"opening,omitempty"`
	// Pushes says that the server may send messages of its own accord: they are counted,
	// and never corrupt.
	Pushes bool `json:"pushes,omitempty"`
	// Hear is how connections of ProtocolHTTP hear what goes to all: HearEvents or HearPolls. The
	// first connection of the first host hears nothing, and is the one that can publish. Messages
	// are sent and received as base64. Empty: messages go back to their senders.
	Hear string `json:"hear,omitempty"`
	// Connections is the most that will ever be asked for. Memory and processes are
	// allocated for it.
	Connections int `json:"connections"`
	// Host is the number of this swarm, from 0, among Hosts swarms. All are sent the
	// same commands, and each carries out its part of them. 0 Hosts means 1.
	Host  int `json:"host,omitempty"`
	Hosts int `json:"hosts,omitempty"`
	// Seed makes keys, masks and payloads reproducible.
	Seed uint64 `json:"seed"`
}

// The protocols.
const (
	ProtocolWebSocket = "websocket" // RFC 6455
	ProtocolHTTP      = "http"      // HTTP/1.1 with connections that are kept
	ProtocolTCP       = "tcp"       // bytes, which come back
)

// How connections of HTTP hear what goes to all.
const (
	// HearEvents is by one response without an end, a stream of events (WHATWG HTML section 9.2).
	HearEvents = "events"
	// HearPolls is by long polls: each request waits for the next message.
	HearPolls = "polls"
)

// Hearings lists them.
var Hearings = []string{HearEvents, HearPolls}

// SecurityTLS is the security layer of TLS 1.3.
const SecurityTLS = "tls"

// What messages can be compressed by: permessage-deflate (RFC 7692).
const (
	// CompressionDeflate is without context takeover: each message is compressed by itself.
	CompressionDeflate = "deflate"
	// CompressionTakeover is with context takeover: both sides may refer to the messages before.
	CompressionTakeover = "deflate-takeover"
)

// Compressions lists them.
var Compressions = []string{CompressionDeflate, CompressionTakeover}

// TLS says how connections are encrypted.
type TLS struct {
	// Authority is who has signed the server's certificate: certificates in PEM; empty: those
	// that the host trusts.
	Authority string `json:"authority,omitempty"`
	// ServerName is whom the certificate must be of.
	ServerName string `json:"server_name"`
	// Resume says that all connections resume one session (RFC 8446 section 2.2), from the
	// first session ticket on.
	Resume bool `json:"resume,omitempty"`
}

// Kind names an event.
type Kind string

// The kinds of event.
const (
	KindProgress Kind = "progress" // several times a second while a command runs
	KindDone     Kind = "done"     // the command ended; Result says how
	KindError    Kind = "error"    // the command could not be carried out; Error says why
)

// Event is one line of the swarm's standard output.
type Event struct {
	Kind Kind `json:"kind"`
	Op   Op   `json:"op"`
	// Open is the number of connections that are open: handshake verified, and
	// not closed or lost since.
	Open int `json:"open"`
	// Messages is the number of verified echoes since the command began.
	Messages int64 `json:"messages,omitempty"`
	// Result comes with KindDone.
	Result *Result `json:"result,omitempty"`
	// Error comes with KindError: one line, what is wrong and what to do. Trouble is its
	// kind, where that is of interest.
	Error   string  `json:"error,omitempty"`
	Trouble Trouble `json:"trouble,omitempty"`
}

// Trouble is a kind of error that the harness treats in its own way.
type Trouble string

// The kinds of trouble.
const (
	TroubleEnded   Trouble = "ended"   // a process of the swarm has ended
	TroubleRefused Trouble = "refused" // the host has no room for another process
)

// Result is what a command did. Counts are of this command alone, over all
// processes of the swarm.
type Result struct {
	// Open is the number of connections open at the end.
	Open int `json:"open"`
	// Processes is the number of processes that the swarm is split over,
	// the coordinating one not counted.
	Processes int `json:"processes"`
	// Seconds is how long the load took, by the monotonic clock: for a ramp or a close
	// from the first connection to the last, for loads with a duration the time during
	// which messages were due.
	Seconds float64 `json:"seconds"`

	// Opened, Closed and Lost count connections that this command opened,
	// closed, and found closed or reset by the other side.
	Opened int `json:"opened,omitempty"`
	Closed int `json:"closed,omitempty"`
	Lost   int `json:"lost,omitempty"`
	// Failures counts what went wrong, by kind: one of [FailureKinds], or an errno that is
	// none of them.
	Failures []Failure `json:"failures,omitempty"`
	// StoppedBy says why a ramp ended before it had Connections: "" (it did
	// not), or one of the StoppedBy constants.
	StoppedBy string `json:"stopped_by,omitempty"`

	// Offered counts messages that were due, and Sent those handed to the engine whole.
	//
	// Delivered counts messages whose echo came back whole and right within Seconds,
	// and Late those whose echo did after that, within the timeout. Corrupt counts
	// echoes that were wrong or answered nothing. Unanswered counts messages that were
	// due and had no echo, whatever the reason, when the load ended; none if it was
	// stopped. Without echoes of nothing, Offered is the sum of the four.
	//
	// The echo of a ping is its pong. A pong that answers no ping is legal (RFC 6455
	// section 5.5.3), and not corrupt.
	Offered    int64 `json:"offered,omitempty"`
	Sent       int64 `json:"sent,omitempty"`
	Delivered  int64 `json:"delivered,omitempty"`
	Late       int64 `json:"late,omitempty"`
	Corrupt    int64 `json:"corrupt,omitempty"`
	Unanswered int64 `json:"unanswered,omitempty"`

	// ReceivedBytes counts all bytes that came from the server during the command, TLS not
	// counted.
	ReceivedBytes int64 `json:"received_bytes,omitempty"`

	// Latency is an HdrHistogram of nanoseconds (V2 compressed, base64). Ramp: from
	// the connect to the verified handshake answer. Open loop: from the scheduled send
	// time to the whole echo. Closed loop and census: from the actual send time.
	// Unanswered messages are in it with their age when the load ended, but those of a
	// census that were never sent.
	Latency string `json:"latency,omitempty"`
	// Lag is a histogram of the same kind: how late the swarm itself was, see
	// Usage.LagP50Seconds.
	Lag string `json:"lag,omitempty"`

	// Spread says of each message of a broadcast how far it got, in their order.
	Spread []Spread `json:"spread,omitempty"`

	// Counts are what only this load counts, by name.
	Counts map[string]int64 `json:"counts,omitempty"`

	// Usage is what the swarm itself spent on this command.
	Usage Usage `json:"usage"`
}

// Spread says how far a message that was sent to all got.
type Spread struct {
	// Received is the number of connections that it reached whole and right.
	Received int64 `json:"received"`
	// Nanoseconds is the time from when it was due until the last of them had it. It is 0 if there
	// are several hosts: their clocks cannot be compared.
	Nanoseconds int64 `json:"nanoseconds,omitempty"`
}

// Why a ramp ended before it had all its connections.
const (
	StoppedByStop   = "stop"         // by OpStop
	StoppedByClient = "client limit" // no descriptor, port or memory left on this side
	StoppedByServer = "server"       // connects or handshakes kept failing
)

// Usage is what the swarm spent, over all its processes.
type Usage struct {
	// UserSeconds and SystemSeconds are CPU time during the command.
	UserSeconds   float64 `json:"user_seconds"`
	SystemSeconds float64 `json:"system_seconds"`
	// RSSBytes is the resident memory at the end, a sum over the processes.
	RSSBytes int64 `json:"rss_bytes"`
	// PSSBytes is the same with what processes share counted once (the program's
	// own pages): the memory that the swarm takes. 0: unknown.
	PSSBytes int64 `json:"pss_bytes"`
	// StateBytesPerConnection is the size of what the swarm keeps for one
	// connection.
	StateBytesPerConnection int `json:"state_bytes_per_connection"`
	// Busy is the share of the load's time, 0 to 1, during which the busiest event
	// loop was not waiting for events: from the load's begin to its end, without the
	// wait for the common start and for the last answers.
	Busy float64 `json:"busy"`
	// LagP50Seconds, LagP99Seconds and LagMaxSeconds say how late the swarm itself
	// was: in an open loop the actual minus the scheduled send time, otherwise the time
	// from one poll for events to the next.
	LagP50Seconds float64 `json:"lag_p50_seconds"`
	LagP99Seconds float64 `json:"lag_p99_seconds"`
	LagMaxSeconds float64 `json:"lag_max_seconds"`
	// RunDelaySeconds is the time during which event loops could have run and had no
	// CPU (the run delay of the kernel's schedstat), a sum over the processes, and
	// RunDelayMaxSeconds that of the process that waited longest. Nil: the kernel does
	// not say.
	RunDelaySeconds    *float64 `json:"run_delay_seconds,omitempty"`
	RunDelayMaxSeconds *float64 `json:"run_delay_max_seconds,omitempty"`
}
