package compression

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
	"connbench/servers/contract"
)

var checks = []exam.Case{
	{Name: "deflate-offer", Title: "agrees to permessage-deflate as --compression says, wherever it stands among the offers, and not unless it is offered", Run: checkOffer},
	{Name: "deflate-decline", Title: "declines an offer with a parameter that is unknown, given twice or wrong", Run: checkDecline},
	{Name: "deflate-echo", Title: "echoes compressed messages of every length up to the limit, and compresses what has 2,000 bytes and more", Run: checkEcho},
	{Name: "deflate-plain", Title: "echoes messages that are not compressed, among others that are", Run: checkPlain},
	{Name: "deflate-blocks", Title: "inflates messages of several blocks, stored ones, and a last one", Run: checkBlocks},
	{Name: "deflate-fragments", Title: "puts a compressed message together from fragments, and answers control frames between them", Run: checkFragments},
	{Name: "deflate-empty", Title: "echoes a compressed message of no bytes", Run: checkEmpty},
	{Name: "deflate-concurrent", Title: "keeps the compressed messages of 50 connections apart", Run: checkConcurrent},
	{Name: "deflate-control", Title: "neither compresses control frames nor accepts RSV1 but on the first frame of a message: 1002", Run: checkControl},
	{Name: "deflate-invalid", Title: "refuses a message that does not inflate, by 1007 or another end", Run: checkInvalid},
	{Name: "deflate-utf8", Title: "closes with 1007 over compressed text that is not UTF-8", Run: checkUTF8},
	{Name: "deflate-limit", Title: "echoes what inflates to the limit, and refuses what inflates to more, by 1009 or another end", Run: checkLimit},
}

// takeoverChecks are those of servers with context takeover alone.
var takeoverChecks = []exam.Case{
	{Name: "deflate-takeover", Title: "keeps the context of both directions from one message to the next", Run: checkTakeover},
}

// Checks are those of a way of compression.
func Checks(way string) []exam.Case {
	list := slices.Clone(checks)
	if way == contract.CompressionTakeover {
		list = append(list, takeoverChecks...)
	}
	for i := range list {
		list[i].Section = exam.Compression
	}
	return list
}

func checkOffer(e *exam.Exam) {
	s := e.Start()
	open(s).trip("a compressed message", frame.OpText, []byte("hello"))

	ours := offerOf(s.Options)
	agrees := func(what string, want bool, fields ...string) {
		c := &client{Conn: s.Connect(), boundable: slices.ContainsFunc(fields, offersBound)}
		r := exam.Handshake()
		for _, offer := range fields {
			r = r.And(field + offer)
		}
		c.Write("a handshake with "+what, r.Bytes())
		agreed := c.agreed(c.ExpectUpgrade())
		if got := agreed != ""; got != want {
			c.Got(exam.QuoteField(map[string][]string{"Sec-Websocket-Extensions": {agreed}}, "Sec-Websocket-Extensions"),
				map[bool]string{true: name, false: "no extension"}[want], "RFC 6455 section 9.1")
		}
		if !want {
			c.RoundTrip()
		}
	}
	agrees("no offer", false)
	agrees("an unknown extension", false, "mine; a=1")
	agrees("an unknown extension and "+name, true, "mine, "+ours)
	agrees("an unknown extension and "+name+" in another field", true, "mine", ours)
	agrees(name+" and a bound of the client's window", true, ours+"; "+clientBound)
}

func offersBound(field string) bool { return strings.Contains(field, clientBound) }

func checkDecline(e *exam.Exam) {
	s := e.Start()
	for _, parameters := range []string{
		"mine", "mine=1", "client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=x", "server_max_window_bits",
		"server_max_window_bits=99", "server_no_context_takeover=1", "client_max_window_bits; client_max_window_bits",
	} {
		c := &client{Conn: s.Connect()}
		c.Write("a handshake with "+name+"; "+parameters, exam.Handshake().With(field+name+"; "+parameters).Bytes())
		// To refuse the handshake is more than to decline the offer, and safe too.
		response, err := c.Response()
		if err == nil && response.StatusCode == 101 && response.Header.Get("Sec-WebSocket-Extensions") != "" {
			c.Got(exam.QuoteField(response.Header, "Sec-WebSocket-Extensions"), "no extension", "RFC 7692 section 7.1")
		}
		if err != nil && !exam.Ended(err) {
			c.Got(exam.Describe(err), "status 101 or a refusal", "RFC 7692 section 7.1")
		}
	}
}

func checkEcho(e *exam.Exam) {
	s := e.Start()
	c := open(s)
	limit := s.Options.MaxMessage
	for _, op := range []frame.Opcode{frame.OpText, frame.OpBinary} {
		for _, n := range []int{1, 2, 125, 126, 127, 511, 512, 1024, 2000, 4000, 32768, limit - 1, limit} {
			what := fmt.Sprintf("a compressed %s message of %d bytes", op, n)
			size, compressed := c.trip(what, op, frame.Pattern(n))
			if (n == 2000 || n == 4000) && (!compressed || size >= n) {
				c.Got(fmt.Sprintf("%d bytes, compressed: %v", size, compressed), "an echo that is compressed", "the contract")
			}
		}
	}
	// What cannot be made smaller comes back too.
	noise := make([]byte, 4000)
	random := rand.NewChaCha8([32]byte{})
	random.Read(noise)
	c.trip("4,000 random bytes, compressed", frame.OpBinary, noise)
}

func checkPlain(e *exam.Exam) {
	c := open(e.Start())
	for i := range 20 {
		message := frame.Pattern(100 * i)
		if i%2 == 0 {
			c.trip("a compressed message", frame.OpText, message)
			continue
		}
		c.Send("a message that is not compressed, after one that is", frame.Frame{Op: frame.OpText, Payload: message})
		c.expect(frame.OpText, message)
	}
}

func checkBlocks(e *exam.Exam) {
	s := e.Start()
	// The examples of RFC 7692 section 7.2.3.
	for what, payload := range map[string]string{
		"one block (7.2.3.1)":                "\xf2\x48\xcd\xc9\xc9\x07\x00",
		"a stored block (7.2.3.3)":           "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
		"a last block (7.2.3.4)":             "\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
		"two blocks (7.2.3.5)":               "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
		"stored blocks of two and of three":  "\x00\x02\x00\xfd\xff\x48\x65\x00\x03\x00\xfc\xff\x6c\x6c\x6f\x00",
		"an empty block and then the others": "\x00\x00\x00\xff\xff\xf2\x48\xcd\xc9\xc9\x07\x00",
	} {
		c := open(s)
		for range 2 {
			c.Send("\"Hello\" compressed as "+what, frame.Frame{Op: frame.OpText, Reserved: frame.RSV1, Payload: []byte(payload)})
			c.expect(frame.OpText, []byte("Hello"))
		}
	}
}

func checkFragments(e *exam.Exam) {
	c := open(e.Start())
	message := frame.Pattern(3000)
	for range 2 {
		payload := c.compress(message)
		frames := []frame.Frame{{Op: frame.OpText, More: true, Reserved: frame.RSV1, Payload: payload[:1]}}
		frames = append(frames, frame.Frame{Op: frame.OpContinuation, More: true})
		frames = append(frames, frame.Frame{Op: frame.OpPing, Payload: []byte("between")})
		frames = append(frames, frame.Frame{Op: frame.OpContinuation, More: true, Payload: payload[1:10]})
		frames = append(frames, frame.Frame{Op: frame.OpContinuation, Payload: payload[10:]})
		c.Send("a compressed message in four fragments, one of them empty, and a ping between them", frames...)
		c.ExpectPong([]byte("between"))
		c.expect(frame.OpText, message)
		c.Send("a message that is not compressed, in two fragments",
			frame.Frame{Op: frame.OpText, More: true, Payload: message[:10]}, frame.Frame{Op: frame.OpContinuation, Payload: message[10:]})
		c.expect(frame.OpText, message)
	}
	c.Send("100 fragments of one byte", fragments(c.compress(frame.Pattern(100)))...)
	c.expect(frame.OpBinary, frame.Pattern(100))
}

// fragments cuts a compressed message into bytes.
func fragments(payload []byte) []frame.Frame {
	frames := frame.Fragmented(frame.OpBinary, payload, 1)
	frames[0].Reserved = frame.RSV1
	return frames
}

func checkEmpty(e *exam.Exam) {
	s := e.Start()
	c := open(s)
	for range 2 {
		c.Send("a compressed message of no bytes (RFC 7692 section 7.2.3.6)", frame.Frame{Op: frame.OpText, Reserved: frame.RSV1, Payload: []byte{0}})
		c.expect(frame.OpText, nil)
		c.Send("an empty message that is not compressed", frame.Frame{Op: frame.OpText})
		c.expect(frame.OpText, nil)
		c.trip("a compressed message", frame.OpText, []byte("hello"))
	}
	// Nothing at all inflates to nothing, but no compressor makes it.
	c = open(s)
	c.Send("a compressed message whose frame has no payload", frame.Frame{Op: frame.OpBinary, Reserved: frame.RSV1})
	f, err := c.TryFrame()
	if taken := err == nil && f.Op == frame.OpBinary; !taken && !(err == nil && f.Op == frame.OpClose) && !(err != nil && exam.Ended(err)) {
		c.Got(fmt.Sprintf("%v, %v", f, err), "an echo, a close frame or the end of the connection", "RFC 7692 section 7.2.2")
	}
}

func checkConcurrent(e *exam.Exam) {
	s := e.Start()
	conns := make([]*client, 50)
	for i := range conns {
		conns[i] = open(s)
	}
	message := func(i, round int) []byte {
		return append(fmt.Appendf(nil, "connection %d, round %d: ", i, round), frame.Pattern(100*i)...)
	}
	for round := range 3 {
		for i, c := range conns {
			c.Send("a compressed message on each of 50 connections", c.compressed(frame.OpBinary, message(i, round)))
		}
		for i, c := range conns {
			c.expect(frame.OpBinary, message(i, round))
		}
	}
}

func checkControl(e *exam.Exam) {
	s := e.Start()
	c := open(s)
	payload := bytes.Repeat([]byte("p"), 125) // it would become smaller
	c.Send("a ping, on a connection with compression", frame.Frame{Op: frame.OpPing, Payload: payload})
	c.ExpectPong(payload)
	c.trip("a compressed message", frame.OpText, []byte("hello"))
	c.Send("a close frame, on a connection with compression", frame.Closing(1000, ""))
	c.ExpectCloseAnswer(1000, exam.NoCode)

	const section = "RFC 7692 section 6.1"
	for _, wrong := range []struct {
		what   string
		frames []frame.Frame
	}{
		{"a ping with RSV1", []frame.Frame{{Op: frame.OpPing, Reserved: frame.RSV1, Payload: []byte{0}}}},
		{"a fragment with RSV1 that is not the first", []frame.Frame{{Op: frame.OpText, Reserved: frame.RSV1, More: true, Payload: []byte("\xf2\x48")}, {Op: frame.OpContinuation, Reserved: frame.RSV1, Payload: []byte("\xcd\xc9\xc9\x07\x00")}}},
		{"a text frame with RSV2", []frame.Frame{{Op: frame.OpText, Reserved: 2, Payload: []byte("x")}}},
	} {
		c := open(s)
		c.Send(wrong.what, wrong.frames...)
		c.expectEnd(section, 1002)
	}
}

func checkInvalid(e *exam.Exam) {
	s := e.Start()
	const section = "RFC 7692 section 7.2.2"
	for what, payload := range map[string]string{
		"a block of a type that does not exist":  "\x06\x00",
		"a stored block with the wrong length":   "\x00\x05\x00\x00\x00hello",
		"a compressed message of 0xFF bytes":     "\xff\xff\xff\xff\xff\xff",
		"a reference before the message's start": "\xf2\x00\x11\x00\x00",
	} {
		c := open(s)
		c.Send(what, frame.Frame{Op: frame.OpBinary, Reserved: frame.RSV1, Payload: []byte(payload)})
		c.expectEnd(section)
	}
}

func checkUTF8(e *exam.Exam) {
	s := e.Start()
	c := open(s)
	c.trip("compressed text with characters of several bytes", frame.OpText, []byte("κόσμε"))
	for _, text := range []string{"text \xff", "text \xce\xba\xe1\xbd"} {
		c := open(s)
		c.Send(fmt.Sprintf("a compressed text message %q", text), c.compressed(frame.OpText, []byte(text)))
		c.expectEnd("RFC 6455 section 8.1", 1007)
	}
}

func checkLimit(e *exam.Exam) {
	s := e.Start()
	const section = "the contract"
	limit := s.Options.MaxMessage
	c := open(s)
	c.trip("a compressed message of the limit", frame.OpBinary, make([]byte, limit))
	for _, size := range []int{limit + 1, 10 * limit, 500 * limit} {
		c := open(s)
		bomb := bomb(size)
		if len(bomb) > limit {
			continue // its frame is too large already
		}
		c.Send(fmt.Sprintf("%d compressed bytes that inflate to %d, more than the limit of %d", len(bomb), size, limit), frame.Frame{Op: frame.OpBinary, Reserved: frame.RSV1, Payload: bomb})
		c.expectEnd(section)
	}
}

// bomb is a compressed message of so many zeros.
func bomb(size int) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestCompression) // there is such a level
	w.Write(make([]byte, size))
	w.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte(flushed))
}

func checkTakeover(e *exam.Exam) {
	c := open(e.Start())
	// No message can be compressed by itself, and all but the first by the one before, which is
	// small enough for the smallest window that a server is likely to have.
	noise := make([]byte, 3000)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(noise)
	first, compressed := c.trip("random bytes, compressed", frame.OpBinary, noise)
	for i := range 5 {
		size, again := c.trip(fmt.Sprintf("the same bytes again, %d times, by reference to those before", i+1), frame.OpBinary, noise)
		// A server may leave the first as they are, for they do not become smaller.
		if (compressed || i > 0) && (!again || size > first/2) {
			c.Got(fmt.Sprintf("%d bytes after %d for the first", size, first), "an echo by reference to the one before", "the contract")
		}
	}
	c.trip("another message", frame.OpText, frame.Pattern(40_000))
	c.trip("a last message", frame.OpText, frame.Pattern(40_000))
}
