package websocket

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	gobwas "github.com/gobwas/ws"

	"connbench/clients/control"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/protocol/http1"
	"connbench/clients/internal/protocol/protocoltest"
)

// wire reads the frames in what was sent.
type wire struct {
	*protocoltest.Wire
	t testing.TB
}

func newWire(t testing.TB) (*wire, *Protocol) {
	w := &wire{protocoltest.New(t), t}
	p := New(w.Config(control.Opening{}, testTargets...))
	p.Prepare(protocol.Data, 5)
	return w, p
}

// frames are the client's frames in what was sent, unmasked.
func (w *wire) frames() (list []string) {
	w.t.Helper()
	in := bytes.NewReader(w.Sent)
	for in.Len() > 0 {
		frame, err := gobwas.ReadFrame(in)
		if err != nil || !frame.Header.Masked {
			w.t.Fatalf("%q: %v", w.Sent, err)
		}
		gobwas.Cipher(frame.Payload, frame.Header.Mask, 0)
		list = append(list, fmt.Sprintf("%d %s", frame.Header.OpCode, frame.Payload))
	}
	return list
}

func expectFrames(t *testing.T, w *wire, want ...string) {
	t.Helper()
	if got := w.frames(); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	w.Sent = nil
}

// The request goes on where it stopped; its answer comes with the first frame behind.
func TestOpenInPieces(t *testing.T) {
	w, p := newWire(t)
	w.Room = 10
	p.Open(0)
	w.Room = 0
	p.Open(0)
	w.Room = 1 << 20
	p.Open(0)
	want := p.handshake.Request(0, p.key(0), 0)
	if !bytes.Equal(w.Sent, want) || p.Held() != 0 {
		t.Errorf("sent %q, want %q; %d entries are held", w.Sent, want, p.Held())
	}
	answer := "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + string(p.handshake.accepts[p.key(0)][:]) + "\r\n\r\n"
	p.Answer(0, []byte(answer[:20]))
	p.Answer(0, []byte(answer[20:]+frame(true, gobwas.OpBinary, "hello")))
	w.Expect("opened", "received 0 hello.")
	if p.Held() != 0 {
		t.Errorf("%d entries are held", p.Held())
	}
}

// An answer to half a request is none.
func TestAnswerBeforeTheRequest(t *testing.T) {
	w, p := newWire(t)
	w.Room = 10
	p.Open(0)
	p.Answer(0, []byte("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+string(p.handshake.accepts[p.key(0)][:])+"\r\n\r\n"))
	w.Expect("failed  bad answer")
}

// A message that stopped is gone on with before anything else; a pong waits for its
// end.
func TestSendInPieces(t *testing.T) {
	w, p := newWire(t)
	w.Room = 3
	if p.Send(0, []byte("12345"), 1) || !p.Unfinished(0) {
		t.Error("a message is whole of which three bytes were taken")
	}
	p.Data(0, []byte(frame(true, gobwas.OpPing, "a")+frame(true, gobwas.OpPing, "b")))
	p.Writable(0)
	w.Expect("writable")
	w.Room = 1 << 20
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
	w.Room = 2
	p.Data(0, []byte(frame(true, gobwas.OpPing, "ping")))
	if p.Send(0, []byte("12345"), 1) {
		t.Error("a message went before the pong")
	}
	p.Writable(0)
	w.Expect()
	w.Room = 1 << 20
	p.Writable(0)
	w.Expect("writable")
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
	if n := len(w.Sent); n < mostUnsent || n > mostUnsent+16 || len(pongs) == 0 || pongs[0] != "10 0123456789" {
		t.Errorf("%d bytes of %d pongs", n, len(pongs))
	}
}

func TestClose(t *testing.T) {
	w, p := newWire(t)
	p.Data(0, []byte(frame(true, gobwas.OpClose, "\x03\xe9bye")+frame(true, gobwas.OpBinary, "more")))
	w.Expect("failed  closed")
	expectFrames(t, w, "8 \x03\xe9")

	w, p = newWire(t)
	p.Finish(0)
	p.Data(0, []byte(frame(true, gobwas.OpPing, "not answered")+frame(true, gobwas.OpClose, "\x03\xe8")))
	w.Expect("finished")
	expectFrames(t, w, "8 \x03\xe8")

	w, p = newWire(t) // nothing comes into the middle of a message
	w.Room = 3
	p.Send(0, []byte("12345"), 1)
	w.Room, w.Sent = 1<<20, nil
	p.Data(0, []byte(frame(true, gobwas.OpClose, "\x03\xe9")))
	w.Expect("failed  closed")
	expectFrames(t, w)

	w, p = newWire(t) // nobody listens any more
	w.Err = control.Error("EPIPE")
	p.Data(0, []byte(frame(true, gobwas.OpClose, "\x03\xe9")))
	w.Expect("failed send EPIPE")
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
				if p.Data(0, slices.Clone(piece)); w.Gone {
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
		if !slices.Equal(whole.Events, pieces.Events) {
			t.Fatalf("whole: %q; in pieces of %d: %q", whole.Events, size, pieces.Events)
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
	f.Add(bytes.Repeat([]byte("x"), 2*http1.MaxHead), 100)
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
				open = open || slices.Contains(w.Events, "opened")
				if w.Gone {
					break
				}
				if n := len(p.partial[0]); n >= http1.MaxHead {
					t.Fatalf("%d bytes are kept", n)
				}
			}
			return w
		}
		whole, pieces := feed(len(stream)+1), feed(size)
		if !slices.Equal(whole.Events, pieces.Events) {
			t.Fatalf("whole: %q; in pieces of %d: %q", whole.Events, size, pieces.Events)
		}
	})
}
