// Package writable tells when a socket can be written to again: for libraries that
// send what is left over, and tell nobody when they have.
package writable

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watcher is one epoll instance and a goroutine that waits on it. It is safe for
// concurrent use.
type Watcher struct {
	poll int
	mu   sync.Mutex
	// calls are by descriptor. Those of a descriptor which was closed stay until there
	// is a socket of that number to watch.
	calls map[int][]func()
}

// New starts a Watcher, which ends with the process.
func New() (*Watcher, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	w := &Watcher{poll: poll, calls: map[int][]func(){}}
	go w.run()
	return w, nil
}

// Once has call called once, in another goroutine, when fd can be written to or has
// failed: after those calls for fd that were asked for before. Where a descriptor is
// closed and its number taken again, a call may come too early, or after the end of
// its connection; otherwise, if fd is closed first, it does not come at all.
func (w *Watcher) Once(fd int, call func()) error {
	w.mu.Lock()
	w.calls[fd] = append(w.calls[fd], call)
	w.mu.Unlock()
	event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(fd)}
	err := unix.EpollCtl(w.poll, unix.EPOLL_CTL_MOD, fd, &event)
	if err == unix.ENOENT {
		err = unix.EpollCtl(w.poll, unix.EPOLL_CTL_ADD, fd, &event)
	}
	if err != nil {
		return fmt.Errorf("epoll_ctl of descriptor %d: %w", fd, err)
	}
	return nil
}

func (w *Watcher) run() {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(w.poll, events, -1)
		if err != nil && err != unix.EINTR {
			panic(os.NewSyscallError("epoll_wait", err)) // the arguments are wrong
		}
		for _, event := range events[:max(n, 0)] {
			w.mu.Lock()
			calls := w.calls[int(event.Fd)]
			delete(w.calls, int(event.Fd))
			w.mu.Unlock()
			for _, call := range calls {
				call()
			}
		}
	}
}
