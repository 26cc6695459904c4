package listener

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Raw is a listening socket that Go's own poller knows nothing of.
type Raw struct {
	FD      int
	Address string
}

// ListenRaw listens on each address. Name resolution, IPv6 and socket options
// are those of [Listen], and so is what happens after an error; the descriptor
// is then taken over.
func ListenRaw(addresses []string, backlog int) ([]Raw, error) {
	raws := make([]Raw, 0, len(addresses))
	for _, address := range addresses {
		l, err := listen(address, backlog)
		if err != nil {
			return nil, err
		}
		raw, err := takeOver(l)
		if err != nil {
			return nil, err
		}
		raws = append(raws, raw)
	}
	return raws, nil
}

// takeOver leaves the socket with its only descriptor in our hands. It stays
// non-blocking, which is a property of the socket and not of the descriptor.
func takeOver(l *net.TCPListener) (Raw, error) {
	raw := Raw{Address: l.Addr().String()}
	err := control(l, func(fd int) (err error) {
		raw.FD, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return raw, fmt.Errorf("duplicate the listener of %s: %w", raw.Address, err)
	}
	return raw, l.Close()
}

// RawAddresses are the addresses that the sockets listen on.
func RawAddresses(raws []Raw) []string {
	addresses := make([]string, len(raws))
	for i, raw := range raws {
		addresses[i] = raw.Address
	}
	return addresses
}

// Accept takes one connection from the accept queue, non-blocking; EAGAIN says
// that there is none. The peer's address is not asked for: nobody reads it.
func (r Raw) Accept() (fd int, err error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(r.FD), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR, unix.ECONNABORTED:
			// Interrupted, or the peer gave up while it was waiting: the next one.
		default:
			return -1, errno
		}
	}
}
