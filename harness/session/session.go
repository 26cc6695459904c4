// Package session runs one fresh server under one swarm, with the meter that reads them and
// the sampler that watches them over time. A trial opens a session for its main server,
// and one for each further server that a phase asks for.
//
// Server and Swarm are interfaces, so that the decisions of a trial can be tested with
// scripted ones.
package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/harness/agent"
	"connbench/harness/cause"
	"connbench/harness/record"
	"connbench/servers/contract"
)

// ErrNoSockets says that a server speaks TCP itself, so that the kernel has no sockets of
// its connections.
var ErrNoSockets = errors.New("the server speaks TCP itself: the kernel has no sockets of its connections")

// Server is the program under test: one or more processes.
type Server interface {
	// Addresses returns the addresses that its processes listen on.
	Addresses() []string
	// Ask asks every process a question of the contract, and adds up the answers. The error
	// is [ErrNoAnswers] if the server does not speak the contract.
	Ask(ctx context.Context, question string) (contract.Stats, error)
	// Measure reads the processes and their host. Figures that take long are read only with
	// detail.
	Measure(ctx context.Context, detail bool) (agent.Measurement, error)
	// Established returns the number of connections that the processes have accepted, by the
	// kernel's count. The error is [ErrNoSockets] where the kernel has none to count.
	Established(ctx context.Context) (int64, error)
	// Ended says how the first process ended; nil while all live. It is a [ContractError]
	// if the process was killed because it broke the contract.
	Ended() error
	// AwaitEnd waits a moment for the end of a process to be reported. Clients notice that
	// a server dies before its exit status is known.
	AwaitEnd()
	// LastWords returns the last lines that a process wrote to its standard error; "" if
	// none did.
	LastWords(ctx context.Context) string
	// Stderr returns the beginning of what each process wrote to its standard error.
	Stderr(ctx context.Context) string
	// Restart kills the processes, and starts them again on the same addresses. It returns when
	// they listen.
	Restart(ctx context.Context) error
	// Stop ends the processes and returns when none is left. The error says if they did not
	// end as they should: it is a [ContractError] if they left other processes behind.
	Stop(ctx context.Context) error
}

// Swarm is the clients, on one or more hosts.
type Swarm interface {
	// Do carries out a command. Its counts, rates and windows are for the whole swarm.
	Do(ctx context.Context, c control.Command) (control.Result, error)
	// Interrupt ends the running command early; its Do returns what it has.
	Interrupt(ctx context.Context)
	// OnProgress sets the function that is called while a command runs, from any goroutine,
	// with the number of open connections and of answered messages.
	OnProgress(func(open int, messages int64))
	// Usage adds up what all processes of the swarm use.
	Usage(ctx context.Context) (agent.Tree, error)
	// Stop ends the processes and returns when none is left. The error names those that
	// could not be killed.
	Stop(ctx context.Context) error
}

// Options say how a session's server differs from the plan's.
type Options struct {
	// WorkMicroseconds is the CPU time that each message takes the server.
	WorkMicroseconds int
	// Broadcast has the server send each message to all connections, and Hear says how those of
	// HTTP hear it: one of [control.Hearings].
	Broadcast bool
	Hear      string
}

// Opener starts a fresh server and a swarm for it. They must be stopped even if it returns
// an error as well.
type Opener func(ctx context.Context, o Options) (Server, Swarm, error)

// Watch says what to do with what a session sees over time.
type Watch struct {
	// Trial is the number of the trial in samples. Their time runs from Started.
	Trial   int
	Started time.Time
	// ReserveBytes is the memory that must stay available on the server's host, and in its
	// control groups ([reading.GroupUse.Reserve]).
	ReserveBytes int64
	// Sample receives readings, Update the number of open connections and of messages in
	// this phase. Both are called from other goroutines.
	Sample func(record.Sample)
	Update func(open int, messages int64)
}

// Session is one fresh server under its own swarm.
type Session struct {
	Server Server
	Swarm  Swarm
	Meter  *Meter

	sampler *sampler
}

// Start opens a session. It must be closed even if there is an error.
func Start(ctx context.Context, open Opener, o Options, w Watch) (*Session, error) {
	s := &Session{}
	var err error
	if s.Server, s.Swarm, err = open(ctx, o); err != nil {
		return s, err
	}
	s.Meter = &Meter{server: s.Server}
	s.sampler = startSampler(ctx, s, w)
	return s, nil
}

// Enter begins a phase. Samples have its name. If it opens connections, the memory reserve
// ends its command.
func (s *Session) Enter(phase string, opens bool) { s.sampler.enter(phase, opens) }

// ReserveReached returns the memory that was short when the reserve ended a ramp; nil if it
// did not.
func (s *Session) ReserveReached() *cause.Shortage { return s.sampler.reserveReached() }

// Reported returns the number of open connections that the swarm last reported: all that is
// known of them when the swarm has died.
func (s *Session) Reported() int { return s.sampler.lastOpen() }

// PeakRSS is the largest resident memory of the server that was seen in this phase: in the
// samples, and in the latest reading. It is nil if it is unknown.
func (s *Session) PeakRSS() *int64 {
	s.sampler.lock.Lock()
	defer s.sampler.lock.Unlock()
	return larger(s.sampler.peakRSS, s.Meter.Last.RSSBytes())
}

// Do has the swarm carry out a command, and adds up what the swarm spends on it.
func (s *Session) Do(ctx context.Context, c control.Command) (control.Result, error) {
	result, err := s.Swarm.Do(ctx, c)
	s.Meter.SwarmSeconds += result.Usage.UserSeconds + result.Usage.SystemSeconds
	return result, err
}

// Metered carries out a command as a piece of a phase, and returns the cost of the piece.
// events returns the number of events in the result.
func (s *Session) Metered(ctx context.Context, phase string, c control.Command, events func(control.Result) int64) (control.Result, record.Phase, error) {
	if err := s.Meter.Begin(ctx, phase); err != nil {
		return control.Result{}, record.Phase{}, err
	}
	result, err := s.Do(ctx, c)
	if err != nil {
		return result, record.Phase{}, err
	}
	piece, err := s.endPiece(ctx, events(result), result)
	return result, piece, err
}

// endPiece reads the server after a command. Its error is a [MeterError].
func (s *Session) endPiece(ctx context.Context, events int64, result control.Result) (record.Phase, error) {
	piece, err := s.Meter.End(ctx, events, result.Usage)
	if err != nil {
		err = &MeterError{err}
	}
	return piece, err
}

// Restart restarts the server while the swarm carries out a command, as a piece of a phase. The
// piece has the cost of the new processes alone; down is how long there were none that listened.
func (s *Session) Restart(ctx context.Context, phase string, c control.Command, events func(control.Result) int64) (result control.Result, piece record.Phase, down time.Duration, err error) {
	if err := s.Meter.Begin(ctx, phase); err != nil {
		return result, piece, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var err error
		result, err = s.Do(ctx, c)
		done <- err
	}()
	killed := time.Now()
	restart := s.Server.Restart(ctx)
	if down = time.Since(killed); restart == nil {
		s.Meter.restarted()
		s.sampler.forgetPeak()
	} else {
		cancel() // nobody can come back
	}
	if err = <-done; restart != nil {
		return control.Result{}, piece, down, fmt.Errorf("the server was killed and did not start again: %w", restart)
	}
	if err != nil {
		return result, piece, down, err
	}
	piece, err = s.endPiece(ctx, events(result), result)
	return result, piece, down, err
}

// MeterError is an error of the reading after a command. The command's result is valid.
type MeterError struct{ error }

// Unwrap returns the error of the reading.
func (e *MeterError) Unwrap() error { return e.error }

// HasResult says whether a command with this error still has a result: it was carried out,
// and at most the reading after it failed.
func HasResult(err error) bool {
	failed := (*MeterError)(nil)
	return err == nil || errors.As(err, &failed)
}

// Close ends swarm and server, even if ctx has ended. The error says if they did not end as
// they should.
func (s *Session) Close(ctx context.Context) error {
	if s.sampler != nil {
		s.sampler.stop()
	}
	ctx = context.WithoutCancel(ctx)
	var swarm, server error
	if s.Swarm != nil {
		swarm = s.Swarm.Stop(ctx)
	}
	if s.Server != nil {
		server = s.Server.Stop(ctx)
	}
	return errors.Join(swarm, server)
}

// ErrNoAnswers is the error of a server that does not speak the contract, because somebody
// else has started it. Its figures are those that the kernel has of it.
var ErrNoAnswers = errors.New("the server does not speak the contract")

// ErrNotOurs is the error of a server that we must not restart, because somebody else has
// started it.
var ErrNotOurs = errors.New("the server is somebody else's")

// ErrSwarmEnded is the error if a swarm program ends unexpectedly.
var ErrSwarmEnded = errors.New("ended")

// ContractError says how a server broke the contract of servers/README.md.
type ContractError struct{ What string }

func (e *ContractError) Error() string { return e.What }

// StartError is the error if a process could not be started.
type StartError struct{ Err error }

func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *StartError) Unwrap() error { return e.Err }

// Refused reports whether the host has no room for another process (fork(2)).
func (e *StartError) Refused() bool {
	return errors.Is(e.Err, unix.EAGAIN) || errors.Is(e.Err, unix.ENOMEM)
}
