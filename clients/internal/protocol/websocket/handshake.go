package websocket

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"connbench/clients/control"
	"connbench/clients/internal/splitmix"
)

// Keys is the number of different handshake keys. Neighbouring connections use
// different ones, so that an answer that reaches the wrong connection is found.
const Keys = 256

// MaxAnswer is the longest answer to a handshake that is accepted, in bytes.
const MaxAnswer = 8 << 10

// RejectedError is the HTTP status of an answer that is no 101.
type RejectedError string

func (RejectedError) Error() string { return string(control.Rejected) }

// What else may be wrong with the answer to a handshake.
var (
	ErrBadAccept error = control.BadAccept
	ErrBadAnswer error = control.BadAnswer // also one longer than MaxAnswer
)

const (
	keyBytes    = 24 // base64 of 16 bytes
	acceptBytes = 28 // base64 of a SHA-1
)

// Handshake holds the requests to all targets, and the answers expected.
type Handshake struct {
	keys    [Keys][keyBytes]byte
	accepts [Keys][acceptBytes]byte
	targets []netip.AddrPort
	opening control.Opening
	// requests are those to each target; nil if each connection has a request of its own,
	// which is made in own.
	requests []request
	own      []byte
}

// request is a request to one target with a hole for the key.
type request struct {
	text []byte
	hole []byte // the part of text that is the key
}

// NewHandshake prepares the requests. The same seed makes the same keys.
func NewHandshake(seed uint64, targets []netip.AddrPort, opening control.Opening) *Handshake {
	h := &Handshake{targets: targets, opening: opening}
	for i := range h.keys {
		var nonce [16]byte
		binary.BigEndian.PutUint64(nonce[:8], splitmix.Mix(seed+uint64(2*i)))
		binary.BigEndian.PutUint64(nonce[8:], splitmix.Mix(seed+uint64(2*i+1)))
		base64.StdEncoding.Encode(h.keys[i][:], nonce[:])
		h.accepts[i] = accept(h.keys[i][:])
	}
	if !opening.Differs() {
		for i := range targets {
			text, at := h.compose(nil, i, 0)
			h.requests = append(h.requests, request{text: text, hole: text[at : at+keyBytes]})
		}
	}
	return h
}

// compose appends the request of connection number n to a target, and returns where its key
// belongs.
func (h *Handshake) compose(b []byte, target int, n uint64) (text []byte, key int) {
	o := h.opening
	number := strconv.FormatUint(n, 10)
	of := func(text string) string { return strings.ReplaceAll(text, control.Number, number) }
	b = append(b, "GET "+of(cmp.Or(o.Path, "/"))+" HTTP/1.1\r\nHost: "...)
	if o.Host != "" {
		b = append(b, o.Host...)
	} else {
		b = h.targets[target].AppendTo(b)
	}
	b = append(b, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	for _, header := range o.Headers {
		b = append(b, header.Name+": "+of(header.Value)+"\r\n"...)
	}
	for _, header := range o.Each {
		b = append(b, header.Name+": "+of(header.Values[n%uint64(len(header.Values))])+"\r\n"...)
	}
	if len(o.Subprotocols) > 0 {
		b = append(b, "Sec-WebSocket-Protocol: "+strings.Join(o.Subprotocols, ", ")+"\r\n"...)
	}
	b = append(b, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	key = len(b)
	b = append(b, make([]byte, keyBytes)...)
	return append(b, "\r\n\r\n"...), key
}

// accept computes Sec-WebSocket-Accept (RFC 6455 section 4.2.2).
func accept(key []byte) (encoded [acceptBytes]byte) {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	hash := sha1.Sum(append(bytes.Clone(key), guid...))
	base64.StdEncoding.Encode(encoded[:], hash[:])
	return encoded
}

// Request returns the request of connection number n to a target with a key, 0 to Keys - 1.
// It is always the same for a connection, and valid until the next call.
func (h *Handshake) Request(target, key int, n uint64) []byte {
	if h.requests == nil {
		var at int
		h.own, at = h.compose(h.own[:0], target, n)
		copy(h.own[at:], h.keys[key][:])
		return h.own
	}
	r := &h.requests[target]
	copy(r.hole, h.keys[key][:])
	return r.text
}

// Check checks the answer to a request with the given key, and interim responses
// before it (RFC 9110 section 15.2). It returns how many bytes of p they are, frames
// may follow; 0 without an error says that the answer is not complete yet. The error is a
// [RejectedError] if the status is none of those.
func (h *Handshake) Check(key int, p []byte) (n int, err error) {
	// What is beyond the limit must not matter, however the bytes are cut.
	p = p[:min(len(p), MaxAnswer)]
	for rest := p; ; {
		status, fields, complete, err := statusLine(rest)
		switch {
		case err != nil:
			return 0, err
		case !complete:
			return 0, incomplete(p)
		case status[0] != '1':
			return 0, RejectedError(status)
		case string(status) == "101":
			rest, complete, err = h.checkFields(key, fields)
		default:
			rest, complete, err = skipFields(fields)
		}
		switch {
		case err != nil:
			return 0, err
		case !complete:
			return 0, incomplete(p)
		case string(status) == "101":
			return len(p) - len(rest), nil
		}
	}
}

// incomplete returns the verdict about an answer without an end.
func incomplete(p []byte) error {
	if len(p) >= MaxAnswer {
		return ErrBadAnswer
	}
	return nil
}

// statusLine reads a status line (RFC 9112 section 4) and returns its status code and
// what follows. Any version from 1.1 to 1.9 will do (RFC 9110 section 2.5). What
// cannot become a status line is an error as soon as that is known.
func statusLine(p []byte) (status, rest []byte, complete bool, err error) {
	const form = "HTTP/1.d ddd" // d: a digit
	line, rest, complete := cutLine(p)
	if !complete {
		line = bytes.TrimSuffix(p, []byte{'\r'})
	}
	for k := range min(len(line), len(form)) {
		isDigit := '0' <= line[k] && line[k] <= '9'
		if form[k] == 'd' && !isDigit || form[k] != 'd' && line[k] != form[k] {
			return nil, nil, false, ErrBadAnswer
		}
	}
	const minor, code = len("HTTP/1."), len("HTTP/1.d ")
	switch {
	case len(line) > minor && line[minor] == '0', len(line) > len(form) && line[len(form)] != ' ':
		return nil, nil, false, ErrBadAnswer
	case !complete:
		return nil, nil, false, nil
	case len(line) < len(form):
		return nil, nil, false, ErrBadAnswer
	}
	return line[code:len(form)], rest, true, nil
}

// field is a header field.
type field struct{ name, value []byte }

// nextField reads a header field. end says that there was an empty line instead.
func nextField(p []byte) (f field, rest []byte, end, complete bool, err error) {
	line, rest, complete := cutLine(p)
	if !complete || len(line) == 0 {
		return field{}, rest, complete, complete, nil
	}
	name, value, found := bytes.Cut(line, []byte{':'})
	if !found {
		return field{}, nil, false, false, ErrBadAnswer
	}
	return field{name, bytes.Trim(value, " \t")}, rest, false, true, nil
}

// skipFields passes over the header fields of an interim response.
func skipFields(p []byte) (rest []byte, complete bool, err error) {
	for {
		_, rest, end, complete, err := nextField(p)
		if err != nil || !complete || end {
			return rest, complete, err
		}
		p = rest
	}
}

// checkFields checks the header fields of a 101 (RFC 6455 section 4.1).
func (h *Handshake) checkFields(key int, p []byte) (rest []byte, complete bool, err error) {
	var upgrade, connection, accepted, chosen bool
	for {
		f, rest, end, complete, err := nextField(p)
		switch {
		case err != nil || !complete:
			return nil, complete, err
		case end && !(upgrade && connection && accepted):
			return nil, false, ErrBadAccept
		case end:
			return rest, true, nil
		case equalFold(f.name, "upgrade"):
			if !equalFold(f.value, "websocket") {
				return nil, false, ErrBadAccept
			}
			upgrade = true
		case equalFold(f.name, "connection"):
			connection = connection || hasToken(f.value, "upgrade")
		case equalFold(f.name, "sec-websocket-accept"):
			if accepted || string(f.value) != string(h.accepts[key][:]) {
				return nil, false, ErrBadAccept
			}
			accepted = true
		case equalFold(f.name, "sec-websocket-protocol"):
			if len(f.value) > 0 && (chosen || !slices.Contains(h.opening.Subprotocols, string(f.value))) {
				return nil, false, ErrBadAccept
			}
			chosen = true
		case equalFold(f.name, "sec-websocket-extensions"):
			if len(f.value) > 0 { // none was asked for
				return nil, false, ErrBadAccept
			}
		}
		p = rest
	}
}

// cutLine splits p after its first line, which ends in CR LF, or in LF alone (RFC 9112
// section 2.2).
func cutLine(p []byte) (line, rest []byte, complete bool) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return nil, p, false
	}
	return bytes.TrimSuffix(p[:end], []byte{'\r'}), p[end+1:], true
}

// hasToken says whether a list of tokens, separated by commas, has one.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte{','})
		if equalFold(bytes.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

// equalFold compares with lower, which is in lower case, ASCII only.
func equalFold(p []byte, lower string) bool {
	if len(p) != len(lower) {
		return false
	}
	for i, c := range p {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
