package websocket

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net/netip"

	"connbench/clients/control"
	"connbench/clients/internal/splitmix"
)

// Keys is the number of different handshake keys. Neighbouring connections use
// different ones, so that an answer that reaches the wrong connection is found.
const Keys = 256

// MaxAnswer is the longest answer to a handshake that is accepted, in bytes.
const MaxAnswer = 8 << 10

// What may be wrong with the answer to a handshake.
var (
	ErrRejected  error = control.Rejected
	ErrBadAccept error = control.BadAccept
	ErrBadAnswer error = control.BadAnswer // also one longer than MaxAnswer
)

const (
	keyBytes    = 24 // base64 of 16 bytes
	acceptBytes = 28 // base64 of a SHA-1
)

// Handshake holds the requests to all targets, and the answers expected.
type Handshake struct {
	keys     [Keys][keyBytes]byte
	accepts  [Keys][acceptBytes]byte
	requests []request
}

// request is a request to one target with a hole for the key.
type request struct {
	text []byte
	hole []byte // the part of text that is the key
}

// NewHandshake prepares the requests. The same seed makes the same keys.
func NewHandshake(seed uint64, targets []netip.AddrPort) *Handshake {
	h := &Handshake{}
	for i := range h.keys {
		var nonce [16]byte
		binary.BigEndian.PutUint64(nonce[:8], splitmix.Mix(seed+uint64(2*i)))
		binary.BigEndian.PutUint64(nonce[8:], splitmix.Mix(seed+uint64(2*i+1)))
		base64.StdEncoding.Encode(h.keys[i][:], nonce[:])
		h.accepts[i] = accept(h.keys[i][:])
	}
	for _, target := range targets {
		const start = "GET / HTTP/1.1\r\nHost: "
		const middle = "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
		text := []byte(start + target.String() + middle)
		at := len(text)
		text = append(text, make([]byte, keyBytes)...)
		text = append(text, "\r\n\r\n"...)
		h.requests = append(h.requests, request{text: text, hole: text[at : at+keyBytes]})
	}
	return h
}

// accept computes Sec-WebSocket-Accept (RFC 6455 section 4.2.2).
func accept(key []byte) (encoded [acceptBytes]byte) {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	hash := sha1.Sum(append(bytes.Clone(key), guid...))
	base64.StdEncoding.Encode(encoded[:], hash[:])
	return encoded
}

// Request returns the request to a target with a key, 0 to Keys - 1. It is valid
// until the next call.
func (h *Handshake) Request(target, key int) []byte {
	r := &h.requests[target]
	copy(r.hole, h.keys[key][:])
	return r.text
}

// Check checks the answer to a request with the given key. It returns how many
// bytes of p are the answer, frames may follow; 0 without an error says that it
// is not complete yet.
func (h *Handshake) Check(key int, p []byte) (n int, err error) {
	line, rest, complete := cutLine(p)
	if !complete {
		return 0, incomplete(p)
	}
	if err := checkStatus(line); err != nil {
		return 0, err
	}
	var upgrade, connection, accepted bool
	for {
		line, rest, complete = cutLine(rest)
		if !complete {
			return 0, incomplete(p)
		}
		if len(line) == 0 {
			break
		}
		name, value, found := bytes.Cut(line, []byte{':'})
		if !found {
			return 0, ErrBadAnswer
		}
		value = bytes.Trim(value, " \t")
		switch {
		case equalFold(name, "upgrade"):
			upgrade = equalFold(value, "websocket")
		case equalFold(name, "connection"):
			connection = connection || hasToken(value, "upgrade")
		case equalFold(name, "sec-websocket-accept"):
			if accepted || string(value) != string(h.accepts[key][:]) {
				return 0, ErrBadAccept
			}
			accepted = true
		case equalFold(name, "sec-websocket-extensions"), equalFold(name, "sec-websocket-protocol"):
			return 0, ErrBadAccept // none was asked for
		}
	}
	if !upgrade || !connection || !accepted {
		return 0, ErrBadAccept
	}
	return len(p) - len(rest), nil
}

// incomplete is the verdict about an answer without an end.
func incomplete(p []byte) error {
	if len(p) >= MaxAnswer {
		return ErrBadAnswer
	}
	return nil
}

// checkStatus checks the status line (RFC 9112 section 4).
func checkStatus(line []byte) error {
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || string(line[:len(version)]) != version {
		return ErrBadAnswer
	}
	status, rest := line[len(version):len(version)+3], line[len(version)+3:]
	switch {
	case len(rest) > 0 && rest[0] != ' ':
		return ErrBadAnswer
	case string(status) != "101":
		return ErrRejected
	}
	return nil
}

// cutLine splits p after its first line, which ends in CR LF.
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
