// Package compression has the checks of permessage-deflate (RFC 7692).
package compression

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
	"connbench/servers/contract"
)

const (
	name             = "permessage-deflate"
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	clientBound      = "client_max_window_bits"
)

// offerOf is what a client offers that wants the compression of the options.
func offerOf(o contract.Options) string {
	if o.Compression == contract.CompressionTakeover {
		return name
	}
	return name + "; " + serverNoTakeover + "; " + clientNoTakeover
}

// client is a connection on which compression was agreed on.
type client struct {
	*exam.Conn
	takeover  bool
	boundable bool // the server may bound the client's window
	out       bytes.Buffer
	writer    *flate.Writer
	window    []byte // what the server's messages may refer to
}

// open opens a connection with compression.
func open(s *exam.Server) *client {
	c := &client{Conn: s.Connect(), takeover: s.Options.Compression == contract.CompressionTakeover}
	c.Write("a handshake with "+offerOf(s.Options), exam.Handshake().With(field+offerOf(s.Options)).Bytes())
	agreed := c.agreed(c.ExpectUpgrade())
	if agreed == "" {
		c.Got("no "+name, name, "the contract")
	}
	if takeover := !strings.Contains(agreed, serverNoTakeover); takeover != c.takeover {
		c.Got(agreed, map[bool]string{false: name + " with " + serverNoTakeover, true: name + " without " + serverNoTakeover}[c.takeover], "RFC 7692 section 7.1.1.1 and the contract")
	}
	c.Deflate = true
	return c
}

// field is the header field of offers.
const field = "Sec-WebSocket-Extensions: "

// agreed is what the server says of extensions in its response, which must be nothing, or what a
// server may say of this one (RFC 7692 section 7.1).
func (c *client) agreed(response *http.Response) string {
	values := response.Header.Values("Sec-WebSocket-Extensions")
	text := strings.Join(values, ", ")
	if text == "" {
		return ""
	}
	const section = "RFC 7692 section 7.1"
	wrong := func(why string) { c.Got(text, "a response that "+why, section) }
	extension, parameters, _ := strings.Cut(text, ";")
	if strings.TrimSpace(extension) != name {
		wrong("accepts " + name + " alone")
	}
	given := map[string]bool{}
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, value, hasValue := strings.Cut(strings.TrimSpace(parameter), "=")
		switch bits, err := strconv.Atoi(strings.Trim(value, `"`)); {
		case key == "" && len(given) == 0:
		case given[key]:
			wrong("has no parameter twice")
		case (key == serverNoTakeover || key == clientNoTakeover) && !hasValue:
		case (key == "server_max_window_bits" || key == clientBound && c.boundable) && err == nil && bits >= 8 && bits <= 15:
		case key == clientBound && !c.boundable:
			wrong("does not bound a window that the client has not offered to bound (section 7.1.2.2)")
		default:
			wrong("has only valid parameters")
		}
		given[key] = true
	}
	return text
}

// flushed is what the end of a flushed stream leaves out (RFC 7692 section 7.2.1), and tail ends
// a message for a reader: that, and an empty last block.
const (
	flushed = "\x00\x00\xff\xff"
	tail    = flushed + "\x01\x00\x00\xff\xff"
)

// compress compresses a message, by itself or with those before.
func (c *client) compress(message []byte) []byte {
	if c.writer == nil || !c.takeover {
		c.writer, _ = flate.NewWriter(&c.out, flate.DefaultCompression) // there is such a level
	}
	c.out.Reset()
	c.writer.Write(message) // a buffer takes everything
	c.writer.Flush()
	return bytes.TrimSuffix(bytes.Clone(c.out.Bytes()), []byte(flushed))
}

// compressed is a message in one frame.
func (c *client) compressed(op frame.Opcode, message []byte) frame.Frame {
	return frame.Frame{Op: op, Reserved: frame.RSV1, Payload: c.compress(message)}
}

// trip sends a compressed message and expects it back.
func (c *client) trip(what string, op frame.Opcode, message []byte) (size int, compressed bool) {
	c.Send(what, c.compressed(op, message))
	return c.expect(op, message)
}

// expect reads a message, compressed or not, and fails unless it is the right one. It returns the
// size of its payload as it came.
func (c *client) expect(op frame.Opcode, want []byte) (size int, compressed bool) {
	const section = "RFC 7692 section 7.2 and the contract"
	expected := fmt.Sprintf("its echo, a %s message of %d bytes when inflated", op, len(want))
	var payload []byte
	for first := true; ; first = false {
		f, err := c.TryFrame()
		if err != nil {
			c.Got(exam.Describe(err), expected, section)
		}
		if first && f.Op != op || !first && f.Op != frame.OpContinuation {
			c.Got(f.String(), expected, section)
		}
		compressed = compressed || first && f.Reserved == frame.RSV1
		if payload = append(payload, f.Payload...); !f.More {
			break
		}
	}
	message := payload
	if compressed {
		var err error
		if message, err = c.inflate(payload, len(want)); err != nil {
			c.Got(fmt.Sprintf("%d compressed bytes that do not inflate: %v", len(payload), err), expected, section)
		}
	}
	if !bytes.Equal(message, want) {
		c.Got(fmt.Sprintf("another message, of %d bytes", len(message)), expected, section)
	}
	return len(payload), compressed
}

// inflate inflates a message of the server, which should have a size.
func (c *client) inflate(payload []byte, size int) ([]byte, error) {
	var window []byte
	if c.takeover {
		window = c.window
	}
	source := bytes.NewReader(append(bytes.Clone(payload), tail...))
	var message []byte
	// Each last block ends a stream, and another one begins (RFC 7692 section 7.2.3.4).
	for source.Len() > 0 && len(message) <= size {
		stream := flate.NewReaderDict(source, append(bytes.Clone(window), message...))
		piece, err := io.ReadAll(io.LimitReader(stream, int64(size+1-len(message))))
		if message = append(message, piece...); err != nil {
			return nil, err
		}
	}
	c.window = append(c.window, message...)
	c.window = c.window[max(0, len(c.window)-32<<10):]
	return message, nil
}

// expectEnd expects that the server refuses what it got: by a close frame with one of codes, or
// none, and by the end of the connection. Without codes, it may be any.
func (c *client) expectEnd(section string, codes ...uint16) {
	expected := "a close frame"
	if len(codes) == 0 {
		expected += ", or the end of the connection"
	}
	f, err := c.TryFrame()
	switch {
	case err != nil && exam.Ended(err) && len(codes) == 0:
		return
	case err != nil:
		c.Got(exam.Describe(err), expected, section)
	case f.Op != frame.OpClose:
		c.Got(f.String(), expected, section)
	}
	for _, code := range codes {
		if f.Code() == code {
			codes = nil
		}
	}
	if len(codes) > 0 {
		c.Got(f.String(), fmt.Sprintf("a close frame with one of the codes %d", codes), section)
	}
	c.Bytes().Write(frame.Encode(frame.Frame{Op: frame.OpClose})) // the server may be gone already
	c.ExpectEnd("after the close frame", section)
}
