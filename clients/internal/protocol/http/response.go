package http

import (
	"bytes"
	"strconv"

	"connbench/clients/internal/protocol/http1"
)

// state is how far a response has come.
type state uint8

const (
	inStatus  state = iota // in the status line
	inFields               // in the header fields
	inBody                 // left bytes of the body are to come
	inSize                 // in the line with the size of a chunk (RFC 9112 section 7.1)
	inChunk                // left bytes of a chunk are to come
	inBreak                // in the line break behind a chunk
	inTrailer              // in the trailer section
)

// response is one that comes in pieces of any size. The zero value is at its start.
type response struct {
	state   state
	left    uint64
	line    []byte // what has come of a line
	head    int    // bytes of the head, or of a chunk's lines, that have come
	interim bool   // it is an interim response: another one follows (RFC 9110 section 15.2)
	sized   bool   // left is what Content-Length says
	chunked bool
	// numbered says that the response has an entity tag that is a number.
	numbered bool
	number   uint64
}

// endless is a response that has no end, between two of its chunks.
var endless = response{state: inSize, chunked: true}

// betweenChunks says that nothing has come of the next chunk.
func (r *response) betweenChunks() bool { return r.state == inSize && len(r.line) == 0 }

// fresh says that nothing has come.
func (r *response) fresh() bool { return r.state == inStatus && len(r.line) == 0 && !r.interim }

// next reads on in b, which is not empty, and returns the number of bytes that it took, at
// least one, and the piece of the body among them. After the end of the response it must not be
// called again. The error is [http1.ErrBadAnswer] for what is no response with a length of its
// own, and an [http1.RejectedError] for a status other than 200.
func (r *response) next(b []byte) (piece []byte, n int, ended bool, err error) {
	if r.state == inBody || r.state == inChunk {
		n = int(min(uint64(len(b)), r.left))
		if r.left -= uint64(n); r.left == 0 {
			ended = r.state == inBody
			r.state = inBreak
		}
		return b[:n], n, ended, nil
	}
	n = bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	line := b[:n]
	if len(r.line) > 0 || !whole {
		r.line = append(r.line, line...) // b belongs to the engine
		line = r.line
	}
	switch r.head += n; {
	case r.head > http1.MaxHead:
		return nil, n, false, http1.ErrBadAnswer
	case !whole && r.state == inStatus:
		_, _, _, err = http1.StatusLine(line)
		return nil, n, false, err
	case !whole:
		return nil, n, false, nil
	}
	r.line = r.line[:0]
	ended, err = r.take(line)
	return nil, n, ended, err
}

// take takes a whole line.
func (r *response) take(line []byte) (ended bool, err error) {
	switch r.state {
	case inStatus:
		status, _, _, err := http1.StatusLine(line)
		if err != nil {
			return false, err
		}
		r.interim = status[0] == '1' && string(status) != "101"
		if !r.interim && string(status) != "200" {
			return false, http1.RejectedError(status)
		}
		r.state = inFields
		return false, nil
	case inFields:
		f, _, end, _, err := http1.NextField(line)
		switch {
		case err != nil:
			return false, err
		case end:
			return r.endHead()
		}
		return false, r.field(f)
	}
	line, _, _ = http1.CutLine(line)
	switch r.state {
	case inSize:
		return false, r.chunk(line)
	case inBreak:
		if len(line) > 0 {
			return false, http1.ErrBadAnswer
		}
		r.state, r.head = inSize, 0
		return false, nil
	}
	return len(line) == 0, nil // of the trailer
}

// field takes note of how the body is framed (RFC 9112 section 6.3), and of its number.
func (r *response) field(f http1.Field) error {
	switch {
	case http1.EqualFold(f.Name, "content-length"):
		length, err := strconv.ParseUint(string(f.Value), 10, 63)
		if err != nil || r.sized && length != r.left {
			return http1.ErrBadAnswer
		}
		r.sized, r.left = true, length
	case http1.EqualFold(f.Name, "transfer-encoding"):
		if !http1.EqualFold(f.Value, "chunked") {
			return http1.ErrBadAnswer
		}
		r.chunked = true
	case http1.EqualFold(f.Name, "etag"):
		number, err := strconv.ParseUint(string(bytes.Trim(f.Value, `"`)), 10, 64)
		r.number, r.numbered = number, err == nil
	}
	return nil
}

// endHead goes on to the body. One that ends with the connection would leave nothing to keep.
func (r *response) endHead() (ended bool, err error) {
	switch {
	case r.interim:
		*r = response{line: r.line, head: r.head, interim: true}
		return false, nil
	case r.chunked == r.sized: // neither, or one that contradicts the other
		return false, http1.ErrBadAnswer
	case r.chunked:
		r.state, r.head = inSize, 0
		return false, nil
	}
	r.state = inBody
	return r.left == 0, nil
}

// chunk takes the size of a chunk.
func (r *response) chunk(line []byte) error {
	size, _, _ := bytes.Cut(line, []byte{';'})
	left, err := strconv.ParseUint(string(bytes.TrimRight(size, " \t")), 16, 63)
	if err != nil {
		return http1.ErrBadAnswer
	}
	r.left, r.state = left, inChunk
	if left == 0 {
		r.state = inTrailer
	}
	return nil
}
