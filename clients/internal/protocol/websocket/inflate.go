package websocket

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"

	"connbench/clients/internal/text"
)

// flushed is what the end of a flushed stream leaves out (RFC 7692 section 7.2.1).
const flushed = "\x00\x00\xff\xff"

// tail ends a message for a reader of DEFLATE: what the sender has left out, and an empty last
// block.
const tail = flushed + "\x01\x00\x00\xff\xff"

// compressionLevel is that of zlib.
const compressionLevel = 6

// deflate compresses bodies.
func deflate(bodies *text.Bodies) *deflated {
	d := &deflated{bodies: bodies, each: make([][]byte, bodies.Len())}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, compressionLevel)
	if err != nil {
		panic(err) // there is such a level
	}
	for k := range d.each {
		out.Reset()
		w.Reset(&out)
		w.Write(bodies.Body(k)) // a buffer takes everything
		w.Flush()
		d.each[k] = bytes.Clone(bytes.TrimSuffix(out.Bytes(), []byte(flushed)))
	}
	return d
}

// inflater inflates messages, one after the other.
type inflater struct {
	reader io.ReadCloser
	source bytes.Reader
	in     []byte
	out    []byte
}

// errTooLong is a message that is longer than it may be.
var errTooLong = errors.New("too long")

// inflate inflates a message of at most so many bytes, which may refer to a window. The result
// is valid until the next call.
func (f *inflater) inflate(message, window []byte, most int) ([]byte, error) {
	f.in = append(append(f.in[:0], message...), tail...)
	f.out = f.out[:0]
	before := window
	for in := f.in; ; {
		f.source.Reset(in)
		if err := f.reset(window); err != nil {
			return nil, err
		}
		if err := f.read(most); err != nil {
			return nil, err
		}
		left := f.source.Len()
		if left == 0 {
			return f.out, nil
		}
		// The sender has ended its stream within the message, as it may (RFC 7692 section
		// 7.2.3.4), and begun another one.
		if left < len(flushed) {
			return nil, io.ErrUnexpectedEOF
		}
		in = in[len(in)-left:]
		window = lastOf(append(bytes.Clone(before), f.out...))
	}
}

// reset has the reader begin at the source.
func (f *inflater) reset(window []byte) error {
	if f.reader == nil {
		f.reader = flate.NewReaderDict(&f.source, window)
		return nil
	}
	return f.reader.(flate.Resetter).Reset(&f.source, window)
}

// read reads to the end of the stream.
func (f *inflater) read(most int) error {
	for {
		if len(f.out) == cap(f.out) {
			f.out = append(f.out, 0)[:len(f.out)]
		}
		n, err := f.reader.Read(f.out[len(f.out):cap(f.out)])
		f.out = f.out[:len(f.out)+n]
		switch {
		case len(f.out) > most:
			return errTooLong
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
