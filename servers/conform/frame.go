package conform

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// opcode is a frame's kind (RFC 6455 section 11.8).
type opcode byte

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xA
)

func (op opcode) String() string {
	switch op {
	case opContinuation:
		return "continuation"
	case opText:
		return "text"
	case opBinary:
		return "binary"
	case opClose:
		return "close"
	case opPing:
		return "ping"
	case opPong:
		return "pong"
	}
	return fmt.Sprintf("%#x", byte(op))
}

func (op opcode) control() bool { return op&0x8 != 0 }

// frame is one frame, right or wrong: nothing here keeps a check from sending
// what no client should.
type frame struct {
	op opcode
	// more is the opposite of FIN: a fragment that is not the last.
	more bool
	// reserved are RSV1, RSV2 and RSV3, as 4, 2 and 1.
	reserved byte
	// bare leaves out the masking.
	bare    bool
	payload []byte
}

// closing is a close frame with a code and a reason.
func closing(code uint16, reason string) frame {
	return frame{op: opClose, payload: append(binary.BigEndian.AppendUint16(nil, code), reason...)}
}

// appendHeader appends the header of a frame that claims to hold length bytes
// (RFC 6455 section 5.2).
func (f frame) appendHeader(b []byte, length uint64, mask [4]byte) []byte {
	first := byte(f.op) | f.reserved<<4
	if !f.more {
		first |= 0x80
	}
	var masked byte = 0x80
	if f.bare {
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
	if !f.bare {
		b = append(b, mask[:]...)
	}
	return b
}

// encode returns the frames as bytes, masked as a client must.
func encode(frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		var mask [4]byte
		binary.BigEndian.PutUint32(mask[:], rand.Uint32())
		b = f.appendHeader(b, uint64(len(f.payload)), mask)
		start := len(b)
		b = append(b, f.payload...)
		if !f.bare {
			for i := range f.payload {
				b[start+i] ^= mask[i%4]
			}
		}
	}
	return b
}

// largestFrame bounds what a check is ready to receive in one frame.
const largestFrame = 64 << 20

// readFrame reads a frame that a server sent. The error is a sentence about the
// frame where it is one that no server may send.
func readFrame(r *bufio.Reader) (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{op: opcode(head[0] & 0xF), more: head[0]&0x80 == 0, reserved: head[0] >> 4 & 7, bare: true}
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
	case f.reserved != 0:
		return f, fmt.Errorf("a frame with reserved bits %03b (RFC 6455 section 5.2 forbids it)", f.reserved)
	case length < shortest:
		return f, fmt.Errorf("a frame whose length, %d, is not encoded in the fewest bytes (RFC 6455 section 5.2)", length)
	case f.op.control() && (f.more || length > 125):
		return f, fmt.Errorf("a %s frame that is fragmented or longer than 125 bytes (RFC 6455 section 5.5 forbids it)", f.op)
	case length > largestFrame:
		return f, fmt.Errorf("a frame of %d bytes", length)
	}
	f.payload = make([]byte, length)
	return f, readRest(r, f.payload)
}

// readRest fills b with what belongs to a frame that has begun.
func readRest(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// code is the status code of a close frame, 0 if it has none.
func (f frame) code() uint16 {
	if len(f.payload) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(f.payload)
}

// String describes a frame that came.
func (f frame) String() string {
	var b strings.Builder
	b.WriteString("a ")
	if f.more {
		b.WriteString("fragment, a ")
	}
	fmt.Fprintf(&b, "%s frame", f.op)
	switch {
	case f.op == opClose && len(f.payload) == 0:
		b.WriteString(" without a code")
	case f.op == opClose && len(f.payload) == 1:
		b.WriteString(" of one byte")
	case f.op == opClose:
		fmt.Fprintf(&b, " with code %d", f.code())
		if reason := f.payload[2:]; len(reason) > 0 {
			fmt.Fprintf(&b, " and reason %q", reason)
		}
	case len(f.payload) <= 40:
		fmt.Fprintf(&b, " of %d bytes %q", len(f.payload), f.payload)
	default:
		fmt.Fprintf(&b, " of %d bytes", len(f.payload))
	}
	return b.String()
}
