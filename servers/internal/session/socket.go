package session

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Socket is a session on a non-blocking socket: what a readiness loop keeps for
// each connection. The zero value is a connection that was just accepted. It
// must be used by one goroutine at a time.
type Socket struct {
	Session
	// unsent is what the kernel has not taken yet; nil nearly always.
	unsent *unsent
}

// unsent is output that waits for the peer to read, and what to do after it.
type unsent struct {
	data []byte
	next Next
}

var unsents = sync.Pool{New: func() any { return new(unsent) }}

// State is what has become of a connection.
type State uint8

const (
	// Alive: wait for the next event.
	Alive State = iota
	// Ending, said once: the session is over, but not everything has been sent, or
	// the peer has not closed yet. It has listener.LingerTime; then drop it.
	Ending
	// Dead: close the descriptor.
	Dead
)

// Blocked reports whether the peer does not read. The socket must then be
// watched for being writable, and not for being readable: that bounds what is
// kept for it to one Feed's output.
func (s *Socket) Blocked() bool { return s.unsent != nil }

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
	s.sent()
	*s = Socket{}
}

func (s *Socket) handle(fd int, in []byte, out *[]byte, rules Rules) State {
	if s.unsent != nil {
		return s.flush(fd)
	}
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(fd, in) })
	switch {
	case err == unix.EAGAIN:
		return Alive
	case err != nil || n == 0:
		return Dead
	}
	output, next := s.Feed(in[:n], (*out)[:0], rules)
	*out = output
	left, err := send(fd, output)
	if err != nil {
		return Dead
	}
	if len(left) > 0 {
		s.unsent = unsents.Get().(*unsent)
		s.unsent.data = append(s.unsent.data[:0], left...)
		s.unsent.next = next
	} else if finish(fd, next) == Dead {
		return Dead
	}
	if next != Continue {
		return Ending
	}
	return Alive
}

func (s *Socket) flush(fd int) State {
	left, err := send(fd, s.unsent.data)
	if err != nil {
		return Dead
	}
	if len(left) > 0 {
		s.unsent.data = s.unsent.data[:copy(s.unsent.data, left)]
		return Alive
	}
	next := s.unsent.next
	s.sent()
	return finish(fd, next)
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
	}
	return Alive
}

// sent gives the buffer of unsent output back.
func (s *Socket) sent() {
	if s.unsent == nil {
		return
	}
	if cap(s.unsent.data) <= pooledBytes {
		unsents.Put(s.unsent)
	}
	s.unsent = nil
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
