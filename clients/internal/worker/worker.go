// Package worker is a worker process of the swarm: an event loop on one thread, which
// carries out its part of each command over its part of the connections.
package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/load"
	"connbench/clients/internal/security"
	"connbench/clients/internal/usage"
)

// Argument makes a worker of the program that the coordinator is in.
const Argument = "worker"

// Main is the whole life of a worker process: it takes orders from standard input
// and answers on standard output, until there is no more input. Then it resets its
// connections and returns.
//
// It is one goroutine on one thread. Orders wake the engine, so that nothing
// else has to run; the coordinator has bound the process to a CPU.
func Main() error {
	runtime.LockOSThread()
	// A load makes no garbage, and collections would disturb it; the heap is
	// collected after each command. The memory limit is against hostile servers, for
	// which we might have to keep a lot.
	debug.SetGCPercent(-1)
	in := &lines{fd: 0}
	if err := unix.SetNonblock(in.fd, true); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	w := &worker{in: in, out: json.NewEncoder(os.Stdout)}
	for {
		line, ok := in.next()
		switch {
		case ok:
			if err := w.carryOut(line); err != nil {
				return err
			}
		case in.ended:
			if w.table != nil {
				w.table.Release()
			}
			return nil
		default:
			if err := w.idle(); err != nil {
				return err
			}
		}
	}
}

type worker struct {
	in     *lines
	out    *json.Encoder
	table  *connections.Table // nil until configured
	memory usage.Memory
	thread usage.Thread
}

// idle waits for the next order.
func (w *worker) idle() error {
	if w.table == nil {
		poll := []unix.PollFd{{Fd: int32(w.in.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return err
		}
	} else if err := Idle(w.table); err != nil {
		return err
	}
	return w.in.fill()
}

// carryOut carries out one order and replies. The error is one of the pipe.
func (w *worker) carryOut(line []byte) error {
	var o Order
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("order from the coordinator: %w", err)
	}
	var done Reply
	var err error
	switch o.Op {
	case control.OpStop:
		return nil // what it was to stop had ended already
	case control.OpConfigure:
		err = w.configure(o.Assignment)
	default:
		done, err = w.run(o.Job)
	}
	done.Kind, done.Op = control.KindDone, o.Op
	if err != nil {
		done.Kind, done.Error = control.KindError, err.Error()
	}
	if w.table != nil {
		done.Open = w.table.Open()
	}
	return w.out.Encode(done)
}

// configure makes the table, over the layers that are asked for.
func (w *worker) configure(a *Assignment) error {
	tuples, err := a.Tuples()
	if err != nil {
		return err
	}
	layers, err := LayersOf(a.Config)
	if err != nil {
		return err
	}
	share := layers.Engine.share(tuples, a.Worker, a.Workers)
	bare, err := layers.Engine.open(share, a.Capacity, w.in.fd)
	if err != nil {
		return err
	}
	secure, err := layers.Security(security.Config{
		Engine:   bare,
		Capacity: a.Capacity,
		Targets:  tuples.Targets(),
		TLS:      a.TLS,
		Count:    func(name string) { w.table.Tally.Count(name, 1) },
	})
	if err != nil {
		return err
	}
	if w.memory, err = usage.OpenMemory(); err != nil {
		return err
	}
	w.thread = usage.OpenThread()
	var opening control.Opening
	if a.Opening != nil {
		opening = *a.Opening
	}
	w.table = connections.New(connections.Config{
		Engine:   secure,
		Protocol: layers.Protocol,
		Share:    share,
		Targets:  tuples.Targets(),
		Capacity: a.Capacity,
		Seed:     a.Seed,
		Opening:  opening,
		Label:    func(number uint64) uint64 { return number*uint64(max(a.Hosts, 1)) + uint64(a.Host) },
		Pushes:   a.Pushes,

		Compression: a.Compression,
		Text:        a.Text,
		Hear:        a.Hear,
	})
	const spareBytes = 64 << 20
	debug.SetMemoryLimit(int64(spareBytes + 2*a.Capacity*w.table.StateBytes()))
	debug.FreeOSMemory()
	return nil
}

func (w *worker) run(job load.Job) (Reply, error) {
	var pipe error
	interrupted := func() bool {
		// The only order that may come now is to stop; or the coordinator is gone.
		pipe = w.in.fill()
		_, stop := w.in.next()
		return stop || w.in.ended || pipe != nil
	}
	progress := func(open int, messages int64) {
		event := control.Event{Kind: control.KindProgress, Op: job.Op, Open: open, Messages: messages}
		if err := w.out.Encode(event); err != nil && pipe == nil {
			pipe = err
		}
	}
	before, known := w.thread.RunDelay()
	report, err := Run(w.table, job, interrupted, progress)
	if err == nil {
		err = pipe
	}
	if err != nil {
		return Reply{}, err
	}
	if after, ok := w.thread.RunDelay(); ok && known {
		seconds := float64(after-before) / 1e9
		report.Usage.RunDelaySeconds, report.Usage.RunDelayMaxSeconds = &seconds, &seconds
	}
	debug.FreeOSMemory()
	report.Usage.RSSBytes, report.Usage.PSSBytes = w.memory.Resident(), w.memory.Proportional()
	return replyOf(report), nil
}

// lines reads lines from a descriptor that does not block.
type lines struct {
	fd    int
	text  []byte
	ended bool
}

// next returns the next whole line. It is valid until fill.
func (l *lines) next() (line []byte, ok bool) {
	line, rest, ok := bytes.Cut(l.text, []byte{'\n'})
	if ok {
		l.text = rest
	}
	return line, ok
}

// fill reads all there is.
func (l *lines) fill() error {
	var buffer [4096]byte
	for !l.ended {
		n, err := unix.Read(l.fd, buffer[:])
		switch err {
		case nil:
			l.text = append(l.text, buffer[:n]...)
			l.ended = n == 0
		case unix.EAGAIN:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("standard input: %w", err)
		}
	}
	return nil
}
