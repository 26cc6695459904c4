package stack

import (
	"encoding/binary"
	"testing"
	"time"

	"connbench/clients/stack/arena"
	"connbench/clients/stack/wire"
)

// keeper is a handler that does what a fuzzer's script says within its events, and
// checks that they make sense.
type keeper struct {
	t      *testing.T
	e      *Stack
	script []byte
	opened [fuzzed]bool
	open   [fuzzed]bool
}

const fuzzed = 3

func (k *keeper) take() (b byte) {
	if len(k.script) > 0 {
		b, k.script = k.script[0], k.script[1:]
	}
	return b
}

func (k *keeper) act(i int) {
	switch b := k.take(); {
	case b > 250:
		k.e.Abort(i)
		k.open[i], k.opened[i] = false, false
	case b > 200:
		k.e.Send(i, make([]byte, int(b)*1000))
	case b > 128:
		k.e.Send(i, make([]byte, b))
	}
}

func (k *keeper) Opened(i int) {
	if !k.open[i] || k.opened[i] {
		k.t.Fatalf("connection %d opened", i)
	}
	k.opened[i] = true
	k.act(i)
}

func (k *keeper) Data(i int, p []byte) {
	if !k.opened[i] || len(p) == 0 {
		k.t.Fatalf("%d bytes on connection %d", len(p), i)
	}
	k.act(i)
}

func (k *keeper) Writable(i int) {
	if !k.opened[i] {
		k.t.Fatalf("connection %d writable", i)
	}
	k.act(i)
}

func (k *keeper) Closed(i int, _ error) {
	if !k.open[i] {
		k.t.Fatalf("connection %d closed", i)
	}
	k.open[i], k.opened[i] = false, false
}

func (k *keeper) Ended(i int) {
	if !k.opened[i] {
		k.t.Fatalf("connection %d ended", i)
	}
	k.e.Abort(i)
	k.open[i], k.opened[i] = false, false
}

// FuzzPackets: whatever comes, in whatever order with what the load does and with
// time, events make sense, the books of flights, blocks and timers are in order, and
// what is sent is a packet.
func FuzzPackets(f *testing.F) {
	// A step is an operation, a connection, and for a packet: how its sequence number
	// and acknowledgment differ from the right ones, its bits, window and length; or
	// the length of raw bytes.
	f.Add([]byte("\x00\x00\x01\x00\x00\x00\x12\xff\x00\x02\x00\x90\x01\x00\x00\x00\x18\xff\x05\x03\xff"))
	f.Add([]byte("\x00\x00\x01\x00\x00\x00\x12\x00\x00\x02\x00\xf0\x03\xff\x01\x00\x00\x00\x10\x00\x00\x03\xff\x01\x00\x00\x00\x10\xff\x00"))
	f.Add([]byte("\x00\x00\x00\x01\x01\x00\x00\x00\x14\xff\x00\x01\x01\x00\x00\x02\xff\x00\x01\x01\x00\x00\x10\xff\x00\x04\x10\x45\x00\x00\x10"))
	f.Add([]byte("\x00\x00\x01\x00\x00\x00\x12\xff\x00\x01\x00\x05\x00\x18\xff\x09\x01\x00\x00\x00\x19\xff\x09\x03\x10\x05\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		s := newScript(t)
		k := &keeper{t: t, e: s.e, script: script}
		for len(k.script) > 0 {
			op, i := k.take(), int(k.take())%fuzzed
			at := s.tupleOf(i)
			c := &s.e.conns[i]
			switch op % 7 {
			case 0:
				if k.open[i] {
					break
				}
				if errno := s.e.Connect(i); errno != 0 {
					t.Fatal(errno)
				}
				k.open[i] = true
			case 1:
				sequence, acknowledge := int8(k.take()), int8(k.take())
				bits, window, length := k.take(), uint16(k.take())*257, int(k.take())
				p := build(at, c.receiveNext+uint32(sequence), c.sendNext+uint32(acknowledge), bits, window, mss1460, string(make([]byte, length)))
				if bits&0x40 != 0 { // far off
					binary.BigEndian.PutUint32(p[wire.LinkHeader+wire.IPv4Header+4:], c.receiveNext+uint32(sequence)<<24)
				}
				s.wire.in = append(s.wire.in, p)
				s.e.Deliver(k)
			case 2:
				if n := int(k.take()); k.opened[i] {
					if took, err := s.e.Send(i, make([]byte, n*n)); took > n*n || err != nil {
						t.Fatalf("%d of %d bytes, %v", took, n*n, err)
					}
				}
			case 3:
				s.now += int64(time.Duration(k.take()) * 40 * time.Millisecond)
				s.e.Deliver(k)
			case 4:
				n := min(int(k.take()), len(k.script))
				s.wire.in = append(s.wire.in, k.script[:n])
				k.script = k.script[n:]
				s.e.Deliver(k)
			case 5: // raw, but for the addresses and checksums
				p := build(at, 0, 0, 0, 0, "", "")
				n := min(int(k.take()), len(k.script))
				p = append(p[:wire.LinkHeader+wire.IPv4Header], k.script[:n]...)
				k.script = k.script[n:]
				ip := p[wire.LinkHeader:]
				ip[9] = [...]byte{wire.ProtocolTCP, wire.ProtocolICMP}[op/7%2]
				binary.BigEndian.PutUint16(ip[2:], uint16(wire.IPv4Header+n))
				binary.BigEndian.PutUint16(ip[10:], 0)
				binary.BigEndian.PutUint16(ip[10:], ^wire.Fold(wire.Sum(ip[:wire.IPv4Header], 0)))
				s.wire.in = append(s.wire.in, p)
				s.e.Deliver(k)
			case 6:
				s.e.Abort(i)
				k.open[i], k.opened[i] = false, false
			}
			for len(s.wire.out) > 0 {
				s.sent()
			}
			for i := range s.e.conns {
				if i < fuzzed && s.e.Open(i) != k.open[i] || i >= fuzzed && s.e.Open(i) {
					t.Fatalf("connection %d is in state %d", i, s.e.conns[i].state())
				}
			}
			books(t, s.e)
		}
	})
}

// books checks what must hold between any two calls.
func books(t *testing.T, e *Stack) {
	t.Helper()
	flights, held := 0, uint32(0)
	for i := range e.conns {
		c := &e.conns[i]
		n := c.flight()
		if n == 0 {
			continue
		}
		flights++
		f := e.flights.at(n)
		if int(f.conn) != i || wire.Before(f.at, f.unacknowledged) || wire.Before(c.sendNext, f.at) || f.queued > maxQueued {
			t.Fatalf("connection %d: %+v, %+v", i, c, f)
		}
		fin := uint32(0)
		if f.is(finishing) {
			fin = 1
		}
		if c.state() == finWait2 && f.is(orphan) || c.state() == timeWait {
			if f.pending() || f.retransmit == 0 {
				t.Fatalf("connection %d waits for nothing: %+v", i, f)
			}
		}
		if c.state() >= established && c.sendNext-f.unacknowledged > f.queued+fin {
			t.Fatalf("connection %d: %d bytes are outstanding, %d kept", i, c.sendNext-f.unacknowledged, f.queued)
		}
		if f.pending() && f.retransmit == 0 {
			t.Fatalf("connection %d: no timer for what is queued", i)
		}
		if f.earliest() != 0 && !e.timers.Holds(c.flight(), f.earliest()) {
			t.Fatalf("connection %d: %+v is not on the wheel", i, f)
		}
		for b := f.first; b != 0; b = e.blocks.After(b) {
			held++
			if b == f.last {
				break
			}
		}
		if want := (f.offset + f.queued + arena.BlockBytes - 1) / arena.BlockBytes; f.queued > 0 && f.first == 0 || f.queued == 0 && f.first != 0 || f.queued > 0 && countBlocks(e, f) != want {
			t.Fatalf("connection %d: %d blocks for %d bytes from %d on", i, countBlocks(e, f), f.queued, f.offset)
		}
	}
	free := 0
	for n := e.flights.free; n != 0; n = e.flights.at(n).next {
		free++
	}
	if flights+free != int(e.flights.used)-1 {
		t.Fatalf("%d flights and %d free, of %d", flights, free, e.flights.used-1)
	}
	if held != e.blocks.InUse() {
		t.Fatalf("%d blocks are held, %d in use", held, e.blocks.InUse())
	}
}

func countBlocks(e *Stack, f *flight) (n uint32) {
	for b := f.first; b != 0; b = e.blocks.After(b) {
		n++
	}
	return n
}

// owner is the handler of a server that does what a fuzzer's script says.
type owner struct {
	t      *testing.T
	e      *Stack
	script []byte
	open   map[int]bool // and not closed by the owner
	held   map[int]int  // what came since
}

func (o *owner) take() (b byte) {
	if len(o.script) > 0 {
		b, o.script = o.script[0], o.script[1:]
	}
	return b
}

func (o *owner) act(i int) {
	if !o.open[i] {
		return
	}
	switch b := o.take(); b % 8 {
	case 0:
		o.e.Send(i, make([]byte, int(b)*1000))
	case 1:
		o.e.Send(i, make([]byte, b))
	case 2:
		if _, held := o.held[i]; !held {
			o.e.Hold(i)
			o.held[i] = 0
		}
	case 3:
		o.e.Resume(i)
		delete(o.held, i)
	case 4:
		o.e.Shutdown(i)
	case 5:
		o.e.Close(i)
		o.forget(i)
	case 6:
		o.e.Abort(i)
		o.forget(i)
	}
}

func (o *owner) forget(i int) {
	delete(o.open, i)
	delete(o.held, i)
}

func (o *owner) Opened(i int) {
	if o.open[i] {
		o.t.Fatalf("connection %d opened twice", i)
	}
	o.open[i] = true
	o.act(i)
}

func (o *owner) Data(i int, p []byte) {
	o.check(i, "data")
	if n, held := o.held[i]; held {
		if o.held[i] = n + len(p); n+len(p) > receiveWindow {
			o.t.Fatalf("%d bytes on connection %d, which is held", n+len(p), i)
		}
	}
	o.act(i)
}

func (o *owner) Writable(i int) {
	o.check(i, "writable")
	o.act(i)
}

func (o *owner) Ended(i int) {
	o.check(i, "ended")
	o.act(i)
}

func (o *owner) Closed(i int, _ error) {
	o.check(i, "closed")
	o.forget(i)
}

func (o *owner) check(i int, what string) {
	if !o.open[i] {
		o.t.Fatalf("connection %d: %s", i, what)
	}
}

// FuzzServer: as FuzzPackets, for connections that peers begin, with all that a handler
// may do.
func FuzzServer(f *testing.F) {
	open := "\x00\x00\x00\x00\x02\xff\x00" + "\x00\x00\x00\x00\x10\xff\x00"
	for _, then := range []string{
		"\x01\x00\x05\x00\x00\x00\x01\x10\xff\x00\x00\x00\x00\x00\x11\xff\x00\x02\xff\x02\xff",
		"\x00\x00\x00\x00\x11\xff\x05\x01\x00\x05\x00\x00\x00\x01\x10\xff\x00",
		"\x01\x00\x08\x00\x00\x00\x00\x10\x00\x00\x01\x00\x05\x02\xff\x02\xff",
		"\x01\x00\x02\x00\x00\x00\x00\x18\xff\xff\x01\x00\x03",
		"\x01\x00\x04\x00\x00\x00\x01\x11\xff\x00\x01\x00\x05\x02\xff",
		"\x03\x30rubbish",
	} {
		f.Add([]byte(open + then))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		s := newServer(t, 4, 2)
		o := &owner{t: t, e: s.e, script: script, open: map[int]bool{}, held: map[int]int{}}
		for len(o.script) > 0 {
			op := o.take()
			switch op % 4 {
			case 0: // a packet: its connection, and how it differs from what is expected
				at := s.tupleOf(int(o.take()) % 6)
				next, expected := uint32(irs), uint32(irs)
				if i, ok := s.e.places.Find(at); ok {
					next, expected = s.e.conns[i].receiveNext, s.e.conns[i].sendNext
				}
				sequence, acknowledge := uint32(int8(o.take())), uint32(int8(o.take()))
				bits, window, length := o.take(), uint16(o.take())*257, int(o.take())
				if op > 128 {
					length *= 200
				}
				s.wire.in = append(s.wire.in, build(at, next+sequence, expected+acknowledge, bits, window, mss1460, string(make([]byte, length))))
				s.e.Deliver(o)
			case 1:
				o.act(int(o.take()) % 4)
			case 2:
				s.now += int64(time.Duration(o.take()) * 400 * time.Millisecond)
				s.e.Deliver(o)
			case 3:
				n := min(int(o.take()), len(o.script))
				s.wire.in = append(s.wire.in, o.script[:n])
				o.script = o.script[n:]
				s.e.Deliver(o)
			}
			for len(s.wire.out) > 0 {
				s.sent()
			}
			books(t, s.e)
			if s.e.halfOpen.count > 2 {
				t.Fatalf("%d half-open connections", s.e.halfOpen.count)
			}
			places := 0
			for i := range s.e.conns {
				if s.e.Open(i) {
					places++
				} else if o.open[i] {
					t.Fatalf("connection %d is gone, and nobody was told", i)
				}
			}
			if int(s.e.places.(*Peers).count) != places {
				t.Fatalf("%d places for %d connections", s.e.places.(*Peers).count, places)
			}
		}
	})
}
