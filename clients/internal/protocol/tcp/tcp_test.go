package tcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/protocol/protocoltest"
)

func newWire(t testing.TB) (*protocoltest.Wire, *Protocol) {
	w := protocoltest.New(t)
	p := New(w.Config(control.Opening{}))
	p.Prepare(protocol.Data, 10)
	return w, p
}

// message is one as it goes over the wire.
func message(payload string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(payload)))) + payload
}

// A server that sends back what comes answers the greeting and every message, however the bytes
// are cut.
func TestBytesComeBack(t *testing.T) {
	all := message("") + message("hello") + message("") + message("0123456789")
	for size := 1; size <= len(all); size++ {
		w, p := newWire(t)
		p.Open(0)
		for _, payload := range []string{"hello", "", "0123456789"} {
			if !p.Send(0, []byte(payload), 1) {
				t.Fatal("a message is not whole")
			}
		}
		if string(w.Sent) != all {
			t.Fatalf("sent %q, want %q", w.Sent, all)
		}
		opened := false
		for rest := w.Sent; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			piece := rest[:min(size, len(rest))]
			if opened {
				p.Data(0, piece)
				continue
			}
			p.Answer(0, piece)
			opened = len(w.Events) > 0
		}
		w.Expect("opened", "received 0 hello.", "received 0 .", "received 0 0123456789.")
		if p.Held() != 0 {
			t.Errorf("in pieces of %d: %d entries are held", size, p.Held())
		}
	}
}

func TestSendInPieces(t *testing.T) {
	w, p := newWire(t)
	w.Room = 2
	p.Open(0)
	p.Answer(0, make([]byte, header)) // the server has only half of the greeting
	w.Expect("failed  bad answer")

	w, p = newWire(t)
	w.Room = 6
	if p.Send(0, []byte("hello"), 1) || !p.Unfinished(0) {
		t.Error("a message is whole that is not")
	}
	w.Room = 100
	p.Writable(0)
	w.Expect("writable")
	if !p.Send(0, []byte("hello"), 1) || p.Unfinished(0) || string(w.Sent) != message("hello") {
		t.Errorf("sent %q", w.Sent)
	}
	w.Err = errors.New("gone")
	if p.Send(0, []byte("hello"), 1) {
		t.Error("sent on a connection that is gone")
	}
	w.Expect("failed send gone")
}

func TestWhatDoesNotComeBack(t *testing.T) {
	w, p := newWire(t)
	p.Open(0)
	p.Answer(0, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	w.Expect("failed  bad answer")

	w, p = newWire(t)
	p.Data(0, []byte(message("longer than all")[:header])) // the length says it
	w.Expect("failed  bad frame")

	w, p = newWire(t)
	p.Open(0)
	p.Data(0, []byte("\x00\x00"))
	p.Forget(0)
	if p.Held() != 0 {
		t.Errorf("%d entries are held", p.Held())
	}
	p.Finish(0)
	w.Expect("finished")
}

// However the bytes are cut, the same comes of them, and nothing is kept for long.
func FuzzData(f *testing.F) {
	f.Add([]byte(message("hello")+message("")), 3)
	f.Add([]byte(message("0123456789ab")), 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		feed := func(size int) *protocoltest.Wire {
			w, p := newWire(t)
			for rest := bytes.Clone(b); len(rest) > 0 && !w.Gone; rest = rest[min(size, len(rest)):] {
				p.Data(0, rest[:min(size, len(rest))])
			}
			if p.Held() > 1 {
				t.Errorf("%d entries are held", p.Held())
			}
			return w
		}
		feed(len(b) + 1).Expect(feed(1 + int(uint(size)%uint(len(b)+1))).Events...)
	})
}
