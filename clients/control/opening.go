package control

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Opening is what the opening request of a WebSocket connection asks for, and every request of
// HTTP. In Path, in values of headers and in those of Each, {n} stands for the connection's
// number, from 0, which no other connection of the swarm has.
type Opening struct {
	// Path is the path with its query; "" is "/".
	Path string `json:"path,omitempty"`
	// Host is what the Host header says; "" is the target.
	Host    string   `json:"host,omitempty"`
	Headers []Header `json:"headers,omitempty"`
	// Subprotocols are those that the server may choose from; it may choose none.
	Subprotocols []string `json:"subprotocols,omitempty"`
	// Each are headers whose value differs between connections.
	Each []EachHeader `json:"each,omitempty"`
}

// Header is a header of a request.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EachHeader is a header with a value for each connection: connection n sends the value of
// number n, or that of n modulo their number.
type EachHeader struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// Differs says whether connections have requests of their own.
func (o Opening) Differs() bool {
	return len(o.Each) > 0 || strings.Contains(o.Path, Number) ||
		slices.ContainsFunc(o.Headers, func(h Header) bool { return strings.Contains(h.Value, Number) })
}

// Has says whether each request has a header of that name.
func (o Opening) Has(name string) bool {
	return slices.ContainsFunc(o.Headers, func(h Header) bool { return strings.EqualFold(h.Name, name) }) ||
		slices.ContainsFunc(o.Each, func(h EachHeader) bool { return strings.EqualFold(h.Name, name) })
}

// Number is replaced by the number of a connection.
const Number = "{n}"

// mostRequest is the size of the longest request, in bytes.
const mostRequest = 64 << 10

// own are the headers that requests have anyway (RFC 6455 section 4.1), and those that say how
// content is framed.
var own = []string{
	"host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol",
	"sec-websocket-extensions", "content-length", "transfer-encoding",
}

// httpToken is a name of a header or of a subprotocol (RFC 9110 section 5.6.2).
var httpToken = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// isControl says whether a header must not have it (RFC 9110 section 5.5).
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }

// Check returns what a request cannot carry.
func (o Opening) Check() error {
	if path := cmp.Or(o.Path, "/"); path[0] != '/' || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == '#' || r >= 0x7F }) {
		return fmt.Errorf("the path %q is not one that a request can carry: it begins with /, and has no space, # or letters beyond ASCII", path)
	}
	if strings.ContainsFunc(o.Host, func(r rune) bool { return r <= ' ' || r >= 0x7F }) {
		return fmt.Errorf("the host %q is not one that a request can carry", o.Host)
	}
	size := len(o.Path) + len(o.Host)
	check := func(name, value string) error {
		switch size += len(name) + len(value); {
		case !httpToken.MatchString(name):
			return fmt.Errorf("header %q: the name is no token (RFC 9110 section 5.6.2)", name)
		case slices.Contains(own, strings.ToLower(name)):
			return fmt.Errorf("header %s: the request sends its own", name)
		case strings.ContainsFunc(value, isControl):
			return fmt.Errorf("header %s: the value has a control character", name)
		case size > mostRequest:
			return fmt.Errorf("header %s: the request is longer than %d bytes", name, mostRequest)
		}
		return nil
	}
	for _, h := range o.Headers {
		if err := check(h.Name, h.Value); err != nil {
			return err
		}
	}
	for _, h := range o.Each {
		if len(h.Values) == 0 {
			return fmt.Errorf("header %s: there are no values", h.Name)
		}
		for _, value := range h.Values {
			before := size
			if err := check(h.Name, value); err != nil {
				return err
			}
			size = before
		}
	}
	for _, name := range o.Subprotocols {
		if !httpToken.MatchString(name) {
			return fmt.Errorf("subprotocol %q: it is no token (RFC 9110 section 5.6.2)", name)
		}
	}
	return nil
}

// Say is a question in the server's own language, and how its answer is known. It is what the
// command "say" has as options.
type Say struct {
	// Text is sent as a text message; {n} in it is the connection's number.
	Text string `json:"text"`
	// Expect is a regular expression (RE2). The first message that it matches answers the
	// oldest question.
	Expect string `json:"expect"`
}

// Check returns what is wrong with the question.
func (s Say) Check() error {
	if s.Text == "" || s.Expect == "" {
		return errors.New("a question has a text, and a regular expression for its answer")
	}
	_, err := regexp.Compile(s.Expect)
	return err
}

// CensusOptions are the options of the command "census". Without them it is taken by an echo.
type CensusOptions struct {
	// Ping has it taken by ping and pong.
	Ping bool `json:"ping,omitempty"`
	// Say has it taken by a question.
	Say *Say `json:"say,omitempty"`
}

// OptionsOf encodes the options of a command for [Command.Options]. It panics if JSON cannot
// write them: plans with infinite numbers are refused.
func OptionsOf(options any) json.RawMessage {
	text, err := json.Marshal(options)
	if err != nil {
		panic(err)
	}
	return text
}

// RampOptions are the options of the command "ramp".
type RampOptions struct {
	// Patience is how many connects may fail in a row, over the whole swarm; 0 is 100, or one
	// in a hundred connections. Ten times as many failures in all end the ramp too.
	Patience int `json:"patience,omitempty"`
}

// ComebackOptions are the options of the commands "storm", "churn" and "restart".
type ComebackOptions struct {
	// BackoffSeconds bounds the random pause before a dropped connection comes back. Each
	// failure doubles it, up to 32 times. 0: it comes back at once.
	BackoffSeconds float64 `json:"backoff_seconds,omitempty"`
}

// StayersOptions are the options of the command "stayers".
type StayersOptions struct {
	ComebackOptions
	// Drop has the connections dropped that the command names; without it they idle.
	Drop bool `json:"drop,omitempty"`
}

// MixOptions are the options of the command "mix".
type MixOptions struct {
	// PayloadBytes are the sizes of the messages' payloads. The messages of each connection have
	// them in turn.
	PayloadBytes []int `json:"payload_bytes"`
}

// BroadcastOptions are the options of the command "broadcast".
type BroadcastOptions struct {
	// Run numbers the broadcasts of a swarm, from 1. Every message carries it, so that late
	// messages of an earlier broadcast are recognized.
	Run uint32 `json:"run"`
	// UnreadShare is the share of the connections that read nothing, and are not expected to get
	// any message.
	UnreadShare float64 `json:"unread_share,omitempty"`
}

// SlowOptions are the options of the command "slow".
type SlowOptions struct {
	// UnreadShare is the share of the connections that send messages and read nothing. Each
	// sends FloodBytes of payload in the time of the load, evenly, as far as the server takes it.
	UnreadShare float64 `json:"unread_share"`
	FloodBytes  int64   `json:"flood_bytes"`
	// DribbleShare is the share of those that send a message a byte at a time, each a byte every
	// DribbleSeconds.
	DribbleShare   float64 `json:"dribble_share"`
	DribbleSeconds float64 `json:"dribble_seconds"`
}

// LeastBroadcast is the size of the smallest message of a broadcast, in bytes: the swarm
// recognizes a message by its first bytes.
const LeastBroadcast = 8

// MostBroadcast is the largest number of messages of a broadcast.
const MostBroadcast = 10000

// Names of counts in [Result.Counts].
const (
	// CountRepeated counts messages to all that a connection got twice, or after later ones, and
	// CountEarly those that came before a process of the swarm was ready to count them.
	CountRepeated = "repeated messages"
	CountEarly    = "early messages"
	// CountMute counts broadcasts that ended early because no connection was left that could
	// publish.
	CountMute = "broadcasts without a publisher"
	// CountUnread counts connections that read nothing on purpose, CountUnreadBytes the bytes of
	// payload that they sent, and CountUnreadLost those of them that the server ended.
	CountUnread      = "peers that read nothing"
	CountUnreadBytes = "bytes of peers that read nothing"
	CountUnreadLost  = "peers lost that read nothing"
	// CountDribbling counts connections that send a byte at a time, and CountDribblingLost those
	// of them that the server ended.
	CountDribbling     = "peers that send bytes one at a time"
	CountDribblingLost = "peers lost that send bytes one at a time"
	// CountPushed and CountPushedBytes count messages that the server sent of its own accord,
	// and the bytes of their payloads.
	CountPushed      = "pushed messages"
	CountPushedBytes = "pushed bytes"
	// CountStatus, with an HTTP status behind it, counts the requests that were rejected with
	// that status.
	CountStatus = "HTTP status "
	// CountClose, with a close code (RFC 6455 section 7.4) or "none" behind it, counts the
	// close frames that the server sent of its own accord.
	CountClose = "close code "
	// CountResumed counts the TLS handshakes that resumed a session.
	CountResumed = "resumed TLS sessions"
	// CountDropped counts the connections that the command "stayers" dropped, and CountBack those
	// of them that were open again in the end.
	CountDropped = "dropped connections"
	CountBack    = "connections back"
)
