package coordinator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/worker"
)

const (
	// monitorSlack is the timer slack that workers are started with. The Go
	// runtime's monitor thread sleeps for 20 us to 10 ms at a time while the event
	// loop works; with dozens of workers that costs more than the loops do. It has
	// nothing to do there, and with slack the kernel puts it off. The loop's own
	// thread sets its slack anew.
	monitorSlack = 100 * time.Millisecond
	// endTimeout is how long workers may take to reset their connections.
	endTimeout = 20 * time.Second
)

// process is a worker process as the coordinator sees it.
type process struct {
	index    int
	command  *exec.Cmd
	in       io.WriteCloser
	orders   *json.Encoder
	capacity int  // the most connections it may have
	open     int  // connections, as of its last line
	gone     bool // the process has ended
}

// line is what a worker said, or why it will say no more.
type line struct {
	worker *process
	worker.Reply
	err error
}

// start starts n workers, bound to the CPUs in turn.
func (c *coordinator) start(n int, cpus []int) error {
	// The coordinator too keeps to the CPUs given; the others are the server's.
	if err := bindAll(cpus); err != nil {
		return err
	}
	// A new process inherits the CPUs and the timer slack of the thread that starts
	// it (sched_setaffinity(2), prctl(2)). Workers get one CPU each.
	defer bind(0, cpus)
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(monitorSlack), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_TIMERSLACK): %w", err)
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // its default
	for i := range n {
		if err := bind(0, cpus[i%len(cpus):][:1]); err != nil {
			return err
		}
		command := exec.Command("/proc/self/exe", worker.Argument)
		command.Stderr = os.Stderr
		// A session each: a kernel with autogroups (sched(7)) gives each session, not
		// each process, its share of a CPU. Dozens of workers would have the share of
		// one process, and be hundreds of milliseconds late next to a busy one.
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
		in, err := command.StdinPipe()
		if err != nil {
			return fmt.Errorf("worker %d: %w", i, err)
		}
		out, err := command.StdoutPipe()
		if err != nil {
			return fmt.Errorf("worker %d: %w", i, err)
		}
		if err := command.Start(); err != nil {
			return fmt.Errorf("worker %d of %d cannot be started: %w", i+1, n, err)
		}
		w := &process{index: i, command: command, in: in, orders: json.NewEncoder(in)}
		c.workers = append(c.workers, w)
		go w.listen(out, c.lines)
	}
	return nil
}

// listen passes on what a worker says, to its end.
func (w *process) listen(out io.Reader, lines chan<- line) {
	decoder := json.NewDecoder(bufio.NewReader(out))
	for {
		l := line{worker: w}
		if err := decoder.Decode(&l.Reply); err != nil {
			l.err = fmt.Errorf("worker %d: %w", w.index+1, w.exit(err))
			lines <- l
			return
		}
		lines <- l
	}
}

// exit says how a worker that has closed its output ended.
func (w *process) exit(reading error) error {
	if err := w.command.Wait(); err != nil {
		return err // such as "signal: killed"
	}
	if errors.Is(reading, io.EOF) {
		return errors.New("ended")
	}
	return reading
}

// note takes from a line what is known of its worker.
func (w *process) note(l line) {
	w.open = l.Open
	w.gone = l.err != nil
}

func (w *process) send(o worker.Order) error {
	if err := w.orders.Encode(o); err != nil {
		return fmt.Errorf("worker %d: %w", w.index+1, err)
	}
	return nil
}

// stop ends what a worker does. A worker that is gone shows otherwise.
func (w *process) stop() {
	o := worker.Order{}
	o.Op = control.OpStop
	_ = w.send(o)
}

// end ends the workers: they reset their connections, and are killed if they do
// not end soon.
func (c *coordinator) end() {
	for _, w := range c.workers {
		w.in.Close()
	}
	late := time.AfterFunc(endTimeout, func() {
		for _, w := range c.workers {
			w.command.Process.Kill()
		}
	})
	defer late.Stop()
	for _, w := range c.workers {
		for !w.gone {
			l := <-c.lines
			l.worker.note(l)
		}
	}
}
