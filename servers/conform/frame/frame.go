// Package frame writes and reads WebSocket frames with every bit under control, legal or
// not.
package frame

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
)

// Opcode is a frame's kind (RFC 6455 section 11.8).
type Opcode byte

const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xA
)

// String is the name that RFC 6455 has for the opcode.
func (op Opcode) String() string {
	switch op {
	case OpContinuation:
		return "continuation"
	case OpText:
		return "text"
	case OpBinary:
		return "binary"
	case OpClose:
		return "close"
	case OpPing:
		return "ping"
	case OpPong:
		return "pong"
	}
	return fmt.Sprintf("%#x", byte(op))
}

// Control tells whether the opcode is that of a control frame.
func (op Opcode) Control() bool { return op&0x8 != 0 }

// Frame is one frame, right or wrong: nothing here keeps a check from sending
// what no client should.
type Frame struct {
	Op Opcode
	// More is the opposite of FIN: a fragment that is not the last.
	More bool
	// Reserved are RSV1, RSV2 and RSV3, as 4, 2 and 1.
	Reserved byte
	// Bare leaves out the masking.
	Bare    bool
	Payload []byte
}

// Closing is a close frame with a code and a reason.
func Closing(code uint16, reason string) Frame {
	return Frame{Op: OpClose, Payload: append(binary.BigEndian.AppendUint16(nil, code), reason...)}
}

// AppendHeader appends the header of a frame that claims to hold length bytes
// (RFC 6455 section 5.2).
func (f Frame) AppendHeader(b []byte, length uint64, mask [4]byte) []byte {
	first := byte(f.Op) | f.Reserved<<4
	if !f.More {
		first |= 0x80
	}
	var masked byte = 0x80
	if f.Bare {
		masked = 0
	}
	b = append(b, first)
	switch {
	case length < 126:
		b = append(b, masked|byte(length))
	case length <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), length)
	}
	if !f.Bare {
		b = append(b, mask[:]...)
	}
	return b
}

// largestHeader is the length of the longest header, in bytes (RFC 6455 section 5.2).
const largestHeader = 14

// Encode returns the frames as bytes, masked as a client must.
func Encode(frames ...Frame) []byte {
	size := 0
	for _, f := range frames {
		size += largestHeader + len(f.Payload)
	}
	b := make([]byte, 0, size)
	for _, f := range frames {
		var mask [4]byte
		binary.BigEndian.PutUint32(mask[:], rand.Uint32())
		b = f.AppendHeader(b, uint64(len(f.Payload)), mask)
		start := len(b)
		b = append(b, f.Payload...)
		if !f.Bare {
			Mask(b[start:], mask)
		}
	}
	return b
}

// largestFrame bounds what a check is ready to receive in one frame.
const largestFrame = 64 << 20

// RSV1 is the bit of Reserved that says of a message that it is compressed (RFC 7692 section 6).
const RSV1 byte = 4

// ReadFrame reads a frame that a server sent. With deflate, the first frame of a message may have
// RSV1. The error is a sentence about the
// frame where it is one that no server may send.
func ReadFrame(r *bufio.Reader, deflate bool) (Frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Op: Opcode(head[0] & 0xF), More: head[0]&0x80 == 0, Reserved: head[0] >> 4 & 7, Bare: true}
	reserved := f.Reserved
	if deflate && (f.Op == OpText || f.Op == OpBinary) {
		reserved &^= RSV1
	}
	length := uint64(head[1] & 0x7F)
	shortest := uint64(0)
	switch length {
	case 126:
		var b [2]byte
		if err := readRest(r, b[:]); err != nil {
			return f, err
		}
		length, shortest = uint64(binary.BigEndian.Uint16(b[:])), 126
	case 127:
		var b [8]byte
		if err := readRest(r, b[:]); err != nil {
			return f, err
		}
		length, shortest = binary.BigEndian.Uint64(b[:]), 1<<16
	}
	switch {
	case head[1]&0x80 != 0:
		return f, errors.New("a masked frame (RFC 6455 section 5.1 forbids it)")
	case reserved != 0:
		return f, fmt.Errorf("a %s frame with reserved bits %03b (RFC 6455 section 5.2 forbids it)", f.Op, f.Reserved)
	case length < shortest:
		return f, fmt.Errorf("a frame whose length, %d, is not encoded in the fewest bytes (RFC 6455 section 5.2)", length)
	case f.Op.Control() && (f.More || length > 125):
		return f, fmt.Errorf("a %s frame that is fragmented or longer than 125 bytes (RFC 6455 section 5.5 forbids it)", f.Op)
	case length > largestFrame:
		return f, fmt.Errorf("a frame of %d bytes", length)
	}
	f.Payload = make([]byte, length)
	return f, readRest(r, f.Payload)
}

// readRest fills b with what belongs to a frame that has begun.
func readRest(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Code is the status code of a close frame, 0 if it has none.
func (f Frame) Code() uint16 {
	if len(f.Payload) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(f.Payload)
}

// String describes a frame that came.
func (f Frame) String() string {
	var b strings.Builder
	b.WriteString("a ")
	if f.More {
		b.WriteString("fragment, a ")
	}
	fmt.Fprintf(&b, "%s frame", f.Op)
	switch {
	case f.Op == OpClose && len(f.Payload) == 0:
		b.WriteString(" without a code")
	case f.Op == OpClose && len(f.Payload) == 1:
		b.WriteString(" of one byte")
	case f.Op == OpClose:
		fmt.Fprintf(&b, " with code %d", f.Code())
		if reason := f.Payload[2:]; len(reason) > 0 {
			fmt.Fprintf(&b, " and reason %q", reason)
		}
	case len(f.Payload) <= 40:
		fmt.Fprintf(&b, " of %d bytes %q", len(f.Payload), f.Payload)
	default:
		fmt.Fprintf(&b, " of %d bytes", len(f.Payload))
	}
	return b.String()
}

// Pattern returns n bytes that differ from one offset and from one n to
// another, and are valid UTF-8.
func Pattern(n int) []byte {
	const period = 256 * 95
	b := make([]byte, n)
	for i := range min(n, period) {
		b[i] = ' ' + byte((i*7+i/256*13+n)%95)
	}
	for done := period; done < n; done *= 2 {
		copy(b[done:], b[:done])
	}
	return b
}

// Mask masks a payload in place, or unmasks it (RFC 6455 section 5.3).
func Mask(payload []byte, mask [4]byte) {
	const size = 1 << 12
	pad := bytes.Repeat(mask[:], min(size, len(payload)+3)/4)
	for part := range slices.Chunk(payload, size) {
		subtle.XORBytes(part, part, pad)
	}
}

// Fragmented cuts payload into fragments of at most size bytes.
func Fragmented(op Opcode, payload []byte, size int) []Frame {
	var frames []Frame
	for part := range slices.Chunk(payload, size) {
		frames = append(frames, Frame{Op: op, More: true, Payload: part})
		op = OpContinuation
	}
	frames[len(frames)-1].More = false
	return frames
}
