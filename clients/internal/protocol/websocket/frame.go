package websocket

import (
	"encoding/binary"

	"connbench/clients/control"
)

// Opcode says what a frame is (RFC 6455 section 5.2).
type Opcode byte

// The opcodes.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// control says whether it is a control frame, which may come between the frames
// of a message.
func (o Opcode) control() bool { return o&0x8 != 0 }

const (
	finBit       = 0x80
	deflateBit   = 0x40 // RSV1, by RFC 7692 section 6
	reservedBits = 0x70
	opcodeBits   = 0x0F
	maskBit      = 0x80
	lengthBits   = 0x7F

	// MaxHeader is the longest header of a client's frame.
	MaxHeader = 14
	// MaxControl is the longest payload of a control frame (RFC 6455 section 5.5).
	MaxControl = 125
)

// CloseNormal is the close code of a connection that has served its purpose (RFC
// 6455 section 7.4.1).
const CloseNormal = 1000

// PutHeader writes the header of a whole message in one masked frame into b,
// which has room for MaxHeader bytes, and returns its length.
func PutHeader(b []byte, opcode Opcode, payload int, mask uint32) int {
	b[0] = finBit | byte(opcode)
	n := 2
	switch {
	case payload <= 125:
		b[1] = maskBit | byte(payload)
	case payload <= 0xFFFF:
		b[1] = maskBit | 126
		binary.BigEndian.PutUint16(b[2:], uint16(payload))
		n = 4
	default:
		b[1] = maskBit | 127
		binary.BigEndian.PutUint64(b[2:], uint64(payload))
		n = 10
	}
	binary.LittleEndian.PutUint32(b[n:], mask)
	return n + 4
}

// Mask writes a masked payload into b, which has room for it (section 5.3).
func Mask(b, payload []byte, mask uint32) {
	double := uint64(mask)<<32 | uint64(mask)
	n := len(payload) &^ 7
	for k := 0; k < n; k += 8 {
		binary.LittleEndian.PutUint64(b[k:], binary.LittleEndian.Uint64(payload[k:])^double)
	}
	for k := n; k < len(payload); k++ {
		b[k] = payload[k] ^ byte(mask>>(8*(k%4)))
	}
}

// AppendControl appends a masked control frame.
func AppendControl(b []byte, opcode Opcode, payload []byte, mask uint32) []byte {
	var frame [MaxHeader + MaxControl]byte
	n := PutHeader(frame[:], opcode, len(payload), mask)
	Mask(frame[n:], payload, mask)
	return append(b, frame[:n+len(payload)]...)
}

// ErrBadFrame is returned for what RFC 6455 section 5 forbids a server to send,
// and for frames of 4 GiB and more.
var ErrBadFrame error = control.BadFrame

// Reader reads a stream of frames. The zero value is at its start.
type Reader struct {
	left   uint32 // payload bytes to come; in the header, the length as far as it is known
	state  state
	first  byte   // the frame's first byte
	length byte   // bytes of an extended length still to come
	opcode Opcode // of the message whose frames are coming; 0: none

	// Deflate says that messages may be compressed by RFC 7692. compressed is of the message
	// whose frames are coming.
	Deflate, compressed bool
}

type state byte

const (
	firstByte state = iota
	secondByte
	length16
	length64
	payload
)

// BetweenMessages says that the reader is between two messages, where it is as good
// as a new one.
func (r *Reader) BetweenMessages() bool { return r.state == firstByte && r.opcode == 0 }

// Piece is a part of a frame's payload.
type Piece struct {
	// Opcode is that of the message in its continuation frames too.
	Opcode  Opcode
	Payload []byte
	// Last says that this is the end of the message, or of the control frame.
	Last bool
	// Compressed says that the message is compressed.
	Compressed bool
}

// Next reads on in p, which is not empty, and returns the number of bytes that
// it took, at least one. found says whether there was a piece; without one, p is
// used up.
func (r *Reader) Next(p []byte) (piece Piece, n int, found bool, err error) {
	for r.state != payload {
		if n == len(p) {
			return Piece{}, n, false, nil
		}
		if err := r.header(p[n]); err != nil {
			return Piece{}, n, false, err
		}
		n++
	}
	take := min(len(p)-n, int(r.left))
	if take == 0 && r.left > 0 {
		return Piece{}, n, false, nil
	}
	piece = Piece{Opcode: Opcode(r.first & opcodeBits), Payload: p[n : n+take]}
	control := piece.Opcode.control()
	if !control {
		piece.Opcode, piece.Compressed = r.opcode, r.compressed
	}
	if r.left -= uint32(take); r.left == 0 {
		r.state = firstByte
		piece.Last = r.first&finBit != 0
		if piece.Last && !control {
			r.opcode = 0
		}
	}
	return piece, n + take, true, nil
}

// header takes one byte of a frame's header.
func (r *Reader) header(c byte) error {
	switch r.state {
	case firstByte:
		return r.begin(c)
	case secondByte:
		return r.shortLength(c)
	default:
		return r.longLength(c)
	}
}

func (r *Reader) begin(c byte) error {
	opcode := Opcode(c & opcodeBits)
	starts := opcode == Text || opcode == Binary
	// Only compression may have been agreed on, and only the first frame of a message says
	// whether it is (RFC 7692 section 6.1).
	if reserved := c & reservedBits; reserved != 0 && !(reserved == deflateBit && r.Deflate && starts) {
		return ErrBadFrame
	}
	switch opcode {
	case Close, Ping, Pong:
		if c&finBit == 0 {
			return ErrBadFrame // section 5.5: control frames are not fragmented
		}
	case Text, Binary:
		if r.opcode != 0 {
			return ErrBadFrame // section 5.4: the message before is not finished
		}
		r.opcode, r.compressed = opcode, c&deflateBit != 0
	case Continuation:
		if r.opcode == 0 {
			return ErrBadFrame // section 5.4: there is nothing to continue
		}
	default:
		return ErrBadFrame // section 5.2: reserved
	}
	r.first = c
	r.state = secondByte
	return nil
}

func (r *Reader) shortLength(c byte) error {
	if c&maskBit != 0 {
		return ErrBadFrame // section 5.1: a server does not mask
	}
	c &= lengthBits
	if c > MaxControl && Opcode(r.first&opcodeBits).control() {
		return ErrBadFrame
	}
	switch c {
	case 126:
		r.state, r.left, r.length = length16, 0, 2
	case 127:
		r.state, r.left, r.length = length64, 0, 8
	default:
		r.state, r.left = payload, uint32(c)
	}
	return nil
}

func (r *Reader) longLength(c byte) error {
	if r.left > 0xFFFFFF {
		return ErrBadFrame // one more byte does not fit
	}
	r.left = r.left<<8 | uint32(c)
	if r.length--; r.length > 0 {
		return nil
	}
	// Section 5.2: the shortest form has to be used.
	if r.left < 126 || r.state == length64 && r.left < 0x10000 {
		return ErrBadFrame
	}
	r.state = payload
	return nil
}
