package session

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// headerReader collects the bytes of one frame header (RFC 6455 section 5.2),
// however they are split.
type headerReader struct {
	bytes [ws.MaxHeaderSize]byte
	n     uint8
}

// read takes what it needs of in. It returns the rest, and done when the header
// is complete; the reader is then ready for the next one. A length with the
// highest bit set is an error.
func (r *headerReader) read(in []byte) (h ws.Header, rest []byte, done bool, err error) {
	for {
		need := 2
		if r.n >= 2 {
			need = headerSize(r.bytes[1])
		}
		if int(r.n) == need {
			h, err = decodeHeader(r.bytes[:need])
			r.n = 0
			return h, in, true, err
		}
		if len(in) == 0 {
			return h, in, false, nil
		}
		taken := copy(r.bytes[r.n:need], in)
		r.n += uint8(taken)
		in = in[taken:]
	}
}

// headerSize is the size of a header, by its second byte.
func headerSize(second byte) int {
	size := 2
	switch second & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if second&0x80 != 0 {
		size += 4
	}
	return size
}

// decodeHeader decodes a header that is complete. It is ws.ReadHeader for bytes
// in memory: that one allocates, and blocks on half a header.
func decodeHeader(b []byte) (ws.Header, error) {
	h := ws.Header{
		Fin:    b[0]&0x80 != 0,
		Rsv:    b[0] & 0x70 >> 4,
		OpCode: ws.OpCode(b[0] & 0x0f),
		Masked: b[1]&0x80 != 0,
		Length: int64(b[1] & 0x7f),
	}
	rest := b[2:]
	switch h.Length {
	case 126:
		h.Length = int64(binary.BigEndian.Uint16(rest))
		rest = rest[2:]
	case 127:
		length := binary.BigEndian.Uint64(rest)
		if length>>63 != 0 {
			return h, ws.ErrHeaderLengthMSB
		}
		h.Length = int64(length)
		rest = rest[8:]
	}
	if h.Masked {
		copy(h.Mask[:], rest)
	}
	return h, nil
}

// appendHeader appends the header of an unmasked final frame. It is
// ws.WriteHeader without the allocation.
func appendHeader(out []byte, op ws.OpCode, length int) []byte {
	out = append(out, 0x80|byte(op))
	switch {
	case length < 126:
		return append(out, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(out, 126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(out, 127), uint64(length))
	}
}
