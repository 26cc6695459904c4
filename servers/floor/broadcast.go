package main

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// broadcast is what a loop has for messages that go to all connections.
type broadcast struct {
	// wake is an eventfd(2): other loops have posted something.
	wake int
	// sender is the descriptor whose event is being handled, and slots are those of the table
	// that may be in use.
	sender, slots int

	mu sync.Mutex
	// posted are frames that other loops have published.
	posted [][]byte
}

func (l *loop) joinBroadcast() error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	l.broadcast = &broadcast{wake: wake}
	l.rules.Publish = l.publish
	return control(l.poll, unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN)
}

// publish sends a frame to all connections but its sender, which has it from Handle.
func (l *loop) publish(frame []byte) {
	for _, other := range l.loops {
		if other != l {
			other.post(frame)
		}
	}
	l.push(frame, l.sender)
}

// post leaves a frame with l. Other loops call it.
func (l *loop) post(frame []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.posted = append(l.posted, frame); len(l.posted) == 1 {
		unix.Write(l.wake, binary.NativeEndian.AppendUint64(nil, 1))
	}
}

// deliver sends what other loops have posted.
func (l *loop) deliver() error {
	var count [8]byte
	unix.Read(l.wake, count[:])
	l.mu.Lock()
	frames := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, frame := range frames {
		l.push(frame, -1)
	}
	return nil
}

// push sends a frame to all connections of l but one.
func (l *loop) push(frame []byte, except int) {
	for slot := range l.slots {
		socket := l.sockets.At(slot)
		fd := slot*len(l.loops) + l.number
		if fd == except || !socket.Upgraded() {
			continue
		}
		wasBlocked := socket.Blocked()
		if socket.Push(fd, frame); socket.Blocked() == wasBlocked {
			continue
		}
		// It cannot fail: the descriptor is open, and registered.
		control(l.poll, unix.EPOLL_CTL_MOD, fd, unix.EPOLLOUT)
	}
}
