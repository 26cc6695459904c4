// Package socket is the engine of kernel sockets: what real clients use, and no
// privilege needed. A connection costs 4 bytes here: its descriptor.
//
// Every call that cannot block goes around Go's scheduler (RawSyscall), since
// at a few microseconds a call, telling the scheduler is a cost that shows. Only
// the wait for events tells it.
package socket

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
)

const (
	// eventsPerWait bounds how long events are handled before the load may act
	// again: a few milliseconds at most.
	eventsPerWait = 256
	// bufferBytes is the most that is read at once, into one buffer for all.
	bufferBytes = 64 << 10
	// wakeTag marks the events of the descriptor that wakes Wait.
	wakeTag = -1
)

// slot is a connection: its descriptor and its flags. 0 is no connection, since
// descriptor 0 is never a socket here.
type slot int32

const (
	connecting slot = 1 << iota // no answer to the SYN yet
	blocked                     // a Send took less than it was given
	ending                      // the end of the stream is to come
	unread                      // there may be more to receive; it is in Engine.unread
	paused                      // nothing is to be received; see Engine.Pause
	flagBits   = iota
)

func (s slot) descriptor() uintptr { return uintptr(s >> flagBits) }

// Engine implements [engine.Engine].
type Engine struct {
	epoll  int
	slots  []slot
	events [eventsPerWait]unix.EpollEvent
	ready  int
	buffer []byte
	// unread are connections that have had their share of a turn, and may have more
	// to receive. Edge-triggered events do not tell of it again.
	unread []int32

	// Arguments of system calls; here so that none escapes to the heap anew.
	address  unix.RawSockaddrInet6 // or, in its place, a RawSockaddrInet4
	event    unix.EpollEvent
	one      int32
	noLinger unix.Linger
	timeout  unix.Timespec
}

// New returns an engine for capacity connections. Its Wait also returns when
// the descriptor wake is readable (-1: none).
func New(capacity, wake int) (*Engine, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if wake >= 0 {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeTag}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &event); err != nil {
			unix.Close(epoll)
			return nil, err
		}
	}
	// Linux may round a sleep up by 50 us (prctl(2), PR_SET_TIMERSLACK), which
	// is more than a whole echo takes.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		unix.Close(epoll)
		return nil, err
	}
	return &Engine{
		epoll:    epoll,
		slots:    make([]slot, capacity),
		buffer:   make([]byte, bufferBytes),
		one:      1,
		noLinger: unix.Linger{Onoff: 1, Linger: 0},
	}, nil
}

// StateBytes implements [engine.Engine].
func (e *Engine) StateBytes() int { return int(unsafe.Sizeof(slot(0))) }

// Open implements [engine.Engine].
func (e *Engine) Open(i int, from, to netip.AddrPort) engine.Failure {
	if from == to {
		// TCP allows a socket to connect to itself (RFC 9293 section 3.5,
		// simultaneous open), which would look like a server that echoes.
		return engine.Failure{Phase: control.PhaseBind, Err: unix.EADDRINUSE}
	}
	family := uintptr(unix.AF_INET)
	if from.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errno != 0 {
		return engine.Failure{Phase: control.PhaseSocket, Err: errno}
	}
	if phase, errno := e.connect(fd, i, from, to); errno != 0 {
		closeDescriptor(fd)
		return engine.Failure{Phase: phase, Err: errno}
	}
	e.slots[i] = slot(fd)<<flagBits | connecting
	return engine.Failure{}
}

func (e *Engine) connect(fd uintptr, i int, from, to netip.AddrPort) (phase control.Phase, errno syscall.Errno) {
	// With SO_REUSEADDR on every socket of a port, bind(2) need not compare with
	// the others (net/ipv4/inet_connection_sock.c, tb->fastreuse): it stays O(1)
	// however many connections share the source port.
	if errno := setOption(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, unsafe.Pointer(&e.one), 4); errno != 0 {
		return control.PhaseSocket, errno
	}
	// Close resets from the start, even when it is a kill that closes: the next
	// trial must not meet this one's connections in TIME_WAIT.
	if errno := setOption(fd, unix.SOL_SOCKET, unix.SO_LINGER, unsafe.Pointer(&e.noLinger), unsafe.Sizeof(e.noLinger)); errno != 0 {
		return control.PhaseSocket, errno
	}
	if errno := setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, unsafe.Pointer(&e.one), 4); errno != 0 {
		return control.PhaseSocket, errno
	}
	size := e.setAddress(from)
	if _, _, errno := unix.RawSyscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(&e.address)), size); errno != 0 {
		return control.PhaseBind, errno
	}
	size = e.setAddress(to)
	if _, _, errno := unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&e.address)), size); errno != 0 && errno != unix.EINPROGRESS {
		return control.PhaseConnect, errno
	}
	// Edge-triggered for both directions: one epoll_ctl for a connection's life.
	// The descriptor travels along to tell stale events of this number.
	e.event = unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(i),
		Pad:    int32(fd),
	}
	if _, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(e.epoll), unix.EPOLL_CTL_ADD, fd, uintptr(unsafe.Pointer(&e.event)), 0, 0); errno != 0 {
		return control.PhaseSocket, errno
	}
	return "", 0
}

// Send implements [engine.Engine].
func (e *Engine) Send(i int, p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	s := e.slots[i]
	sent, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, s.descriptor(), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	switch errno {
	case 0:
		n = int(sent)
	case unix.EAGAIN:
	default:
		return 0, errno
	}
	if n < len(p) {
		e.slots[i] |= blocked
	}
	return n, nil
}

// Overdue implements [engine.Engine]. SIOCOUTQ is what is in the send queue, sent or
// not (tcp(7)).
func (e *Engine) Overdue(i int) engine.Failure {
	s := e.slots[i]
	if s&connecting == 0 {
		if waiting, err := unix.IoctlGetInt(int(s.descriptor()), unix.SIOCOUTQ); err != nil || waiting > 0 {
			return engine.Failure{Err: control.Unacknowledged}
		}
	}
	return engine.Failure{Err: control.Timeout}
}

// Close implements [engine.Engine].
func (e *Engine) Close(i int) {
	if s := e.slots[i]; s != 0 {
		e.slots[i] = 0
		closeDescriptor(s.descriptor())
	}
}

// Pause implements [engine.Pauser].
func (e *Engine) Pause(i int) { e.slots[i] = e.slots[i]&^unread | paused }

// Release implements [engine.Engine].
func (e *Engine) Release() {
	for i := range e.slots {
		e.Close(i)
	}
	unix.Close(e.epoll)
}

// Wait implements [engine.Engine].
func (e *Engine) Wait(timeout time.Duration) (woken bool, err error) {
	var deadline *unix.Timespec
	if len(e.unread) > 0 {
		timeout = 0
	}
	if timeout >= 0 {
		e.timeout = unix.NsecToTimespec(int64(timeout))
		deadline = &e.timeout
	}
	// epoll_pwait2 rather than epoll_wait, whose milliseconds are too coarse to
	// pace messages by.
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(e.epoll), uintptr(unsafe.Pointer(&e.events[0])), eventsPerWait, uintptr(unsafe.Pointer(deadline)), 0, 0)
	e.ready = 0
	if errno != 0 {
		switch errno {
		case unix.EINTR:
			return false, nil
		case unix.ENOSYS:
			return false, errors.New("epoll_pwait2: this kernel does not have it; the swarm needs Linux 5.11 or newer")
		}
		return false, errno
	}
	e.ready = int(n)
	for k := range e.events[:e.ready] {
		if e.events[k].Fd == wakeTag {
			woken = true
		}
	}
	return woken, nil
}

// Deliver implements [engine.Engine]. A connection is read from once, or twice if an
// event comes to what is left of the turn before.
func (e *Engine) Deliver(h engine.Handler) {
	left := len(e.unread)
	for k := range e.events[:e.ready] {
		if event := e.events[k]; event.Fd != wakeTag {
			e.handle(h, int(event.Fd), slot(event.Pad), event.Events)
		}
	}
	e.ready = 0
	for _, i := range e.unread[:left] {
		if s := e.slots[i]; s&unread != 0 { // it has not been closed since
			e.slots[i] &^= unread
			e.receive(h, int(i), s>>flagBits)
		}
	}
	e.unread = e.unread[:copy(e.unread, e.unread[left:])]
}

func (e *Engine) handle(h engine.Handler, i int, fd slot, events uint32) {
	s := e.slots[i]
	if s>>flagBits != fd {
		return // closed by what an earlier event of this batch led to
	}
	const broken = unix.EPOLLERR | unix.EPOLLHUP
	switch {
	case s&connecting != 0:
		if events&broken != 0 {
			e.end(h, i, socketError(s.descriptor()))
			return
		}
		if events&unix.EPOLLOUT == 0 {
			return
		}
		e.slots[i] &^= connecting
		h.Opened(i)
	case s&blocked != 0 && events&unix.EPOLLOUT != 0:
		e.slots[i] &^= blocked
		h.Writable(i)
	}
	if e.slots[i]>>flagBits != fd {
		return // closed by the handler
	}
	if e.slots[i]&paused != 0 {
		if events&(unix.EPOLLRDHUP|broken) != 0 {
			e.end(h, i, socketError(e.slots[i].descriptor()))
		}
		return
	}
	if events&(unix.EPOLLRDHUP|broken) != 0 {
		e.slots[i] |= ending
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0 {
		e.receive(h, i, fd)
	}
}

// receive reads once, and has the connection read from in the next turn if there may
// be more: a peer that never stops sending does not keep the others waiting. A short
// read says that there is no more as well as EAGAIN does (epoll(7), question 9),
// unless the end of the stream is still to come.
func (e *Engine) receive(h engine.Handler, i int, fd slot) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&e.buffer[0])), uintptr(len(e.buffer)), 0, 0, 0)
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0 || n == 0:
		e.end(h, i, errno)
		return
	}
	if s := e.slots[i]; (int(n) == len(e.buffer) || s&ending != 0) && s&unread == 0 {
		e.slots[i] |= unread
		e.unread = append(e.unread, int32(i))
	}
	h.Data(i, e.buffer[:n])
}

// end forgets connection i and says why: errno, or if that is 0 the end of the
// stream.
func (e *Engine) end(h engine.Handler, i int, errno syscall.Errno) {
	e.Close(i)
	if errno == 0 {
		h.Closed(i, engine.Failure{Err: control.Closed})
		return
	}
	h.Closed(i, engine.Failure{Err: errno})
}

// setAddress fills in the address and returns its size.
func (e *Engine) setAddress(at netip.AddrPort) uintptr {
	if at.Addr().Is4() {
		raw := (*unix.RawSockaddrInet4)(unsafe.Pointer(&e.address))
		*raw = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(at.Port()), Addr: at.Addr().As4()}
		return unix.SizeofSockaddrInet4
	}
	e.address = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: networkOrder(at.Port()), Addr: at.Addr().As16()}
	return unix.SizeofSockaddrInet6
}

func networkOrder(port uint16) (raw uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&raw))[:], port)
	return raw
}

func setOption(fd uintptr, level, option uintptr, value unsafe.Pointer, size uintptr) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, level, option, uintptr(value), size, 0)
	return errno
}

func socketError(fd uintptr) syscall.Errno {
	value, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err.(syscall.Errno)
	}
	return syscall.Errno(value)
}

func closeDescriptor(fd uintptr) { unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0) }
