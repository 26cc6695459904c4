// Command userspace is the suite's echo server on a TCP of its own: it reads and writes
// the packets of a TUN device, and the kernel has no socket of any connection. What
// remains of a connection is what the protocols need.
//
// One goroutine does everything. An idle connection is 33 bytes in flat tables (45 where
// an address of IPv6 is listened on) that lie outside of Go's heap: 16 of the TCP, 16 of
// its four-tuple, one of the session. Unfinished handshakes and messages, and output that
// a peer does not take, are in a map while there are any.
package main

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/stack"
	"connbench/clients/stack/arena"
	"connbench/clients/stack/tun"
	"connbench/clients/stack/wire"
	"connbench/servers/contract"
	"connbench/servers/internal/audience"
	"connbench/servers/internal/device"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

const (
	// capacity is for how many connections addresses are reserved; memory is taken for
	// those that there are. variant.toml states it as the limit of a process.
	capacity = 1 << 27
	// bufferBytes bounds what is kept for retransmission, of which a peer that does not read
	// may take 64 KiB. Memory is taken for what there is.
	bufferBytes = 8 << 30
)

func main() { lifecycle.Main(start, contract.Protocols...) }

func start(o contract.Options) (lifecycle.Server, error) {
	addresses, err := device.Resolve(o.Listen)
	if err != nil {
		return lifecycle.Server{}, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return lifecycle.Server{}, fmt.Errorf("eventfd: %w", err)
	}
	tunnel, err := device.Open(addresses, func(hosts []netip.Prefix) (*tun.Device, error) { return tun.Open(hosts, wake, wire.MTU) })
	if err != nil {
		return lifecycle.Server{}, err
	}
	l, err := newLoop(tunnel, addresses, o)
	if err != nil {
		tunnel.Close()
		return lifecycle.Server{}, err
	}
	l.wake = wake
	failed := make(chan error, 1)
	go func() {
		if err := l.run(); err != nil {
			failed <- err
		}
	}()
	return lifecycle.Server{
		Addresses:   device.Texts(addresses),
		Connections: l.open.Load,
		Failed:      failed,
		End:         l.end,
	}, nil
}

// loop is the server. It implements [stack.Handler].
type loop struct {
	stack *stack.Stack
	peers *stack.Peers
	rules session.Rules
	// packed are the sessions at rest, as [session.Session.Pack] has them.
	packed []byte
	// pending are the connections for which a byte is not enough.
	pending map[int]*pending
	// again are those whose share of a turn was too small.
	again []turn
	// lingering are connections that failed, in the order in which their time ends.
	lingering []turn
	out       []byte
	sender    int // the connection whose session is being fed
	open      atomic.Int64

	wake   int
	ending atomic.Bool
	ended  chan struct{}
}

// pending is what is kept of a connection that is not at rest.
type pending struct {
	session session.Session
	// held says that nothing is fed to the session for now: there is unsent output, or
	// others have their turn first.
	held          bool
	unsent, unfed []byte
	next          session.Next // once all is sent
	finished      bool         // the peer's end of stream has come, behind what is unfed
}

// turn is a connection with something to do. It is another's by now unless its pending
// is still the same.
type turn struct {
	i  int
	of *pending
	at time.Time
}

func newLoop(tunnel stack.Device, addresses []netip.AddrPort, o contract.Options) (*loop, error) {
	peers, err := stack.NewPeers(addresses, capacity)
	if err != nil {
		return nil, err
	}
	s, err := stack.New(stack.Config{Device: tunnel, Places: peers, Clock: now, Capacity: capacity, BufferBytes: bufferBytes, HalfOpen: o.Backlog})
	if err != nil {
		return nil, err
	}
	packed, err := arena.Reserve[byte](capacity)
	if err != nil {
		return nil, err
	}
	l := &loop{stack: s, peers: peers, rules: session.RulesOf(o), packed: packed, pending: map[int]*pending{}, ended: make(chan struct{})}
	if o.Broadcast {
		l.rules.Publish, l.rules.Board = l.publish, new(audience.Board)
	}
	return l, nil
}

var origin = time.Now()

// now is the stack's clock.
func now() int64 { return int64(time.Since(origin)) + 1 }

// run ends by an error, or when the server is to end.
func (l *loop) run() error {
	for {
		timeout := time.Duration(-1)
		switch {
		case len(l.again) > 0:
			timeout = 0
		case len(l.lingering) > 0:
			timeout = max(0, time.Until(l.lingering[0].at))
		}
		if _, err := l.stack.Wait(timeout); err != nil {
			return err
		}
		if l.ending.Load() {
			l.abort()
			return nil
		}
		l.stack.Deliver(l)
		l.takeTurns()
		l.expire()
	}
}

const (
	// endTime bounds how long connections are reset at the end.
	endTime = 15 * time.Second
	// Of resets without a pause, those would be lost that do not fit into the queue of the
	// peers' device: this many are sent at a time.
	resetsAtOnce = 4096
	resetsPause  = time.Millisecond
)

// end resets all connections: no kernel does that for the server.
func (l *loop) end() {
	l.ending.Store(true)
	unix.Write(l.wake, []byte{7: 0, 0: 1}) // eight bytes, a number other than 0
	select {
	case <-l.ended:
	case <-time.After(endTime):
	}
}

func (l *loop) abort() {
	defer close(l.ended)
	resets := 0
	for i := range l.peers.Used() {
		if !l.stack.Open(i) {
			continue
		}
		l.stack.Abort(i)
		if resets++; resets%resetsAtOnce == 0 {
			time.Sleep(resetsPause)
		}
	}
}

// takeTurns goes on with connections after the others have had their turn.
func (l *loop) takeTurns() {
	turns := l.again
	l.again = nil
	for _, t := range turns {
		// What it has heard meanwhile is sent first, see Writable.
		if w := l.pending[t.i]; w != nil && w == t.of && len(w.unsent) == 0 {
			l.feed(t.i, w, w.unfed)
		}
	}
}

// expire ends connections that have lingered long enough.
func (l *loop) expire() {
	for len(l.lingering) > 0 && time.Until(l.lingering[0].at) <= 0 {
		t := l.lingering[0]
		l.lingering = l.lingering[1:]
		if l.pending[t.i] == t.of {
			l.stack.Abort(t.i)
			l.forget(t.i)
		}
	}
}

// Opened implements [stack.Handler].
func (l *loop) Opened(int) {}

// Data implements [stack.Handler].
func (l *loop) Data(i int, p []byte) {
	w := l.pending[i]
	if w != nil && w.held {
		if w.next == session.Continue { // the session hears nothing more otherwise
			w.unfed = append(w.unfed, p...)
		}
		return
	}
	l.feed(i, w, p)
}

// feed feeds a connection's session and sends what it answers. w is nil for one at rest.
func (l *loop) feed(i int, w *pending, in []byte) {
	s := session.Unpack(l.packed[i])
	if w != nil {
		s = w.session
	}
	before := s.Upgraded()
	l.sender = i
	rest, out, next := s.Feed(in, l.out[:0], l.rules)
	l.out = out
	if s.Upgraded() && !before {
		l.open.Add(1)
	}
	sent := 0
	if len(out) > 0 {
		// Without a way back there is no answer either: the peer has reset the
		// connection, or this side has ended its half.
		sent, _ = l.stack.Send(i, out)
	}
	b, resting := s.Pack()
	l.packed[i] = b
	if w == nil {
		if resting && sent == len(out) && len(rest) == 0 && next == session.Continue {
			return
		}
		w = &pending{}
		l.pending[i] = w
	}
	w.session = s
	w.next = next
	w.unsent = append(w.unsent[:0], out[sent:]...)
	if w.held {
		w.unfed = rest // the end of what it was
	} else {
		w.unfed = append(w.unfed[:0], rest...)
	}
	l.settle(i, w)
}

// settle sees to what is to be done next for a connection that is not at rest.
func (l *loop) settle(i int, w *pending) {
	if len(w.unsent) > 0 || len(w.unfed) > 0 {
		if !w.held {
			w.held = true
			l.stack.Hold(i)
		}
		if len(w.unsent) == 0 {
			l.again = append(l.again, turn{i: i, of: w})
		}
		return
	}
	switch {
	case w.next == session.Close, w.finished:
		l.close(i)
		return
	case w.next == session.Fail:
		l.stack.Shutdown(i)
		w.next = session.Continue
		w.held = false
		l.stack.Resume(i)
		l.lingering = append(l.lingering, turn{i, w, time.Now().Add(listener.LingerTime)})
		return
	}
	if w.held {
		w.held = false
		l.stack.Resume(i)
	}
	if _, resting := w.session.Pack(); resting && !w.session.Ended() {
		delete(l.pending, i)
	}
}

// Writable implements [stack.Handler].
func (l *loop) Writable(i int) {
	w := l.pending[i]
	if w == nil || len(w.unsent) == 0 {
		return
	}
	sent, _ := l.stack.Send(i, w.unsent)
	if w.unsent = w.unsent[sent:]; len(w.unsent) > 0 {
		return
	}
	if len(w.unfed) > 0 {
		l.feed(i, w, w.unfed)
		return
	}
	l.settle(i, w)
}

// Ended implements [stack.Handler].
func (l *loop) Ended(i int) {
	if w := l.pending[i]; w != nil && w.held {
		w.finished = true // first what has come before
		return
	}
	l.close(i)
}

// Closed implements [stack.Handler].
func (l *loop) Closed(i int, _ error) { l.forget(i) }

// close ends a connection behind what was sent.
func (l *loop) close(i int) {
	l.stack.Close(i)
	l.forget(i)
}

// forget gives up what is kept of a connection.
func (l *loop) forget(i int) {
	s := session.Unpack(l.packed[i])
	if w := l.pending[i]; w != nil {
		s = w.session
		delete(l.pending, i)
	}
	if s.Upgraded() {
		l.open.Add(-1)
	}
	s.Release()
	l.packed[i] = 0
}
