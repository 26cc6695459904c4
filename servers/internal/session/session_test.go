package session

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"

	"connbench/servers/internal/opening"
)

const maxMessage = 1000

var rules = Rules{MaxMessage: maxMessage}

const request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// masked is a frame as a client sends it.
func masked(op ws.OpCode, fin bool, payload string) string {
	return wire(ws.MaskFrameWith(ws.NewFrame(op, fin, []byte(payload)), [4]byte{1, 2, 3, 4}))
}

// plain is a frame as a server sends it.
func plain(op ws.OpCode, payload string) string {
	return wire(ws.NewFrame(op, true, []byte(payload)))
}

func wire(f ws.Frame) string { return string(ws.MustCompileFrame(f)) }

func closeFrame(code ws.StatusCode) string {
	return plain(ws.OpClose, string(ws.NewCloseFrameBody(code, "")))
}

// opened is a session after its handshake.
func opened(t testing.TB) *Session {
	s := new(Session)
	_, out, next := s.Feed([]byte(request), nil, rules)
	if !s.Upgraded() || next != Continue || !bytes.HasPrefix(out, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("handshake: %v, %q", next, out)
	}
	return s
}

func TestConversations(t *testing.T) {
	text, binary, cont := ws.OpText, ws.OpBinary, ws.OpContinuation
	unmasked := ws.NewFrame(text, true, []byte("x"))
	reserved := ws.MaskFrame(ws.NewFrame(text, true, []byte("x")))
	reserved.Header.Rsv = ws.Rsv(false, true, false)
	long := strings.Repeat("long", maxMessage/4)

	for name, c := range map[string]struct {
		in, out string
		next    Next
	}{
		"text":                  {masked(text, true, "Grüße"), plain(text, "Grüße"), Continue},
		"empty":                 {masked(binary, true, ""), plain(binary, ""), Continue},
		"largest":               {masked(binary, true, long), plain(binary, long), Continue},
		"fragments":             {masked(text, false, "a") + masked(cont, false, "") + masked(cont, true, "b"), plain(text, "ab"), Continue},
		"rune over fragments":   {masked(text, false, "\xc3") + masked(cont, true, "\xbc"), plain(text, "ü"), Continue},
		"ping between":          {masked(text, false, "a") + masked(ws.OpPing, true, "p") + masked(cont, true, "b"), plain(ws.OpPong, "p") + plain(text, "ab"), Continue},
		"pong":                  {masked(ws.OpPong, true, "p"), "", Continue},
		"close":                 {masked(ws.OpClose, true, "\x03\xe8bye") + masked(text, true, "late"), closeFrame(1000), Close},
		"close, private code":   {masked(ws.OpClose, true, "\x0f\xa0"), closeFrame(4000), Close},
		"close, no code":        {masked(ws.OpClose, true, ""), plain(ws.OpClose, ""), Close},
		"close, half a code":    {masked(ws.OpClose, true, "\x03"), closeFrame(1002), Fail},
		"close, reserved code":  {masked(ws.OpClose, true, "\x03\xed"), closeFrame(1002), Fail},
		"close, code 5000":      {masked(ws.OpClose, true, "\x13\x88"), closeFrame(1002), Fail},
		"close, reason no text": {masked(ws.OpClose, true, "\x03\xe8\xff"), closeFrame(1007), Fail},
		"unmasked":              {wire(unmasked), closeFrame(1002), Fail},
		"reserved bit":          {wire(reserved), closeFrame(1002), Fail},
		"reserved opcode":       {masked(3, true, ""), closeFrame(1002), Fail},
		"reserved control":      {masked(11, true, ""), closeFrame(1002), Fail},
		"large ping":            {masked(ws.OpPing, true, long[:126]), closeFrame(1002), Fail},
		"fragmented ping":       {masked(ws.OpPing, false, "p"), closeFrame(1002), Fail},
		"nothing to continue":   {masked(cont, true, "x"), closeFrame(1002), Fail},
		"message in message":    {masked(text, false, "a") + masked(text, true, "b"), closeFrame(1002), Fail},
		"after an echo":         {masked(text, true, "a") + masked(3, true, ""), plain(text, "a") + closeFrame(1002), Fail},
		"too large":             {masked(binary, true, long+"!"), closeFrame(1009), Fail},
		"too large, declared":   {masked(binary, true, long+"!")[:4+4], closeFrame(1009), Fail},
		"too large, fragments":  {masked(binary, false, long) + masked(cont, true, "!"), closeFrame(1009), Fail},
		"length of 2^63":        {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00mask", closeFrame(1002), Fail},
		"not UTF-8":             {masked(text, true, "\xff"), closeFrame(1007), Fail},
		"half a rune":           {masked(text, true, "\xc3"), closeFrame(1007), Fail},
		"half a frame":          {masked(text, true, "abc")[:7], "", Continue},
	} {
		t.Run(name, func(t *testing.T) {
			s := opened(t)
			defer s.Release()
			_, out, next := s.Feed([]byte(c.in), nil, rules)
			if string(out) != c.out || next != c.next {
				t.Errorf("got %q, then %v; want %q, then %v", out, next, c.out, c.next)
			}
			if s.Ended() != (c.next != Continue) {
				t.Errorf("Ended() = %v after %v", s.Ended(), next)
			}
		})
	}
}

func TestHandshakes(t *testing.T) {
	header := func(old, new string) string { return strings.Replace(request, old, new, 1) }
	large := func(bytes int) string {
		return strings.Replace(request, "\r\n\r\n", "\r\nCookie: "+strings.Repeat("c", bytes)+"\r\n\r\n", 1)
	}
	for name, c := range map[string]struct {
		in, out string // the answer's beginning
	}{
		"good":               {request, "HTTP/1.1 101 Switching Protocols\r\n"},
		"other lists":        {header("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"), "HTTP/1.1 101 "},
		"nearly too large":   {large(opening.MaxBytes - len(request) - len("\r\nCookie: ")), "HTTP/1.1 101 "},
		"too large":          {large(opening.MaxBytes - len(request) - len("\r\nCookie: ") + 1), "HTTP/1.1 431 "},
		"without an end":     {large(opening.MaxBytes)[:opening.MaxBytes+1], "HTTP/1.1 431 "},
		"POST":               {header("GET", "POST"), "HTTP/1.1 405 "},
		"HTTP/1.0":           {header("HTTP/1.1", "HTTP/1.0"), "HTTP/1.1 505 "},
		"no key":             {header("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "HTTP/1.1 400 "},
		"version 8":          {header("Version: 13", "Version: 8"), "HTTP/1.1 426 "},
		"no request at all":  {"\x16\x03\x01\r\n\r\n", "HTTP/1.1 400 "},
		"half":               {request[:len(request)-1], ""},
		"followed by frames": {request + masked(ws.OpText, true, "early"), "HTTP/1.1 101 "},
	} {
		t.Run(name, func(t *testing.T) {
			var s Session
			defer s.Release()
			_, out, next := s.Feed([]byte(c.in), nil, rules)
			if !strings.HasPrefix(string(out), c.out) {
				t.Fatalf("got %q, want it to begin with %q", out, c.out)
			}
			good := strings.HasPrefix(c.out, "HTTP/1.1 101")
			if s.Upgraded() != good {
				t.Errorf("Upgraded() = %v", s.Upgraded())
			}
			if refused := !good && c.out != ""; refused != (next == Fail) {
				t.Errorf("then %v", next)
			}
			if early := strings.HasSuffix(string(out), plain(ws.OpText, "early")); early != (name == "followed by frames") {
				t.Errorf("got %q", out)
			}
		})
	}
}

// FuzzSplit feeds a stream whole, and in pieces as seed has it: the answers must
// be the same.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(masked(ws.OpText, false, "a")+masked(ws.OpPing, true, "ping")+masked(ws.OpContinuation, true, "b")+masked(ws.OpClose, true, "\x03\xe8")), uint64(1))
	f.Add([]byte(masked(ws.OpBinary, true, strings.Repeat("x", 700))+masked(ws.OpText, true, "\xff")), uint64(2))
	f.Add([]byte(masked(ws.OpBinary, false, strings.Repeat("x", 700))+masked(ws.OpContinuation, false, strings.Repeat("x", 700))), uint64(3))
	f.Add([]byte("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00mask"), uint64(4))
	f.Add([]byte(strings.Repeat(masked(ws.OpPing, true, ""), 3*FramesPerTurn)), uint64(5))
	f.Fuzz(func(t *testing.T, frames []byte, seed uint64) {
		splitAlike(t, append([]byte(request), frames...), seed)
	})
}

// FuzzHandshake is FuzzSplit for the request.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte(request+masked(ws.OpText, true, "early")), uint64(1))
	f.Add([]byte("\r\n\r\n"+strings.ReplaceAll(request, "\r\n", "\n")), uint64(2))
	f.Add([]byte("GET / HTTP/1.0\r\n\r\nmore"), uint64(3))
	f.Add([]byte(strings.Replace(request, "\r\n", "\r\nX: "+strings.Repeat("x", opening.MaxBytes)+"\r\n", 1)), uint64(4))
	f.Fuzz(splitAlike)
}

func splitAlike(t *testing.T, stream []byte, seed uint64) { splitAlikeBy(t, stream, seed, rules) }

func splitAlikeBy(t *testing.T, stream []byte, seed uint64, rules Rules) {
	whole, wholeSession := feed(stream, rules, func(left int) int { return left })
	for _, size := range []func(int) int{
		func(int) int { return 1 },
		func(left int) int { return 1 + rand.New(rand.NewPCG(seed, uint64(left))).IntN(left) },
	} {
		split, splitSession := feed(stream, rules, size)
		if undated(whole) != undated(split) {
			t.Errorf("whole: %q\nsplit: %q", whole, split)
		}
		if wholeSession != splitSession {
			t.Errorf("whole: %+v, split: %+v", wholeSession, splitSession)
		}
	}
}

// end is what a session can be asked about at its end.
type end struct {
	upgraded, ended bool
	next            Next
}

// feed feeds stream in pieces; size says how long the next one is.
func feed(stream []byte, rules Rules, size func(left int) int) ([]byte, end) {
	stream = bytes.Clone(stream)
	var (
		s    Session
		out  []byte
		last Next
	)
	defer s.Release()
	for len(stream) > 0 {
		n := size(len(stream))
		for rest := stream[:n]; len(rest) > 0; {
			var next Next
			if rest, out, next = s.Feed(rest, out, rules); next != Continue {
				last = next
			}
		}
		stream = stream[n:]
	}
	return out, end{s.Upgraded(), s.Ended(), last}
}

// FuzzInspector compares an Inspector with the Session that it stands in for.
func FuzzInspector(f *testing.F) {
	f.Add([]byte(masked(ws.OpText, false, "a")+masked(ws.OpPing, true, "ping")+masked(ws.OpContinuation, true, "b")), uint64(1))
	f.Add([]byte(masked(ws.OpBinary, true, "")+masked(ws.OpText, false, "")+masked(ws.OpContinuation, true, "")+masked(3, true, "")), uint64(2))
	f.Add([]byte(masked(ws.OpBinary, true, "x")+plain(ws.OpBinary, "x")), uint64(3))
	f.Fuzz(func(t *testing.T, frames []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		var inspector Inspector
		s := Session{phase: open}
		defer s.Release()
		for rest := frames; len(rest) > 0; {
			piece := rest[:1+random.IntN(len(rest))]
			may := 1 + random.IntN(3)
			n, left, found := inspector.Inspect(piece, maxMessage, may)
			if left < 0 || left > may || n == 0 && found == (Finding{}) {
				t.Fatalf("%d bytes taken, %d of %d frames left", n, left, may)
			}
			// What an Inspector lets pass, a Session may answer by anything but a
			// complaint about a header: the codes below are for payloads.
			out, next := feedAll(&s, piece[:n])
			if found.Violation != 0 {
				if next != Continue {
					return // ended before, for its payload
				}
				out, next = feedAll(&s, piece[n:])
				if next != Fail || !bytes.HasSuffix(out, []byte(closeFrame(found.Violation))) {
					t.Fatalf("Inspector: %v, Session: %q, then %v", found.Violation, out, next)
				}
				return
			}
			if next != Continue {
				return
			}
			if found.Empty != 0 && !bytes.HasSuffix(out, []byte(plain(found.Empty, ""))) {
				t.Fatalf("Inspector: empty message, Session: %q", out)
			}
			if inspector.AtRest() != (s.partial == nil) {
				t.Fatalf("Inspector at rest: %v, Session: %+v", inspector.AtRest(), s.partial)
			}
			rest = rest[n:]
		}
	})
}

// feedAll feeds in as many turns as it takes.
func feedAll(s *Session, in []byte) (out []byte, next Next) {
	for rest := bytes.Clone(in); len(rest) > 0 && next == Continue; {
		rest, out, next = s.Feed(rest, out, rules)
	}
	return out, next
}

// FuzzHeader compares the header codec with that of gobwas/ws.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(masked(ws.OpText, true, "x")))
	f.Add([]byte(plain(ws.OpBinary, strings.Repeat("x", 126))))
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		want, wantErr := ws.ReadHeader(r)
		var reader headerReader
		got, rest, done, gotErr := reader.read(in)
		if !done {
			if wantErr == nil {
				t.Fatalf("incomplete; want %+v", want)
			}
			return
		}
		if (gotErr != nil) != (wantErr != nil) || gotErr == nil && got != want || len(rest) != r.Len() {
			t.Fatalf("got %+v, %v, %d bytes left; want %+v, %v, %d bytes left", got, gotErr, len(rest), want, wantErr, r.Len())
		}
		if gotErr == nil && got.Length <= maxMessage {
			header := ws.Header{Fin: true, OpCode: got.OpCode, Length: got.Length}
			var written bytes.Buffer
			if err := ws.WriteHeader(&written, header); err != nil {
				t.Fatal(err)
			}
			if appended := appendHeader(nil, header.OpCode, int(header.Length)); !bytes.Equal(appended, written.Bytes()) {
				t.Fatalf("got %x, want %x", appended, written.Bytes())
			}
		}
	})
}

// TestIdleSessionHoldsNothing is what the package promises: an idle connection
// costs its Session and no byte more.
func TestIdleSessionHoldsNothing(t *testing.T) {
	if size := unsafe.Sizeof(Session{}); size > 16 {
		t.Errorf("a Session has %d bytes", size)
	}
	s := opened(t)
	stream := masked(ws.OpText, false, "a") + masked(ws.OpPing, true, "p") + masked(ws.OpContinuation, true, "b")
	for i := range stream {
		if s.partial == nil && i > 0 {
			t.Fatalf("nothing is held after %d bytes of an unfinished message", i)
		}
		s.Feed([]byte{stream[i]}, nil, rules)
	}
	if s.partial != nil {
		t.Errorf("%+v is held after a whole message", s.partial)
	}
}

// TestShareOfATurn: many small frames in one segment are handled in several turns.
func TestShareOfATurn(t *testing.T) {
	const n = 3*FramesPerTurn + 1
	s := opened(t)
	in := []byte(strings.Repeat(masked(ws.OpPing, true, "p"), n))
	var out []byte
	turns := 0
	for rest := in; len(rest) > 0; turns++ {
		before, had := len(out), len(rest)
		rest, out, _ = s.Feed(rest, out, rules)
		if pongs := (len(out) - before) / len(plain(ws.OpPong, "p")); pongs > FramesPerTurn || len(rest) == had {
			t.Fatalf("turn %d answers %d frames and leaves %d of %d bytes", turns, pongs, len(rest), had)
		}
	}
	if turns != 4 || string(out) != strings.Repeat(plain(ws.OpPong, "p"), n) {
		t.Errorf("%d turns, %d bytes of pongs", turns, len(out))
	}
}

func TestEchoDoesNotAllocate(t *testing.T) {
	s := opened(t)
	frame := []byte(masked(ws.OpText, true, strings.Repeat("x", 64)))
	in, out := make([]byte, len(frame)), make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() {
		copy(in, frame)
		_, out, _ = s.Feed(in, out[:0], rules)
	}); n != 0 {
		t.Errorf("%v allocations for an echo", n)
	}
	if want := plain(ws.OpText, strings.Repeat("x", 64)); string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func BenchmarkEcho64(b *testing.B) {
	benchmarkEcho(b, []byte(masked(ws.OpBinary, true, strings.Repeat("x", 64))), func(s *Session, in, out []byte) []byte {
		_, out, _ = s.Feed(in, out, rules)
		return out
	})
}

// BenchmarkEcho64Split is the echo of a frame that comes in two halves.
func BenchmarkEcho64Split(b *testing.B) {
	benchmarkEcho(b, []byte(masked(ws.OpBinary, true, strings.Repeat("x", 64))), func(s *Session, in, out []byte) []byte {
		_, out, _ = s.Feed(in[:len(in)/2], out, rules)
		_, out, _ = s.Feed(in[len(in)/2:], out, rules)
		return out
	})
}

func benchmarkEcho(b *testing.B, frame []byte, feed func(s *Session, in, out []byte) []byte) {
	s := opened(b)
	in, out := make([]byte, len(frame)), make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		copy(in, frame) // Feed unmasks it in place
		out = feed(s, in, out[:0])
	}
	b.ReportMetric(float64(unsafe.Sizeof(*s)), "state-bytes/conn")
}

func BenchmarkHandshake(b *testing.B) {
	in, out := make([]byte, len(request)), make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		var s Session
		copy(in, request)
		_, out, _ = s.Feed(in, out[:0], rules)
	}
}
