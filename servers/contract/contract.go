// Package contract is all that the suite and a server under test say to each
// other: the arguments a server is started with, the line it prints when it is
// ready, and the two questions it answers while it runs. servers/README.md
// states the same contract for servers that are not written in Go.
package contract

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Questions that a server answers on standard input, one a line. Each is
// answered by one line of JSON, a [Stats]. End of input means: stop accepting,
// close every connection, exit 0. So does SIGTERM.
const (
	// QuestionStats asks for the present figures, and disturbs nothing.
	QuestionStats = "stats"
	// QuestionSettle asks the server to collect its garbage and give free
	// memory back to the kernel, then for the figures.
	QuestionSettle = "settle"
	// QuestionProfile, with a space and the path of a folder after it, begins a CPU profile,
	// and the second time ends it and writes it there, with a heap profile. Then the figures
	// follow. Only programs built for `connbench profile` know it.
	QuestionProfile = "profile"
)

// TagProfile is the Go build tag of programs that know [QuestionProfile]. Measured programs
// are built without it: even unused, the runtime's profiler would cost memory.
const TagProfile = "connbench_profile"

// Options are the settings that every server must honour alike.
type Options struct {
	// Listen holds the addresses to listen on, host:port. Port 0 takes any free one.
	Listen []string
	// MaxMessage is the largest message accepted, in bytes of payload. A larger
	// one is answered by close code 1009 (RFC 6455 section 7.4.1).
	MaxMessage int
	// Backlog is the length of each accept queue, as in listen(2).
	Backlog int
	// Loops is the number of event loops, for servers that have them.
	Loops int
	// WorkMicroseconds is the CPU time that every message takes of the server
	// before its echo is sent.
	WorkMicroseconds int
	// Class is the settings class of the variant: "default" or "tuned".
	Class string
	// Protocol is what is spoken on all connections: one of [Protocols]; empty: WebSocket, if the
	// server speaks it.
	Protocol string
	// Compression is what the server accepts if a client offers it: one of [Compressions]; empty:
	// nothing.
	Compression string
	// TLS is a file with a key and its certificate in PEM, with which all connections are
	// TLS 1.3; empty: there is no TLS.
	TLS string
	// Broadcast says that every message of one connection goes to all of them: over WebSocket in
	// place of its echo, over HTTP to those that ask for a stream of events or for the next
	// message. No server of TCP is asked for it.
	Broadcast bool
}

// BroadcastAll is the value of the argument that asks for [Options.Broadcast].
const BroadcastAll = "all"

// EventStream is the media type of a stream of events (WHATWG HTML section 9.2).
const EventStream = "text/event-stream"

// The protocols. Each server speaks one or more; variant.toml says which.
const (
	// ProtocolWebSocket is RFC 6455: each message is sent back.
	ProtocolWebSocket = "websocket"
	// ProtocolHTTP is HTTP/1.1 over persistent connections: the body of each request is
	// sent back with status 200.
	ProtocolHTTP = "http"
	// ProtocolTCP has no messages: each byte is sent back.
	ProtocolTCP = "tcp"
)

// Protocols are all of them.
var Protocols = []string{ProtocolWebSocket, ProtocolHTTP, ProtocolTCP}

// Broadcasts are the protocols in which a server can be asked for [Options.Broadcast].
var Broadcasts = []string{ProtocolWebSocket, ProtocolHTTP}

// What messages of WebSocket can be compressed by: permessage-deflate (RFC 7692).
const (
	// CompressionDeflate is without context takeover, in both directions.
	CompressionDeflate = "deflate"
	// CompressionTakeover is with context takeover, in both directions.
	CompressionTakeover = "deflate-takeover"
)

// Compressions are all of them.
var Compressions = []string{CompressionDeflate, CompressionTakeover}

// Work is WorkMicroseconds as a duration.
func (o Options) Work() time.Duration { return time.Duration(o.WorkMicroseconds) * time.Microsecond }

// Args are the command line arguments that say o.
func (o Options) Args() []string {
	args := []string{
		"--listen", strings.Join(o.Listen, ","),
		"--max-message", strconv.Itoa(o.MaxMessage),
		"--backlog", strconv.Itoa(o.Backlog),
		"--loops", strconv.Itoa(o.Loops),
		"--work", strconv.Itoa(o.WorkMicroseconds),
		"--class", o.Class,
	}
	// Only what can do these is asked for them.
	if o.Protocol != "" && o.Protocol != ProtocolWebSocket {
		args = append(args, "--protocol", o.Protocol)
	}
	if o.Compression != "" {
		args = append(args, "--compression", o.Compression)
	}
	if o.TLS != "" {
		args = append(args, "--tls", o.TLS)
	}
	if o.Broadcast {
		args = append(args, "--broadcast", BroadcastAll)
	}
	return args
}

// ParseArgs is the inverse of [Options.Args]. Usage is written to usage. Every
// option has a default, so that a server can be tried by hand. The error names the
// argument that is wrong.
func ParseArgs(program string, args []string, usage io.Writer) (Options, error) {
	o := Options{}
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	flags.SetOutput(usage)
	listen := flags.String("listen", "127.0.0.1:0", "addresses to listen on, host:port, separated by commas; port 0 takes any free one")
	flags.IntVar(&o.MaxMessage, "max-message", 64<<10, "largest message accepted, in bytes of payload")
	flags.IntVar(&o.Backlog, "backlog", 4096, "length of each accept queue")
	flags.IntVar(&o.Loops, "loops", 1, "number of event loops")
	flags.IntVar(&o.WorkMicroseconds, "work", 0, "CPU time that every message takes before its echo, in microseconds")
	flags.StringVar(&o.Class, "class", "tuned", "settings class: default or tuned")
	flags.StringVar(&o.Protocol, "protocol", "", "what is spoken: "+strings.Join(Protocols, ", ")+"; empty: what the server speaks first of all")
	flags.StringVar(&o.Compression, "compression", "", "compression of messages, if a client offers it: "+strings.Join(Compressions, ", ")+"; empty: none")
	flags.StringVar(&o.TLS, "tls", "", "file with a key and its certificate in PEM, for TLS 1.3 on all connections")
	broadcast := flags.String("broadcast", "", "whom a message goes to: "+BroadcastAll+" connections; empty: back to its sender alone")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.Listen = strings.Split(*listen, ",")
	if o.Broadcast = *broadcast == BroadcastAll; *broadcast != "" && !o.Broadcast {
		return o, fmt.Errorf("--broadcast: %q is not %s", *broadcast, BroadcastAll)
	}
	return o, o.check(flags.Args())
}

func (o Options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	for _, address := range o.Listen {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("--listen: %q is not host:port", address)
		}
	}
	for _, number := range []struct {
		name  string
		value int
	}{{"--max-message", o.MaxMessage}, {"--backlog", o.Backlog}, {"--loops", o.Loops}} {
		if number.value < 1 {
			return fmt.Errorf("%s: %d is not positive", number.name, number.value)
		}
	}
	if o.WorkMicroseconds < 0 {
		return fmt.Errorf("--work: %d is negative", o.WorkMicroseconds)
	}
	if o.Protocol != "" && !slices.Contains(Protocols, o.Protocol) {
		return fmt.Errorf("--protocol: %q is none of %s", o.Protocol, strings.Join(Protocols, ", "))
	}
	if o.Compression != "" && !slices.Contains(Compressions, o.Compression) {
		return fmt.Errorf("--compression: %q is none of %s", o.Compression, strings.Join(Compressions, ", "))
	}
	if o.Compression != "" && o.Broadcast {
		return fmt.Errorf("--compression: not with --broadcast")
	}
	if o.Protocol == ProtocolTCP && o.Broadcast {
		return fmt.Errorf("--broadcast: not with --protocol %s, which has no messages", ProtocolTCP)
	}
	if o.Class != "default" && o.Class != "tuned" {
		return fmt.Errorf("--class: %q is neither default nor tuned", o.Class)
	}
	return nil
}

// Ready is the one line of JSON that a server prints on standard output as soon
// as every listener accepts.
type Ready struct {
	// Ready is always true: it tells this line from any other.
	Ready bool `json:"ready"`
	// Addresses are those listened on, in the order of --listen, with the ports
	// that were in fact taken.
	Addresses []string `json:"addresses"`
}

// Check says whether the addresses are those that o asks to listen on, all numeric: in
// the same order, and with a port of their own where o leaves the port open. Whoever
// connects to a server asks it first, and so sends no packet to where only the server
// wants it.
func (r Ready) Check(o Options) error {
	if len(r.Addresses) != len(o.Listen) {
		return fmt.Errorf("it listens on %d addresses, of %d that were asked for", len(r.Addresses), len(o.Listen))
	}
	seen := map[netip.AddrPort]bool{}
	for i, text := range r.Addresses {
		asked, err := netip.ParseAddrPort(o.Listen[i])
		if err != nil {
			return fmt.Errorf("asked to listen on %s, which is not numeric", o.Listen[i])
		}
		said, err := netip.ParseAddrPort(text)
		if err != nil || said.Addr().Unmap() != asked.Addr().Unmap() || said.Port() == 0 || asked.Port() != 0 && said.Port() != asked.Port() {
			return fmt.Errorf("it says that it listens on %.100q, and was asked for %s", text, o.Listen[i])
		}
		if seen[said] {
			return fmt.Errorf("it says that it listens on %s twice", said)
		}
		seen[said] = true
	}
	return nil
}
