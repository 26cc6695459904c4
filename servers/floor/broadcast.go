package main

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"connbench/servers/internal/audience"
)

// broadcast is what a loop has for messages that go to all connections.
type broadcast struct {
	// wake is an eventfd(2): other loops have posted something.
	wake int
	// sender is the descriptor whose event is being handled, and slots are those of the table
	// that may be in use.
	sender, slots int

	// posted are messages that other loops have published.
	posted audience.Mailbox
}

func (l *loop) joinBroadcast() error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	l.broadcast = &broadcast{wake: wake}
	l.rules.Publish, l.rules.Board = l.publish, new(audience.Board)
	return control(l.poll, unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN)
}

// publish sends a message to all connections but its sender, which has it from Handle.
func (l *loop) publish(message []byte) {
	for _, other := range l.loops {
		if other != l && other.posted.Post(message) {
			unix.Write(other.wake, binary.NativeEndian.AppendUint64(nil, 1))
		}
	}
	l.push(message, l.sender)
}

// deliver sends what other loops have posted.
func (l *loop) deliver() error {
	var count [8]byte
	unix.Read(l.wake, count[:])
	for _, message := range l.posted.Take() {
		l.push(message, -1)
	}
	return nil
}

// push sends a message to all connections of l but one.
func (l *loop) push(message []byte, except int) {
	publication := l.rules.Publication(message)
	for slot := range l.slots {
		socket := l.sockets.At(slot)
		fd := slot*len(l.loops) + l.number
		if fd == except || !socket.Upgraded() {
			continue
		}
		wasBlocked := socket.Blocked()
		if socket.Push(fd, publication); socket.Blocked() == wasBlocked {
			continue
		}
		// It cannot fail: the descriptor is open, and registered.
		control(l.poll, unix.EPOLL_CTL_MOD, fd, unix.EPOLLOUT)
	}
}
