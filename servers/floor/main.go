// Command floor is an echo server of WebSocket, HTTP and bytes on bare epoll: the least
// that a Go process can pay for a connection. It has no I/O library and no heap object per
// connection. What the other variants cost is read against it.
//
// Each loop is one goroutine with one epoll instance. A connection belongs to
// the loop with the number descriptor mod loops, and its state lies in that
// loop's table at index descriptor div loops. So no state is shared, nothing is
// locked, and connections spread evenly, since the kernel hands out the lowest
// free descriptor. Any loop accepts, and registers what it accepted with the
// loop that it belongs to.
package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"connbench/servers/contract"
	"connbench/servers/internal/fdtable"
	"connbench/servers/internal/lifecycle"
	"connbench/servers/internal/listener"
	"connbench/servers/internal/session"
)

const (
	eventsPerWait = 256
	// readBytes is the most that is read for one event.
	readBytes = 64 << 10
	// acceptsPerEvent keeps a burst of new connections from starving the loop's
	// own: the listener is level-triggered and comes again.
	acceptsPerEvent = 64
)

func main() {
	lifecycle.Main(start, session.Abilities...)
}

func start(o contract.Options) (lifecycle.Server, error) {
	listeners, err := listener.ListenRaw(o.Listen, o.Backlog)
	if err != nil {
		return lifecycle.Server{}, err
	}
	loops := make([]*loop, o.Loops)
	for i := range loops {
		poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return lifecycle.Server{}, fmt.Errorf("epoll_create1: %w", err)
		}
		loops[i] = &loop{
			number: i, poll: poll, loops: loops, listeners: listeners,
			rules: session.RulesOf(o),
			in:    make([]byte, readBytes),
		}
		if o.Broadcast {
			if err := loops[i].joinBroadcast(); err != nil {
				return lifecycle.Server{}, err
			}
		}
		if err := loops[i].watchListeners(); err != nil {
			return lifecycle.Server{}, err
		}
	}
	failed := make(chan error, len(loops))
	for _, l := range loops {
		go func() { failed <- l.run() }()
	}
	return lifecycle.Server{
		Addresses: listener.RawAddresses(listeners),
		Connections: func() (n int64) {
			for _, l := range loops {
				n += l.open.Load()
			}
			return n
		},
		Failed: failed,
	}, nil
}

type loop struct {
	number    int // its index in loops
	poll      int
	loops     []*loop
	listeners []listener.Raw
	rules     session.Rules

	// sockets is indexed by descriptor div the number of loops.
	sockets fdtable.Table[session.Socket]
	in, out []byte
	open    atomic.Int64

	// ending are connections that failed, in the order in which their time ends.
	ending []ending
	// acceptAgain is when to watch the listeners again; zero while they are.
	acceptAgain time.Time

	*broadcast
}

// ending is a connection that is closed at a time, unless the peer closes first.
type ending struct {
	fd int
	at time.Time
}

// run ends only by an error.
func (l *loop) run() error {
	events := make([]unix.EpollEvent, eventsPerWait)
	for {
		n, err := unix.EpollWait(l.poll, events, l.timeout())
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, event := range events[:max(n, 0)] {
			if i, ok := l.listener(event.Fd); ok {
				err = l.accept(l.listeners[i])
			} else if l.broadcast != nil && int(event.Fd) == l.wake {
				err = l.deliver()
			} else {
				err = l.handle(int(event.Fd))
			}
			if err != nil {
				return err
			}
		}
		if err := l.expire(); err != nil {
			return err
		}
	}
}

func (l *loop) listener(fd int32) (int, bool) {
	for i := range l.listeners {
		if l.listeners[i].FD == int(fd) {
			return i, true
		}
	}
	return 0, false
}

func (l *loop) accept(from listener.Raw) error {
	for range acceptsPerEvent {
		fd, err := from.Accept()
		switch {
		case err == unix.EAGAIN:
			return nil
		case err != nil && listener.OutOfResources(err):
			return l.restFromAccepting()
		case err != nil:
			return fmt.Errorf("accept on %s: %w", from.Address, err)
		}
		owner := l.loops[fd%len(l.loops)]
		if err := control(owner.poll, unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			// fs.epoll.max_user_watches is used up: one connection less.
			unix.Close(fd)
		}
	}
	return nil
}

func (l *loop) handle(fd int) error {
	socket := l.sockets.At(fd / len(l.loops))
	wasUpgraded, wasBlocked := socket.Upgraded(), socket.Blocked()
	if l.broadcast != nil {
		l.sender, l.slots = fd, max(l.slots, fd/len(l.loops)+1)
	}
	state := socket.Handle(fd, l.in, &l.out, l.rules)
	if state == session.Dead {
		if wasUpgraded {
			l.open.Add(-1)
		}
		// Closing removes it from the epoll instance, too. It must come last: the
		// descriptor may be accepted again at once.
		unix.Close(fd)
		return nil
	}
	if socket.Upgraded() != wasUpgraded {
		l.open.Add(1)
	}
	if state == session.Ending {
		l.ending = append(l.ending, ending{fd, time.Now().Add(listener.LingerTime)})
	}
	if socket.Blocked() == wasBlocked {
		return nil
	}
	interest := uint32(unix.EPOLLIN)
	if socket.Blocked() {
		interest = unix.EPOLLOUT
	}
	return control(l.poll, unix.EPOLL_CTL_MOD, fd, interest)
}

func control(poll, operation, fd int, events uint32) error {
	if err := unix.EpollCtl(poll, operation, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll_ctl of descriptor %d: %w", fd, err)
	}
	return nil
}

// watchListeners lets this loop accept. EPOLLEXCLUSIVE keeps the kernel from
// waking every loop for each connection.
func (l *loop) watchListeners() error {
	for _, from := range l.listeners {
		if err := control(l.poll, unix.EPOLL_CTL_ADD, from.FD, unix.EPOLLIN|unix.EPOLLEXCLUSIVE); err != nil {
			return err
		}
	}
	l.acceptAgain = time.Time{}
	return nil
}

// restFromAccepting keeps a loop that has run out of descriptors from spinning.
func (l *loop) restFromAccepting() error {
	for _, from := range l.listeners {
		if err := control(l.poll, unix.EPOLL_CTL_DEL, from.FD, 0); err != nil {
			return err
		}
	}
	l.acceptAgain = time.Now().Add(listener.RetryPause)
	return nil
}

// timeout is that of the next epoll_wait(2), in milliseconds: none at all unless
// something is to be done at a time.
func (l *loop) timeout() int {
	next := l.acceptAgain
	if len(l.ending) > 0 && (next.IsZero() || l.ending[0].at.Before(next)) {
		next = l.ending[0].at
	}
	if next.IsZero() {
		return -1
	}
	// Rounded up, or the last fraction of a millisecond would be spent spinning.
	return max(0, int(time.Until(next)/time.Millisecond)+1)
}

// expire does what was to be done by now.
func (l *loop) expire() error {
	for len(l.ending) > 0 && time.Until(l.ending[0].at) <= 0 {
		fd := l.ending[0].fd
		l.ending = l.ending[1:]
		// If the peer has closed, the descriptor may be another connection's.
		if socket := l.sockets.At(fd / len(l.loops)); socket.Ended() {
			if socket.Upgraded() {
				l.open.Add(-1)
			}
			socket.Drop()
			unix.Close(fd)
		}
	}
	if !l.acceptAgain.IsZero() && time.Until(l.acceptAgain) <= 0 {
		return l.watchListeners()
	}
	return nil
}
