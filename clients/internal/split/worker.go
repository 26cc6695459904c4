package split

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/load"
	"connbench/clients/internal/usage"
)

// Worker is the whole life of a worker process: it takes orders from standard
// input and answers on standard output, until there is no more input. Then it
// resets its connections and returns.
//
// It is one goroutine on one thread. Orders wake the engine, so that nothing
// else has to run; the coordinator has bound the process to a CPU.
func Worker() error {
	runtime.LockOSThread()
	// A load makes no garbage, and no collection is to disturb it; the heap is
	// collected after each command. The limit is for what a hostile server may
	// make us keep.
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
			if w.swarm != nil {
				w.swarm.Release()
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
	swarm  *load.Swarm // nil until configured
	memory usage.Memory
}

// idle waits for the next order.
func (w *worker) idle() error {
	if w.swarm == nil {
		poll := []unix.PollFd{{Fd: int32(w.in.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return err
		}
	} else if err := w.swarm.Idle(); err != nil {
		return err
	}
	return w.in.fill()
}

// carryOut carries out one order and replies. The error is one of the pipe.
func (w *worker) carryOut(line []byte) error {
	var o order
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("order from the coordinator: %w", err)
	}
	var done reply
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
	if w.swarm != nil {
		done.Open = w.swarm.Open()
	}
	return w.out.Encode(done)
}

func (w *worker) configure(a *assignment) error {
	plan, err := a.plan()
	if err != nil {
		return err
	}
	kind, err := engineNamed(a.Engine)
	if err != nil {
		return err
	}
	share := kind.share(plan, a.Worker, a.Workers)
	engine, err := kind.open(share, a.Capacity, w.in.fd)
	if err != nil {
		return err
	}
	if w.memory, err = usage.OpenMemory(); err != nil {
		return err
	}
	w.swarm = load.New(load.Config{
		Engine:   engine,
		Share:    share,
		Targets:  plan.Targets(),
		Capacity: a.Capacity,
		Seed:     a.Seed,
	})
	const spareBytes = 64 << 20
	debug.SetMemoryLimit(int64(spareBytes + 2*a.Capacity*w.swarm.StateBytes()))
	debug.FreeOSMemory()
	return nil
}

func (w *worker) run(job load.Job) (reply, error) {
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
	report, err := w.swarm.Run(job, interrupted, progress)
	if err == nil {
		err = pipe
	}
	if err != nil {
		return reply{}, err
	}
	debug.FreeOSMemory()
	report.Usage.RSSBytes, report.Usage.PSSBytes = w.memory.Resident(), w.memory.Proportional()
	return reply{
		Event:   control.Event{Result: &report.Result},
		Began:   report.Began,
		Ended:   report.Ended,
		Latency: report.Latency,
		Lag:     report.Lag,
	}, nil
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
