package session

import (
	"sync"

	"golang.org/x/sys/unix"

	"connbench/servers/internal/audience"
)

// Socket is a session on a non-blocking socket: what a readiness loop keeps for
// each connection. The zero value is a connection that was just accepted. It
// must be used by one goroutine at a time.
type Socket struct {
	Session
	// backlog is nil nearly always.
	backlog *backlog
}

// backlog is what waits for another turn.
type backlog struct {
	// unsent is output that the kernel has not taken, since the peer does not read.
	unsent []byte
	// next is what to do once it is sent.
	next Next
	// unfed is what Feed has left over.
	unfed []byte
	// out and in are the buffers that unsent and unfed are the ends of.
	out, in []byte
}

var backlogs = sync.Pool{New: func() any { return new(backlog) }}

// State is what has become of a connection.
type State uint8

const (
	// Alive: wait for the next event.
	Alive State = iota
	// Ending, said once: the session has failed, everything is sent, and the peer has
	// not closed yet. It has listener.LingerTime; then drop it.
	Ending
	// Dead: close the descriptor.
	Dead
)

// Blocked reports whether the socket must be watched for being writable, and not for
// being readable: the peer does not read, or has sent more than its share of a turn.
// That bounds what is kept for it to one read and one Feed's output.
func (s *Socket) Blocked() bool { return s.backlog != nil }

// Handle does what an event on fd asks for, by at most one read, of at most
// len(in) bytes. The two buffers are only borrowed; out is where output is made,
// and is grown when it is too small. After Dead s is a zero Socket again.
func (s *Socket) Handle(fd int, in []byte, out *[]byte, rules Rules) State {
	state := s.handle(fd, in, out, rules)
	if state == Dead {
		s.Drop()
	}
	return state
}

// Drop gives up what s holds, and makes it a zero Socket.
func (s *Socket) Drop() {
	s.Release()
	s.settle()
	*s = Socket{}
}

func (s *Socket) handle(fd int, in []byte, out *[]byte, rules Rules) State {
	if s.backlog != nil {
		return s.resume(fd, out, rules)
	}
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(fd, in) })
	switch {
	case err == unix.EAGAIN:
		return Alive
	case err != nil || n == 0:
		return Dead
	}
	return s.feed(fd, in[:n], out, rules)
}

// feed feeds one turn's share of in and sends the answer.
func (s *Socket) feed(fd int, in []byte, out *[]byte, rules Rules) State {
	rest, output, next := s.Feed(in, (*out)[:0], rules)
	*out = output
	unsent, err := send(fd, output)
	if err != nil {
		return Dead
	}
	if len(unsent) > 0 || len(rest) > 0 {
		s.keep(unsent, next, rest)
		return Alive
	}
	s.settle()
	return finish(fd, next)
}

// keep makes a backlog, or goes on with the one that there is: rest is then the end of
// what is unfed already.
func (s *Socket) keep(unsent []byte, next Next, rest []byte) {
	b := s.backlog
	if b == nil {
		b = backlogs.Get().(*backlog)
		b.in = append(b.in[:0], rest...)
		rest = b.in
		s.backlog = b
	}
	b.out = append(b.out[:0], unsent...)
	b.unsent, b.next, b.unfed = b.out, next, rest
}

// resume sends what is unsent, and then feeds what is unfed.
func (s *Socket) resume(fd int, out *[]byte, rules Rules) State {
	b := s.backlog
	unsent, err := send(fd, b.unsent)
	if err != nil {
		return Dead
	}
	if b.unsent = unsent; len(unsent) > 0 {
		return Alive
	}
	if len(b.unfed) > 0 {
		return s.feed(fd, b.unfed, out, rules)
	}
	next := b.next
	s.settle()
	return finish(fd, next)
}

// MostUnsent is how much may wait for a peer that does not read when more is published, in bytes.
// Beyond it the peer is dropped: others may publish for ever.
const MostUnsent = audience.MostWaiting

// Push sends a message that another connection has published, if the peer is to get it, behind all
// that waits to be sent. A peer that has not read for too long is hung up on: an event on fd
// follows, after which Handle returns Dead. See [Socket.Blocked] for what to watch for next.
func (s *Socket) Push(fd int, p Publication) {
	data := s.Hear(p)
	if data == nil {
		return
	}
	if b := s.backlog; b != nil {
		if len(b.unsent) > MostUnsent {
			HangUp(fd)
			return
		}
		b.unsent = append(b.unsent, data...)
		return
	}
	unsent, err := send(fd, data) // of an error, an event tells
	if err == nil && len(unsent) > 0 {
		s.keep(unsent, Continue, nil)
	}
}

// HangUp resets a connection and leaves its descriptor to whoever waits for its events.
func HangUp(fd int) {
	// Without lingering, close(2) drops what is unsent and sends RST.
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Shutdown(fd, unix.SHUT_RDWR)
}

// finish does what a session asks for once its output is sent.
func finish(fd int, next Next) State {
	switch next {
	case Close:
		return Dead
	case Fail:
		// End of stream after the close frame, while reading goes on: see
		// listener.Linger.
		if unix.Shutdown(fd, unix.SHUT_WR) != nil {
			return Dead
		}
		return Ending
	}
	return Alive
}

// settle gives the buffers of a backlog back.
func (s *Socket) settle() {
	b := s.backlog
	if b == nil {
		return
	}
	s.backlog = nil
	if cap(b.out) <= pooledBytes {
		*b = backlog{out: b.out, in: b.in}
		backlogs.Put(b)
	}
}

// send writes as much as the kernel takes, and returns the rest.
func send(fd int, data []byte) ([]byte, error) {
	for len(data) > 0 {
		n, err := ignoringEINTR(func() (int, error) { return unix.Write(fd, data) })
		if err == unix.EAGAIN {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		data = data[n:]
	}
	return nil, nil
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}
