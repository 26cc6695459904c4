package session

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"

	"connbench/servers/internal/work"
)

// compressionLevel is the default of most libraries in Go.
const compressionLevel = flate.BestSpeed

// flushed is what the end of a flushed stream leaves out (RFC 7692 section 7.2.1), and tail ends
// a message for a reader: that, and an empty last block.
const (
	flushed = "\x00\x00\xff\xff"
	tail    = flushed + "\x01\x00\x00\xff\xff"
)

// deflater compresses and inflates messages without context takeover, so that a connection keeps
// nothing between two.
type deflater struct {
	reader io.ReadCloser
	source bytes.Reader
	in     []byte
	plain  []byte
	writer *flate.Writer
	out    bytes.Buffer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.reader = flate.NewReader(&d.source)
	d.writer, _ = flate.NewWriter(&d.out, compressionLevel) // there is such a level
	return d
}}

// errTooBig is a message that inflates to more than it may.
var errTooBig = errors.New("too big")

// echoDeflated is echo on a connection that has agreed on compression. It compresses every
// message, and inflates one that is compressed.
func echoDeflated(op ws.OpCode, message []byte, compressed bool, out []byte, rules Rules) ([]byte, Next) {
	d := deflaters.Get().(*deflater)
	defer d.release()
	if compressed {
		var err error
		switch message, err = d.inflate(message, rules.MaxMessage); {
		case err == errTooBig:
			return appendClose(out, ws.StatusMessageTooBig), Fail
		case err != nil:
			return appendClose(out, ws.StatusInvalidFramePayloadData), Fail
		}
	}
	if op == ws.OpText && !utf8.Valid(message) {
		return appendClose(out, ws.StatusInvalidFramePayloadData), Fail
	}
	work.Do(rules.Work)
	message = d.deflate(message)
	first := len(out)
	out = appendHeader(out, op, len(message))
	out[first] |= 0x40 // RSV1
	return append(out, message...), Continue
}

// inflate inflates a message of at most so many bytes. The result is valid until release.
func (d *deflater) inflate(message []byte, most int) ([]byte, error) {
	d.in = append(append(d.in[:0], message...), tail...)
	d.plain = d.plain[:0]
	for in := d.in; ; in = d.in[len(d.in)-d.source.Len():] {
		d.source.Reset(in)
		// What came before a last block, if the message has one within, may be referred to.
		if err := d.reader.(flate.Resetter).Reset(&d.source, d.plain[max(0, len(d.plain)-32<<10):]); err != nil {
			return nil, err
		}
		if err := d.read(most); err != nil {
			return nil, err
		}
		if d.source.Len() == 0 {
			return d.plain, nil
		}
	}
}

// read reads to the end of a stream.
func (d *deflater) read(most int) error {
	for {
		if len(d.plain) == cap(d.plain) {
			d.plain = append(d.plain, 0)[:len(d.plain)]
		}
		n, err := d.reader.Read(d.plain[len(d.plain):cap(d.plain)])
		d.plain = d.plain[:len(d.plain)+n]
		switch {
		case len(d.plain) > most:
			return errTooBig
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// deflate compresses a message. The result is valid until release.
func (d *deflater) deflate(message []byte) []byte {
	d.out.Reset()
	d.writer.Reset(&d.out)
	d.writer.Write(message) // a buffer takes everything
	d.writer.Flush()
	return bytes.TrimSuffix(d.out.Bytes(), []byte(flushed))
}

// release gives the deflater back, without the buffers of large messages.
func (d *deflater) release() {
	if cap(d.in) > pooledBytes {
		d.in = nil
	}
	if cap(d.plain) > pooledBytes {
		d.plain = nil
	}
	if d.out.Cap() > pooledBytes {
		d.out = bytes.Buffer{}
	}
	deflaters.Put(d)
}
