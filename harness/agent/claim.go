package agent

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// claimName is the name of a socket that an agent holds while it wants to be alone on
// its host. It has no file ("abstract", unix(7)): the kernel frees the name when
// the agent ends, however it ends, and it is one for all users of the host.
const claimName = "@connbench-agent"

// claimHost refuses to let two runs measure on one host at a time. It waits so long
// for the run before to end.
func claimHost(within time.Duration) (net.Listener, error) {
	for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		held, err := net.Listen("unix", claimName)
		switch {
		case err == nil:
			return held, nil
		case !errors.Is(err, unix.EADDRINUSE):
			return nil, err
		case time.Now().After(deadline):
			return nil, fmt.Errorf("another run is on this host%s: wait for its end", holder())
		}
	}
}

// holder names the agent that has the claim, "" if it cannot be found out.
func holder() string {
	connection, err := net.Dial("unix", claimName)
	if err != nil {
		return ""
	}
	defer connection.Close()
	raw, err := connection.(*net.UnixConn).SyscallConn()
	if err != nil {
		return ""
	}
	said := ""
	raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			said = fmt.Sprintf(", its agent is process %d of user %d", peer.Pid, peer.Uid)
		}
	})
	return said
}
