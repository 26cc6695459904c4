package main

import (
	"encoding/binary"
	"fmt"
	"sync"

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

	mu sync.Mutex
	// posted are messages that other loops have published.
	posted [][]byte
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
		if other != l {
			other.post(message)
		}
	}
	l.push(message, l.sender)
}

// post leaves a message with l. Other loops call it.
func (l *loop) post(message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.posted = append(l.posted, message); len(l.posted) == 1 {
		unix.Write(l.wake, binary.NativeEndian.AppendUint64(nil, 1))
	}
}

// deliver sends what other loops have posted.
func (l *loop) deliver() error {
	var count [8]byte
	unix.Read(l.wake, count[:])
	l.mu.Lock()
	messages := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, message := range messages {
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
