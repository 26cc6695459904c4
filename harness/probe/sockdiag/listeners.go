package sockdiag

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Listener is a TCP socket that accepts connections.
type Listener struct {
	Address netip.AddrPort
	// Inode is the socket's, as /proc/PID/fd names it.
	Inode uint32
	// Backlog is the length of its accept queue.
	Backlog int64
}

// Listeners lists the listening TCP sockets of this network namespace.
func Listeners() (list []Listener, err error) {
	// The states of include/net/tcp_states.h, and the layout of inet_diag_msg.
	const listening, backlog, inode = 10, 60, 68
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
		request.AddData(diagRequest{family, listening})
		err := request.ExecuteIter(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY, func(message []byte) bool {
			local, owned := socketOf(message)
			if owned {
				list = append(list, Listener{
					Address: local,
					Inode:   binary.NativeEndian.Uint32(message[inode:]),
					Backlog: int64(binary.NativeEndian.Uint32(message[backlog:])),
				})
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Inside calls do in the network namespace of the process pid; 0 is this process's own.
func Inside(pid int, do func() error) error {
	if pid == 0 {
		return do()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends with the goroutine
		namespace, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = enter(namespace)
			unix.Close(namespace)
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// enter moves this thread into a network namespace, unless it is there already: that takes no
// rights.
func enter(namespace int) error {
	var there, here unix.Stat_t
	if err := unix.Fstat(namespace, &there); err != nil {
		return err
	}
	if err := unix.Stat("/proc/thread-self/ns/net", &here); err == nil && there.Ino == here.Ino && there.Dev == here.Dev {
		return nil
	}
	return unix.Setns(namespace, unix.CLONE_NEWNET)
}
