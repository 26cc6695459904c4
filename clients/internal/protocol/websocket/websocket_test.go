package websocket

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	gobwas "github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
)

// wire is an engine that takes as many bytes as there is room for, and a handler that
// notes what it is told.
type wire struct {
	engine.Engine
	t      testing.TB
	room   int
	err    error
	sent   []byte
	events []string
	counts []string
	gone   bool
	last   bool // the last piece received was the end of its message
}

func (w *wire) Send(_ int, p []byte) (int, error) {
	if w.gone {
		w.t.Fatal("sent on a connection that is no more")
	}
	if w.err != nil {
		return 0, w.err
	}
	n := min(len(p), w.room)
	w.room -= n
	w.sent = append(w.sent, p[:n]...)
	return n, nil
}

func (w *wire) note(format string, values ...any) (alive bool) {
	if w.gone {
		w.t.Fatalf("told of a connection that is no more: "+format, values...)
	}
	w.events = append(w.events, fmt.Sprintf(format, values...))
	return true
}

func (w *wire) Opened(int) bool   { return w.note("opened") }
func (w *wire) Writable(int)      { w.note("writable") }
func (w *wire) Finished(int)      { w.note("finished"); w.gone = true }
func (w *wire) Count(name string) { w.counts = append(w.counts, name) }
func (w *wire) Failed(_ int, why engine.Failure) {
	w.note("failed %s %s", why.Phase, why.Name())
	w.gone = true
}

func (w *wire) Received(_ int, p protocol.Piece) bool {
	if n := len(w.events); n > 0 && !w.last {
		w.events[n-1] += string(p.Payload) // however it is cut, it is one message
	} else {
		w.note("received %d %s", p.Kind, p.Payload)
	}
	if w.last = p.Last; p.Last {
		w.events[len(w.events)-1] += "."
	}
	return true
}

func newWire(t testing.TB) (*wire, *Protocol) {
	w := &wire{t: t, room: 1 << 30, last: true}
	p := New(protocol.Config{
		Engine: w, Handler: w, Targets: testTargets, Seed: 1,
		Number: func(i int) uint64 { return uint64(i) },
		Target: func(int) int { return 0 },
		Label:  func(i int) uint64 { return uint64(i) },
	})
	p.Prepare(protocol.Data, 5)
	return w, p
}

// frames are the client's frames in what was sent, unmasked.
func (w *wire) frames() (list []string) {
	w.t.Helper()
	in := bytes.NewReader(w.sent)
	for in.Len() > 0 {
		frame, err := gobwas.ReadFrame(in)
		if err != nil || !frame.Header.Masked {
			w.t.Fatalf("%q: %v", w.sent, err)
		}
		gobwas.Cipher(frame.Payload, frame.Header.Mask, 0)
		list = append(list, fmt.Sprintf("%d %s", frame.Header.OpCode, frame.Payload))
	}
	return list
}

func expectEvents(t *testing.T, w *wire, want ...string) {
	t.Helper()
	if !slices.Equal(w.events, want) {
		t.Errorf("events %q, want %q", w.events, want)
	}
	w.events = nil
}

func expectFrames(t *testing.T, w *wire, want ...string) {
	t.Helper()
	if got := w.frames(); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	w.sent = nil
}

// The request goes on where it stopped; its answer comes with the first frame behind.
func TestOpenInPieces(t *testing.T) {
	w, p := newWire(t)
	w.room = 10
	p.Open(0)
	w.room = 0
	p.Open(0)
	w.room = 1 << 20
	p.Open(0)
	want := p.handshake.Request(0, p.key(0), 0)
	if !bytes.Equal(w.sent, want) || p.Held() != 0 {
		t.Errorf("sent %q, want %q; %d entries are held", w.sent, want, p.Held())
	}
	answer := "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + string(p.handshake.accepts[p.key(0)][:]) + "\r\n\r\n"
	p.Answer(0, []byte(answer[:20]))
	p.Answer(0, []byte(answer[20:]+frame(true, gobwas.OpBinary, "hello")))
	expectEvents(t, w, "opened", "received 0 hello.")
	if p.Held() != 0 {
		t.Errorf("%d entries are held", p.Held())
	}
}

// An answer to half a request is none.
func TestAnswerBeforeTheRequest(t *testing.T) {
	w, p := newWire(t)
	w.room = 10
	p.Open(0)
	p.Answer(0, []byte("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+string(p.handshake.accepts[p.key(0)][:])+"\r\n\r\n"))
	expectEvents(t, w, "failed  bad answer")
}

// A message that stopped is gone on with before anything else; a pong waits for its
// end.
func TestSendInPieces(t *testing.T) {
	w, p := newWire(t)
	w.room = 3
	if p.Send(0, []byte("12345"), 1) || !p.Unfinished(0) {
		t.Error("a message is whole of which three bytes were taken")
	}
	p.Data(0, []byte(frame(true, gobwas.OpPing, "a")+frame(true, gobwas.OpPing, "b")))
	p.Writable(0)
	expectEvents(t, w, "writable")
	w.room = 1 << 20
	if !p.Send(0, []byte("12345"), 1) {
		t.Error("the message is not whole")
	}
	expectFrames(t, w, "2 12345", "10 a", "10 b")
	if p.Held() != 0 {
		t.Errorf("%d entries are held", p.Held())
	}
}

// No message goes before control frames that wait for room, and the load is told when
// they have gone.
func TestControlFramesWaitForRoom(t *testing.T) {
	w, p := newWire(t)
	w.room = 2
	p.Data(0, []byte(frame(true, gobwas.OpPing, "ping")))
	if p.Send(0, []byte("12345"), 1) {
		t.Error("a message went before the pong")
	}
	p.Writable(0)
	expectEvents(t, w)
	w.room = 1 << 20
	p.Writable(0)
	expectEvents(t, w, "writable")
	p.Send(0, []byte("12345"), 1)
	expectFrames(t, w, "10 ping", "2 12345")
}

// Of the pings that come together no more are answered than fit; that is one system
// call, and not one for each.
func TestPingsAreAnsweredTogether(t *testing.T) {
	w, p := newWire(t)
	ping := frame(true, gobwas.OpPing, "0123456789")
	p.Data(0, bytes.Repeat([]byte(ping), 4000))
	pongs := w.frames()
	if n := len(w.sent); n < mostUnsent || n > mostUnsent+16 || len(pongs) == 0 || pongs[0] != "10 0123456789" {
		t.Errorf("%d bytes of %d pongs", n, len(pongs))
	}
}

func TestClose(t *testing.T) {
	w, p := newWire(t)
	p.Data(0, []byte(frame(true, gobwas.OpClose, "\x03\xe9bye")+frame(true, gobwas.OpBinary, "more")))
	expectEvents(t, w, "failed  closed")
	expectFrames(t, w, "8 \x03\xe9")

	w, p = newWire(t)
	p.Finish(0)
	p.Data(0, []byte(frame(true, gobwas.OpPing, "not answered")+frame(true, gobwas.OpClose, "\x03\xe8")))
	expectEvents(t, w, "finished")
	expectFrames(t, w, "8 \x03\xe8")

	w, p = newWire(t) // nothing comes into the middle of a message
	w.room = 3
	p.Send(0, []byte("12345"), 1)
	w.room, w.sent = 1<<20, nil
	p.Data(0, []byte(frame(true, gobwas.OpClose, "\x03\xe9")))
	expectEvents(t, w, "failed  closed")
	expectFrames(t, w)

	w, p = newWire(t) // nobody listens any more
	w.err = control.Error("EPIPE")
	p.Data(0, []byte(frame(true, gobwas.OpClose, "\x03\xe9")))
	expectEvents(t, w, "failed send EPIPE")
}

// FuzzProtocol: however the bytes from a server are cut, what is said of them is the
// same, little is kept of them, and what is sent are whole frames.
func FuzzProtocol(f *testing.F) {
	f.Add([]byte(frame(true, gobwas.OpBinary, "hello")+frame(true, gobwas.OpPing, "x")+frame(true, gobwas.OpText, "t")), 1)
	f.Add([]byte(frame(false, gobwas.OpBinary, "a")+frame(true, gobwas.OpPong, "p")+frame(true, gobwas.OpContinuation, "b")), 2)
	f.Add([]byte(frame(true, gobwas.OpClose, "\x03\xe8")+"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if size < 1 {
			return
		}
		feed := func(size int) *wire {
			w, p := newWire(t)
			for piece := range slices.Chunk(stream, size) {
				if p.Data(0, slices.Clone(piece)); w.gone {
					break
				}
				if p.Held() > 3 || len(p.partial[0]) > MaxControl || p.Unsent(0) > 0 {
					t.Fatalf("%d entries are held: %v, %v", p.Held(), p.partial, p.unsent)
				}
			}
			p.Forget(0)
			if p.Held() != 0 {
				t.Fatalf("%d entries are left over", p.Held())
			}
			return w
		}
		whole, pieces := feed(len(stream)+1), feed(size)
		if !slices.Equal(whole.events, pieces.events) {
			t.Fatalf("whole: %q; in pieces of %d: %q", whole.events, size, pieces.events)
		}
		whole.frames()
		pieces.frames()
	})
}

// FuzzAnswer: however the answer to a handshake is cut, and whatever follows it, the
// verdict is the same, and no more is kept than the limit.
func FuzzAnswer(f *testing.F) {
	_, p := newWire(f)
	accept := string(p.handshake.accepts[p.key(0)][:])
	f.Add([]byte("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+accept+"\r\n\r\n"+frame(true, gobwas.OpBinary, "hello")), 1)
	f.Add([]byte("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n"), 7)
	f.Add(bytes.Repeat([]byte("x"), 2*MaxAnswer), 100)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if size < 1 {
			return
		}
		feed := func(size int) *wire {
			w, p := newWire(t)
			open := false
			for piece := range slices.Chunk(stream, size) {
				if open {
					p.Data(0, slices.Clone(piece))
				} else {
					p.Answer(0, slices.Clone(piece))
				}
				open = open || slices.Contains(w.events, "opened")
				if w.gone {
					break
				}
				if n := len(p.partial[0]); n >= MaxAnswer {
					t.Fatalf("%d bytes are kept", n)
				}
			}
			return w
		}
		whole, pieces := feed(len(stream)+1), feed(size)
		if !slices.Equal(whole.events, pieces.events) {
			t.Fatalf("whole: %q; in pieces of %d: %q", whole.events, size, pieces.events)
		}
	})
}
