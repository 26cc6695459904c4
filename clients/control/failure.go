package control

import (
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Failure counts one kind of failure.
type Failure struct {
	Phase Phase `json:"phase"`
	Error Error `json:"error"`
	Count int64 `json:"count"`
}

// Kind is the kind of the failures that are counted.
func (f Failure) Kind() FailureKind { return FailureKind{f.Phase, f.Error} }

// FailureKind is one kind of failure: where it happened, and what went wrong.
type FailureKind struct {
	Phase Phase
	Error Error
}

func (k FailureKind) String() string { return string(k.Phase) + ": " + string(k.Error) }

// Phase is where in the life of a connection something failed.
type Phase string

// The phases.
const (
	PhaseSocket    Phase = "socket"
	PhaseBind      Phase = "bind"
	PhaseConnect   Phase = "connect"
	PhaseHandshake Phase = "handshake"
	PhaseOpen      Phase = "open" // an established connection
	PhaseSend      Phase = "send"
	PhaseEcho      Phase = "echo"
	PhasePing      Phase = "ping"
	PhaseClose     Phase = "close"
)

// Error is what went wrong: the name of an errno, or one of these.
type Error string

// What can go wrong besides errors of system calls.
const (
	Timeout        Error = "timeout"
	Unacknowledged Error = "unacknowledged"  // a timeout of a request that not even the peer's kernel has acknowledged
	Closed         Error = "closed"          // end of stream, or a close frame
	Rejected       Error = "rejected"        // an HTTP status other than the one wanted
	BadAccept      Error = "bad accept"      // 101, but not what RFC 6455 section 4.1 demands of it
	NoCompression  Error = "no compression"  // 101 without the compression that was offered, or with another
	BadAnswer      Error = "bad answer"      // not HTTP, or too long
	BadFrame       Error = "bad frame"       // nothing that the protocol allows, such as a frame against RFC 6455
	Mismatch       Error = "mismatch"        // an echo of something else, or of nothing
	NoTLS          Error = "no TLS"          // not a record of RFC 8446 in answer to the first one
	BadCertificate Error = "bad certificate" // one that does not verify
	Alert          Error = "TLS alert"       // the server ended the connection by an alert, other than close_notify
	BadRecord      Error = "bad record"      // a record that RFC 8446 does not allow, or that does not decrypt
)

// Error implements error.
func (e Error) Error() string { return string(e) }

// ErrnoError names why a connection ended; 0 is the end of the stream.
func ErrnoError(errno syscall.Errno) Error {
	if errno == 0 {
		return Closed
	}
	if name := unix.ErrnoName(errno); name != "" {
		return Error(name)
	}
	return Error(fmt.Sprintf("errno %d", int(errno)))
}

// FailureKinds lists every kind of failure that a swarm is known to report. A test of
// the explanations can check that they cover all of them and no others. A swarm also
// reports errnos that are not listed.
func FailureKinds() []FailureKind {
	var kinds []FailureKind
	for _, phase := range phases {
		for _, failure := range slices.Concat(phase.errors, phase.errnos) {
			kinds = append(kinds, FailureKind{phase.name, failure})
		}
	}
	return kinds
}

// phases lists what can go wrong in each phase. A bind with EADDRNOTAVAIL has run
// out of four-tuples.
var phases = []struct {
	name   Phase
	errors []Error
	errnos []Error
}{
	{PhaseSocket, nil, socketErrnos},
	{PhaseBind, nil, bindErrnos},
	{PhaseConnect, []Error{Timeout, Closed}, slices.Concat(connectErrnos, streamErrnos)},
	{PhaseHandshake, []Error{Timeout, Unacknowledged, Closed, Rejected, BadAccept, NoCompression, BadAnswer, NoTLS, BadCertificate, Alert, BadRecord}, streamErrnos},
	{PhaseOpen, []Error{Closed, Rejected, BadFrame, Alert, BadRecord}, streamErrnos},
	{PhaseSend, []Error{Timeout}, streamErrnos},
	{PhaseEcho, []Error{Timeout, Mismatch}, nil},
	{PhasePing, []Error{Timeout}, nil},
	{PhaseClose, []Error{Timeout, Closed, BadFrame, Alert, BadRecord}, streamErrnos},
}

// The errnos of a phase: socket(2), setsockopt(2) and epoll_ctl(2); bind(2);
// connect(2), and what ICMP makes of one (icmp_err_convert in the kernel's
// net/ipv4/icmp.c, tab_unreach in net/ipv6/icmp.c); send(2), recv(2) and tcp(7).
var (
	socketErrnos = []Error{
		"EACCES", "EAFNOSUPPORT", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSPC", "EPERM",
	}
	bindErrnos = []Error{
		"EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EINVAL", "ENODEV", "EPERM",
	}
	connectErrnos = []Error{
		"EACCES", "EADDRNOTAVAIL", "ECONNREFUSED", "EHOSTDOWN", "EINVAL", "EMSGSIZE", "ENETDOWN",
		"ENONET", "ENOPROTOOPT", "ENOTSUP", "EPERM", "EPROTO",
	}
	streamErrnos = []Error{
		"ECONNABORTED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ENOBUFS", "ENOMEM", "EPIPE", "ETIMEDOUT",
	}
)
