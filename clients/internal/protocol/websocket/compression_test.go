package websocket

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/splitmix"
	"connbench/clients/internal/text"
)

// newCompressed is a protocol with compression and an open connection 0, for messages of a size.
func newCompressed(t testing.TB, compression string, size int) (*wire, *Protocol) {
	w, _ := newWire(t)
	config := w.Config(control.Opening{}, testTargets...)
	config.Compression = compression
	p := New(config)
	p.Prepare(protocol.Data, size)
	return w, p
}

// message is a message of the swarm.
func message(p *Protocol, size int, head uint64) []byte {
	b := make([]byte, size)
	p.compression.texts.Prepare(size).Fill(b, head, 0)
	return b
}

// server compresses as a server does, with context takeover or without.
type server struct {
	takeover bool
	out      bytes.Buffer
	w        *flate.Writer
}

func (s *server) compress(message []byte) []byte {
	if s.w == nil || !s.takeover {
		s.out.Reset()
		s.w, _ = flate.NewWriter(&s.out, flate.BestSpeed)
	}
	s.out.Reset()
	s.w.Write(message)
	s.w.Flush()
	return bytes.TrimSuffix(bytes.Clone(s.out.Bytes()), []byte(flushed))
}

// compressedFrame is a frame with RSV1.
func compressedFrame(fin bool, opcode gobwas.OpCode, payload string) string {
	f := gobwas.NewFrame(opcode, fin, []byte(payload))
	f.Header.Rsv = gobwas.Rsv(true, false, false)
	return string(gobwas.MustCompileFrame(f))
}

// What the swarm sends is what a plain reader of DEFLATE inflates, whatever the size, and its
// first frame says so.
func TestMessagesAreCompressed(t *testing.T) {
	for _, size := range []int{0, 1, 7, 8, 9, 200, 2000, 70_000} {
		w, p := newCompressed(t, control.CompressionDeflate, size)
		want := message(p, size, 99)
		if !p.Send(0, want, 1) {
			t.Fatal("it was not sent")
		}
		frame, err := gobwas.ReadFrame(bytes.NewReader(w.Sent))
		if err != nil {
			t.Fatal(err)
		}
		if one, two, three := frame.Header.Rsv1(), frame.Header.Rsv2(), frame.Header.Rsv3(); !one || two || three || frame.Header.OpCode != gobwas.OpBinary || !frame.Header.Fin {
			t.Errorf("%d bytes: %+v", size, frame.Header)
		}
		gobwas.Cipher(frame.Payload, frame.Header.Mask, 0)
		got, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(frame.Payload), strings.NewReader(tail))))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: inflated to %d, %v", size, len(got), err)
		}
		if size >= 200 && len(frame.Payload) > size*4/5 {
			t.Errorf("%d bytes are %d when compressed", size, len(frame.Payload))
		}
	}
}

// Pings and questions are not compressed.
func TestControlFramesAreNotCompressed(t *testing.T) {
	for _, kind := range []protocol.Kind{protocol.Ping, protocol.Text} {
		w, p := newCompressed(t, control.CompressionDeflate, 100)
		p.Prepare(kind, 5)
		p.Send(0, []byte("hello"), 1)
		if w.Sent[0]&reservedBits != 0 {
			t.Errorf("kind %d: the first byte is %#x", kind, w.Sent[0])
		}
	}
}

// The examples of RFC 7692 section 7.2.3.
func TestExamplesOfTheRFC(t *testing.T) {
	for name, test := range map[string]struct {
		compression string
		frames      []string
		want        []string
	}{
		"one block":      {control.CompressionDeflate, []string{"\xf2\x48\xcd\xc9\xc9\x07\x00"}, []string{"Hello"}},
		"no takeover":    {control.CompressionDeflate, []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x48\xcd\xc9\xc9\x07\x00"}, []string{"Hello", "Hello"}},
		"takeover":       {control.CompressionTakeover, []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00"}, []string{"Hello", "Hello"}},
		"stored":         {control.CompressionDeflate, []string{"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"}, []string{"Hello"}},
		"last block":     {control.CompressionDeflate, []string{"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"}, []string{"Hello"}},
		"two blocks":     {control.CompressionDeflate, []string{"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"}, []string{"Hello"}},
		"last, takeover": {control.CompressionTakeover, []string{"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\xf2\x00\x11\x00\x00"}, []string{"Hello", "Hello"}},
		"empty":          {control.CompressionTakeover, []string{"\x00", "\xf2\x48\xcd\xc9\xc9\x07\x00"}, []string{"", "Hello"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 3, 1000} {
				w, p := newCompressed(t, test.compression, 5)
				var stream, want []string
				for i, f := range test.frames {
					stream = append(stream, compressedFrame(true, gobwas.OpBinary, f))
					want = append(want, "received 0 "+test.want[i]+".")
				}
				for piece := range slices.Chunk([]byte(strings.Join(stream, "")), size) {
					p.Data(0, piece)
				}
				w.Expect(want...)
				if p.Held() != 0 {
					t.Errorf("%d entries are held", p.Held())
				}
			}
		})
	}
	// The example of section 7.2.3.1 in two fragments, and a ping between them.
	w, p := newCompressed(t, control.CompressionDeflate, 5)
	p.Data(0, []byte(compressedFrame(false, gobwas.OpText, "\xf2\x48\xcd")+frame(true, gobwas.OpPong, "p")+frame(true, gobwas.OpContinuation, "\xc9\xc9\x07\x00")))
	w.Expect("received 1 p.", "received 2 Hello.")
}

// The window is put together from what is known of the messages, and is the one that a server
// refers to: over echoes of all sizes, messages of its own, and uncompressed ones between, which
// are not in it.
func TestWindow(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, strange := range []int{-1, 40} { // when the server says something of its own
		w, p := newCompressed(t, control.CompressionTakeover, 5)
		s := server{takeover: true}
		for k := range 80 {
			size := []int{0, 3, 8, 100, 2000, 40_000}[random.IntN(6)]
			p.Prepare(protocol.Data, size)
			want := message(p, size, random.Uint64N(20))
			if k == strange {
				want = []byte("breaking news, of the server's own")
			}
			if k%7 == 0 {
				p.Data(0, []byte(frame(true, gobwas.OpBinary, "plain")))
				w.Expect("received 0 plain.")
			}
			p.Data(0, []byte(compressedFrame(true, gobwas.OpBinary, string(s.compress(want)))))
			if w.Expect("received 0 " + string(want) + "."); t.Failed() {
				t.Fatalf("message %d, of %d bytes", k, size)
			}
			total := 0
			history := slices.Concat(p.compression.history...)
			for _, e := range history {
				total += int(e.size)
			}
			if len(history) > 0 && total-int(history[0].size) >= windowBytes {
				t.Fatalf("%d bytes of history are kept", total)
			}
			if (strange >= 0 && k >= strange) != (len(p.compression.raw) > 0) || len(p.compression.raw[0]) > windowBytes {
				t.Fatalf("message %d: a window of %d bytes is kept", k, len(p.compression.raw[0]))
			}
		}
		p.Forget(0)
		if p.Held() != 0 || len(p.compression.raw) != 0 || len(slices.Concat(p.compression.history...)) != 0 {
			t.Error("something is kept of a connection that is no more")
		}
	}
}

// Of messages that are smaller than their entries, the window itself is kept, and it is the one
// that a server refers to.
func TestWindowOfSmallMessages(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const size = 10
	w, p := newCompressed(t, control.CompressionTakeover, size)
	s := server{takeover: true}
	for k := range 2 * windowBytes / size {
		want := message(p, size, random.Uint64())
		p.Data(0, []byte(compressedFrame(true, gobwas.OpBinary, string(s.compress(want)))))
		if w.Expect("received 0 " + string(want) + "."); t.Failed() {
			t.Fatalf("message %d", k)
		}
		if n := len(p.compression.history[0]); n > windowBytes/entryBytes || n > 0 && len(p.compression.raw) > 0 {
			t.Fatalf("message %d: %d entries are kept, and %d windows", k, n, len(p.compression.raw))
		}
	}
	if n := len(p.compression.raw[0]); n == 0 || n > windowBytes {
		t.Errorf("a window of %d bytes is kept", n)
	}
}

// A message may consist of several streams. Each may refer to everything before it.
func TestStreamsInOneMessage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) (b []byte) {
		for range n {
			b = append(b, byte(random.Uint32()))
		}
		return b
	}
	first, one, two := noise(300), noise(500), noise(700)
	stream := func(content, before []byte, last bool) string {
		var out bytes.Buffer
		w, err := flate.NewWriterDict(&out, flate.BestCompression, before)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(content)
		if last {
			w.Close()
			return out.String()
		}
		w.Flush()
		return strings.TrimSuffix(out.String(), flushed)
	}
	reference := stream(first, slices.Concat(first, one, two), false)
	if len(reference) > len(first)/2 {
		t.Fatalf("%d bytes are no reference", len(reference))
	}
	w, p := newCompressed(t, control.CompressionTakeover, 5)
	p.Data(0, []byte(compressedFrame(true, gobwas.OpBinary, stream(first, nil, false))))
	p.Data(0, []byte(compressedFrame(true, gobwas.OpBinary, stream(one, first, true)+stream(two, nil, true)+reference)))
	w.Expect("received 0 "+string(first)+".", "received 0 "+string(slices.Concat(one, two, first))+".")
}

// A connection without context takeover costs nothing, and one with it a few bytes for each
// message of its window.
func TestStateOfCompressedConnections(t *testing.T) {
	_, p := newCompressed(t, control.CompressionDeflate, 100)
	if n := p.StateBytes(); n != 0 {
		t.Errorf("without takeover: %d bytes", n)
	}
	_, p = newCompressed(t, control.CompressionTakeover, 100)
	if n := p.StateBytes(); n != 24+32*entryBytes {
		t.Errorf("with takeover: %d bytes", n)
	}
	if w, p := newWire(t); p.StateBytes() != 0 || w.Gone {
		t.Error("a connection that is not compressed costs something")
	}
}

// What is no compressed message of the server's ends the connection.
func TestBadCompression(t *testing.T) {
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	s := server{}
	bomb := string(s.compress(make([]byte, 10<<20)))
	for name, test := range map[string]struct {
		compression, stream string
	}{
		"none was agreed on":     {"", compressedFrame(true, gobwas.OpBinary, hello)},
		"reserved block":         {control.CompressionDeflate, compressedFrame(true, gobwas.OpBinary, "\x06\x00")},
		"cut off":                {control.CompressionDeflate, compressedFrame(true, gobwas.OpBinary, hello[:3])},
		"a reference to nothing": {control.CompressionDeflate, compressedFrame(true, gobwas.OpBinary, hello) + compressedFrame(true, gobwas.OpBinary, "\xf2\x00\x11\x00\x00")},
		"a compressed ping":      {control.CompressionDeflate, compressedFrame(true, gobwas.OpPing, hello)},
		"a bit in a fragment":    {control.CompressionDeflate, compressedFrame(false, gobwas.OpBinary, hello) + compressedFrame(true, gobwas.OpContinuation, "")},
		"another reserved bit":   {control.CompressionDeflate, "\xe2\x07" + hello},
		"far too long":           {control.CompressionDeflate, compressedFrame(true, gobwas.OpBinary, bomb)},
		"without an end":         {control.CompressionDeflate, compressedFrame(false, gobwas.OpBinary, strings.Repeat("\x00", 200_000))},
	} {
		w, p := newCompressed(t, test.compression, 5)
		if test.compression == "" {
			w, p = newWire(t)
		}
		p.Data(0, []byte(test.stream))
		if n := len(w.Events); n == 0 || w.Events[n-1] != "failed  bad frame" {
			t.Errorf("%s: events %.200q", name, w.Events)
		}
	}
}

func TestExtensions(t *testing.T) {
	const both = "; server_no_context_takeover; client_no_context_takeover"
	for value, want := range map[string][2]error{ // without takeover, with it
		"permessage-deflate" + both: {nil, ErrNoCompression},
		"permessage-deflate;server_no_context_takeover ; server_max_window_bits=10":    {nil, ErrNoCompression},
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=\"8\"": {nil, ErrNoCompression},
		"permessage-deflate":                             {ErrNoCompression, nil},
		"permessage-deflate; server_max_window_bits=15":  {ErrNoCompression, nil},
		"permessage-deflate; client_no_context_takeover": {ErrNoCompression, nil},
		"": {ErrNoCompression, ErrNoCompression},
		"permessage-deflate" + both + "; client_max_window_bits=15":                        {ErrBadAccept, ErrBadAccept},
		"permessage-deflate; server_max_window_bits":                                       {ErrBadAccept, ErrBadAccept},
		"permessage-deflate; server_max_window_bits=07":                                    {ErrBadAccept, ErrBadAccept},
		"permessage-deflate; server_max_window_bits=16":                                    {ErrBadAccept, ErrBadAccept},
		"permessage-deflate; server_max_window_bits=\"10":                                  {ErrBadAccept, ErrBadAccept},
		"permessage-deflate; server_no_context_takeover=1":                                 {ErrBadAccept, ErrBadAccept},
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":       {ErrBadAccept, ErrBadAccept},
		"permessage-deflate; mine":                                                         {ErrBadAccept, ErrBadAccept},
		"permessage-bzip2":                                                                 {ErrBadAccept, ErrBadAccept},
		"permessage-deflate, permessage-deflate":                                           {ErrBadAccept, ErrBadAccept},
		"permessage-deflate\r\nSec-WebSocket-Extensions: permessage-deflate":               {ErrNoCompression, ErrBadAccept},
		"permessage-deflate" + both + "\r\nSec-WebSocket-Extensions: permessage-deflate":   {ErrBadAccept, ErrNoCompression},
		"\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover    ": {ErrNoCompression, nil},
	} {
		for i, compression := range control.Compressions {
			h := NewHandshake(1, testTargets, control.Opening{}, compression)
			if !bytes.Contains(h.Request(0, 0, 0), []byte("\r\nSec-WebSocket-Extensions: permessage-deflate")) {
				t.Fatalf("nothing is offered in %q", h.Request(0, 0, 0))
			}
			answer := "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + string(h.accepts[0][:]) + "\r\n"
			if value != "" {
				answer += "Sec-WebSocket-Extensions: " + value + "\r\n"
			}
			if _, err := h.Check(0, []byte(answer+"\r\n")); !errors.Is(err, want[i]) || (err == nil) != (want[i] == nil) {
				t.Errorf("%s: %q: %v, want %v", compression, value, err, want[i])
			}
		}
	}
}

// FuzzCompressed: however the bytes from a server are cut, what is said of them is the same, and
// what is kept is bounded.
func FuzzCompressed(f *testing.F) {
	s := server{takeover: true}
	texts := text.New(1).Prepare(100)
	echo := make([]byte, 100)
	var echoes string
	for head := range uint64(3) {
		texts.Fill(echo, head, 0)
		echoes += compressedFrame(true, gobwas.OpBinary, string(s.compress(echo)))
	}
	f.Add([]byte(echoes), 7, true)
	f.Add([]byte(compressedFrame(true, gobwas.OpBinary, "\xf2\x48\xcd\xc9\xc9\x07\x00")+compressedFrame(true, gobwas.OpBinary, "\xf2\x00\x11\x00\x00")), 1, true)
	f.Add([]byte(compressedFrame(false, gobwas.OpText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00")+frame(true, gobwas.OpPing, "x")+frame(true, gobwas.OpContinuation, "\x00")), 2, false)
	f.Add([]byte(compressedFrame(true, gobwas.OpBinary, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")+frame(true, gobwas.OpBinary, "plain")), 3, false)
	f.Fuzz(func(t *testing.T, stream []byte, size int, takeover bool) {
		if size < 1 {
			return
		}
		compression := control.CompressionDeflate
		if takeover {
			compression = control.CompressionTakeover
		}
		feed := func(size int) *wire {
			w, p := newCompressed(t, compression, 100)
			for piece := range slices.Chunk(stream, size) {
				if p.Data(0, slices.Clone(piece)); w.Gone {
					break
				}
				if c := p.compression; len(c.partial[0]) > 2*leastBound || len(c.raw[0]) > windowBytes || len(c.inflater.out) > 2*leastBound {
					t.Fatalf("%d bytes of a message are kept, and %d of a window", len(c.partial[0]), len(c.raw[0]))
				}
			}
			p.Forget(0)
			if p.Held() != 0 || len(p.compression.raw) != 0 {
				t.Fatal("something is left over")
			}
			return w
		}
		if whole, pieces := feed(len(stream)+1), feed(size); !slices.Equal(whole.Events, pieces.Events) {
			t.Fatalf("whole: %q; in pieces of %d: %q", whole.Events, size, pieces.Events)
		}
	})
}

// BenchmarkReceive is an echo of 2,000 bytes, compressed with a full window and without one.
func BenchmarkReceive(b *testing.B) {
	for _, compression := range control.Compressions {
		b.Run(compression, func(b *testing.B) {
			const size = 2000
			_, p := newCompressed(b, compression, size)
			s := server{takeover: compression == control.CompressionTakeover}
			var messages [][]byte
			for head := range uint64(64) {
				messages = append(messages, s.compress(message(p, size, splitmix.Mix(head))))
			}
			b.SetBytes(size)
			for b.Loop() {
				p.compression.forget(0)
				for _, m := range messages {
					if got, _, err := p.compression.receive(0, Piece{Payload: m, Last: true}); err != nil || binary.LittleEndian.Uint64(got) == 0 {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkPrepare(b *testing.B) {
	for b.Loop() {
		deflate(text.New(1).Prepare(2000))
	}
}
