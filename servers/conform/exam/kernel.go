package exam

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/servers/family"
)

// PIDs are the ids of the server's processes: of the one that was started, and of those
// that it has started.
func (s *Server) PIDs() []int { return append([]int{s.PID()}, family.Descendants(s.PID())...) }

// Signal sends a signal to all of the server's processes.
func (s *Server) Signal(signal syscall.Signal) {
	for _, pid := range s.PIDs() {
		syscall.Kill(pid, signal)
	}
}

// OpenFiles counts the server's descriptors.
func (s *Server) OpenFiles() (n int) {
	for _, pid := range s.PIDs() {
		n += openFiles(pid)
	}
	return n
}

// openFiles counts the descriptors of a process. Since Linux 6.2 that is the
// size of /proc/PID/fd (proc_pid_fd(5)); before, it was 0 and one has to count.
func openFiles(pid int) int {
	directory := fmt.Sprintf("/proc/%d/fd", pid)
	if info, err := os.Stat(directory); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	entries, _ := os.ReadDir(directory)
	return len(entries)
}

// CPUTime is the CPU time of all threads of the server since its start, by the
// clocks that clock_getcpuclockid(3) names, with the scheduler's resolution.
func (s *Server) CPUTime() (sum time.Duration) {
	const scheduled = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h
	for _, pid := range s.PIDs() {
		var now unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|scheduled), &now); err != nil {
			s.e.Skip("this host does not tell the CPU time of another process: %v", err)
		}
		sum += time.Duration(now.Nano())
	}
	return sum
}

// ResidentBytes is the server's resident memory, VmRSS of proc_pid_status(5).
func (s *Server) ResidentBytes() (sum int64) {
	for _, pid := range s.PIDs() {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		_, after, _ := strings.Cut(string(status), "VmRSS:")
		kib, _ := strconv.ParseInt(strings.Fields(after + " 0")[0], 10, 64)
		sum += kib << 10
	}
	return sum
}

// Stopped says whether every thread of the server is stopped by a signal. The first to stop
// says nothing of the others: one that runs on for a moment may still accept.
func (s *Server) Stopped() bool {
	return !slices.ContainsFunc(s.PIDs(), func(pid int) bool { return !stopped(pid) })
}

// stopped says whether every thread of a process is (state T in proc_pid_stat(5)).
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // the pattern is sound
	for _, thread := range threads {
		stat, _ := os.ReadFile(thread)
		_, after, _ := strings.Cut(string(stat), ") ")
		if !strings.HasPrefix(after, "T") {
			return false
		}
	}
	return len(threads) > 0
}

// Hoard is how much a server may keep for one peer that does not read, in bytes, beyond what the
// kernel keeps for it.
const Hoard = 32 << 20

// KernelBuffers is the most that the kernel holds between a client that writes
// and a server that does not read, in bytes: the client's send buffer, the
// server's receive buffer, and both again for the way back (tcp(7), tcp_rmem
// and tcp_wmem).
func KernelBuffers() int {
	total := 0
	for _, name := range []string{"tcp_rmem", "tcp_wmem"} {
		text, _ := os.ReadFile("/proc/sys/net/ipv4/" + name)
		if fields := strings.Fields(string(text)); len(fields) == 3 {
			largest, _ := strconv.Atoi(fields[2])
			total += 2 * largest
		}
	}
	return total
}

// ErrNoSocket says that a server does not hold the socket that was looked for.
var ErrNoSocket = errors.New("no such socket")

// SocketOption reads an option of the server's socket that is connected to peer.
func (s *Server) SocketOption(peer *net.TCPAddr, level, option int) (value int, err error) {
	for _, pid := range s.PIDs() {
		if value, err = socketOption(pid, peer, level, option); !errors.Is(err, ErrNoSocket) {
			break
		}
	}
	return value, err
}

// socketOption reads an option of the socket of a process through a duplicate of its
// descriptor (pidfd_getfd(2)). That needs the rights of ptrace(2).
func socketOption(pid int, peer *net.TCPAddr, level, option int) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		target, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		fd, err := unix.PidfdGetfd(pidfd, target, 0)
		if errors.Is(err, unix.EBADF) {
			continue // closed in between
		}
		if err != nil {
			return 0, fmt.Errorf("pidfd_getfd: %w", err)
		}
		name, err := unix.Getpeername(fd)
		if err == nil && samePeer(name, peer) {
			value, err := unix.GetsockoptInt(fd, level, option)
			unix.Close(fd)
			return value, err
		}
		unix.Close(fd)
	}
	return 0, ErrNoSocket
}

func samePeer(name unix.Sockaddr, peer *net.TCPAddr) bool {
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return name.Port == peer.Port && peer.IP.Equal(name.Addr[:])
	case *unix.SockaddrInet6:
		return name.Port == peer.Port && peer.IP.Equal(name.Addr[:])
	}
	return false
}
