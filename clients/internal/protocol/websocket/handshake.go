package websocket

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"connbench/clients/control"
	"connbench/clients/internal/protocol/http1"
	"connbench/clients/internal/splitmix"
)

// Keys is the number of different handshake keys. Neighbouring connections use
// different ones, so that an answer that reaches the wrong connection is found.
const Keys = 256

// ErrNoCompression is an answer that agrees to WebSocket, and not to the compression offered.
var ErrNoCompression error = control.NoCompression

// ErrBadAccept is an answer in HTTP that does not agree to WebSocket.
var ErrBadAccept error = control.BadAccept

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
	// compression is what is offered, and has to be accepted; empty: none.
	compression string
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
// compression is what is offered: one of control.Compressions, or empty.
func NewHandshake(seed uint64, targets []netip.AddrPort, opening control.Opening, compression string) *Handshake {
	h := &Handshake{targets: targets, opening: opening, compression: compression}
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
	b = http1.AppendRequest(b, "GET", h.opening, h.targets[target], n)
	b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\n"...)
	if len(h.opening.Subprotocols) > 0 {
		b = append(b, "Sec-WebSocket-Protocol: "+strings.Join(h.opening.Subprotocols, ", ")+"\r\n"...)
	}
	if h.compression != "" {
		b = append(b, "Sec-WebSocket-Extensions: "+offers[h.compression]+"\r\n"...)
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
// [http1.RejectedError] if the status is neither 101 nor that of an interim response.
func (h *Handshake) Check(key int, p []byte) (n int, err error) {
	// What is beyond the limit must not matter, however the bytes are cut.
	p = p[:min(len(p), http1.MaxHead)]
	for rest := p; ; {
		status, fields, complete, err := http1.StatusLine(rest)
		switch {
		case err != nil:
			return 0, err
		case !complete:
			return 0, incomplete(p)
		case status[0] != '1':
			return 0, http1.RejectedError(status)
		case string(status) == "101":
			rest, complete, err = h.checkFields(key, fields)
		default:
			rest, complete, err = http1.SkipFields(fields)
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
	if len(p) >= http1.MaxHead {
		return http1.ErrBadAnswer
	}
	return nil
}

// checkFields checks the header fields of a 101 (RFC 6455 section 4.1).
func (h *Handshake) checkFields(key int, p []byte) (rest []byte, complete bool, err error) {
	var upgrade, connection, accepted, chosen, compressed bool
	for {
		f, rest, end, complete, err := http1.NextField(p)
		switch {
		case err != nil || !complete:
			return nil, complete, err
		case end && !(upgrade && connection && accepted):
			return nil, false, ErrBadAccept
		case end && h.compression != "" && !compressed:
			return nil, false, ErrNoCompression
		case end:
			return rest, true, nil
		case http1.EqualFold(f.Name, "upgrade"):
			if !http1.EqualFold(f.Value, "websocket") {
				return nil, false, ErrBadAccept
			}
			upgrade = true
		case http1.EqualFold(f.Name, "connection"):
			connection = connection || http1.HasToken(f.Value, "upgrade")
		case http1.EqualFold(f.Name, "sec-websocket-accept"):
			if accepted || string(f.Value) != string(h.accepts[key][:]) {
				return nil, false, ErrBadAccept
			}
			accepted = true
		case http1.EqualFold(f.Name, "sec-websocket-protocol"):
			if len(f.Value) > 0 && (chosen || !slices.Contains(h.opening.Subprotocols, string(f.Value))) {
				return nil, false, ErrBadAccept
			}
			chosen = true
		case http1.EqualFold(f.Name, "sec-websocket-extensions"):
			if len(f.Value) == 0 {
				break
			}
			if compressed {
				return nil, false, ErrBadAccept
			}
			if err := checkExtension(h.compression, f.Value); err != nil {
				return nil, false, err
			}
			compressed = true
		}
		p = rest
	}
}
