package split

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/usage"
)

const (
	// WorkerArgument makes a worker of the program that this package is in.
	WorkerArgument = "worker"
	// ownDescriptors is what a process needs besides its connections or workers:
	// standard streams, epoll, the Go runtime's own, and some to spare.
	ownDescriptors = 32
	// workerDescriptors is what a worker costs the coordinator: two pipes, and
	// the pidfd by which Go's os/exec knows it.
	workerDescriptors = 3
	// monitorSlack is the timer slack that workers are started with. The Go
	// runtime's monitor thread sleeps for 20 us to 10 ms at a time while the event
	// loop works; with dozens of workers that costs more than the loops do. It has
	// nothing to do there, and with slack the kernel puts it off. The loop's own
	// thread sets its slack anew.
	monitorSlack = 100 * time.Millisecond
	// endTimeout is how long workers may take to reset their connections.
	endTimeout = 20 * time.Second
)

// configure checks the configuration and starts the workers.
func (c *coordinator) configure(config *control.Config) (*control.Result, error) {
	switch {
	case c.workers != nil:
		return nil, errors.New("configure: done already")
	case config == nil:
		return nil, errors.New("configure: config is missing")
	case config.Processes < 0:
		return nil, fmt.Errorf("configure: processes: %d is negative", config.Processes)
	case config.Connections < 1:
		return nil, fmt.Errorf("configure: connections: %d is not positive", config.Connections)
	}
	engine, err := engineNamed(config.Engine)
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	c.config = *config
	a := assignment{Config: *config}
	if err := a.resolvePorts(); err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	plan, err := a.plan()
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	if err := engine.check(plan); err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	cpus, err := usableCPUs(config.CPUs)
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}
	a.Workers, err = engine.workers(config.Connections, len(cpus), config.Processes, plan)
	if err != nil {
		return nil, fmt.Errorf("configure: %w", err)
	}

	before, began := usage.CPU(), clock.Now()
	if err := c.employ(a, cpus); err != nil {
		c.end()
		c.workers = nil
		return nil, fmt.Errorf("configure: %w", err)
	}
	used := usage.CPU().Sub(before)
	return &control.Result{
		Processes: a.Workers,
		Seconds:   float64(clock.Now()-began) / 1e9,
		Usage: control.Usage{
			UserSeconds:   used.User,
			SystemSeconds: used.System,
			RSSBytes:      c.memory.Resident(),
			PSSBytes:      c.memory.Proportional(),
		},
	}, nil
}

// employ starts the workers and tells them what they are for.
func (c *coordinator) employ(a assignment, cpus []int) error {
	if err := c.start(a.Workers, cpus); err != nil {
		return err
	}
	orders := make([]order, a.Workers)
	for i := range orders {
		part := a
		part.Worker = i
		part.Capacity = share(a.Connections, i, a.Workers)
		orders[i] = order{Assignment: &part}
		orders[i].Op = control.OpConfigure
	}
	_, _, err := c.carry(orders, len(orders))
	return err
}

// resolvePorts asks the kernel for the reserved ports and, where none are given, for
// the source ports.
func (a *assignment) resolvePorts() error {
	const folder = "/proc/sys/net/ipv4/"
	reserved, err := os.ReadFile(folder + "ip_local_reserved_ports")
	if err != nil {
		return err
	}
	if a.Reserved, err = addresses.ParseReserved(string(reserved)); err != nil {
		return err
	}
	if a.FirstPort != 0 || a.LastPort != 0 {
		return nil
	}
	local, err := os.ReadFile(folder + "ip_local_port_range")
	if err != nil {
		return err
	}
	ports, err := addresses.ParsePortRange(string(local))
	a.FirstPort, a.LastPort = ports.First, ports.Last
	return err
}

// usableCPUs are those given, or all that this process may use.
func usableCPUs(given []int) ([]int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var all []int
	for cpu := range len(allowed) * strconv.IntSize {
		if allowed.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	for _, cpu := range given {
		if !slices.Contains(all, cpu) {
			return nil, fmt.Errorf("cpus: %d is not among those that this process may use: %v", cpu, all)
		}
	}
	if len(given) > 0 {
		return given, nil
	}
	return all, nil
}

// workersNeeded is the number of processes for so many connections: as many as
// asked for; 0: one for each CPU, or as many as their limits of descriptors demand.
func workersNeeded(connections, cpus, asked int) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("getrlimit: %w", err)
	}
	// Go raises the soft limit to the hard one at the start of every process.
	if limit.Max <= ownDescriptors {
		return 0, fmt.Errorf("RLIMIT_NOFILE is %d, and every process needs more than %d; raise it (ulimit -n)", limit.Max, ownDescriptors)
	}
	each := int(min(limit.Max-ownDescriptors, 1<<31))
	workers := max((connections+each-1)/each, min(cpus, connections))
	if asked > 0 {
		workers = min(asked, connections)
	}
	if most := each / workerDescriptors; workers > most {
		return 0, fmt.Errorf("with RLIMIT_NOFILE %d, %d connections need %d processes, and %d can be held together; raise it (ulimit -n)", limit.Max, connections, workers, most)
	}
	return workers, nil
}

// workerProcess is the coordinator's view of a worker.
type workerProcess struct {
	index   int
	command *exec.Cmd
	in      io.WriteCloser
	orders  *json.Encoder
	open    int  // connections, when it last said
	gone    bool // the process has ended
}

// line is what a worker said, or why it will say no more.
type line struct {
	worker *workerProcess
	reply
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
		command := exec.Command("/proc/self/exe", WorkerArgument)
		command.Stderr = os.Stderr
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
		w := &workerProcess{index: i, command: command, in: in, orders: json.NewEncoder(in)}
		c.workers = append(c.workers, w)
		go w.listen(out, c.lines)
	}
	return nil
}

// bindAll binds all threads of this process, and with them those still to come.
func bindAll(cpus []int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := bind(id, cpus); err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended
			return err
		}
	}
	return nil
}

// bind binds a thread, 0 for the calling one, to CPUs.
func bind(thread int, cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(thread, &set); err != nil {
		return fmt.Errorf("sched_setaffinity to %v: %w", cpus, err)
	}
	return nil
}

// listen passes on what a worker says, to its end.
func (w *workerProcess) listen(out io.Reader, lines chan<- line) {
	decoder := json.NewDecoder(bufio.NewReader(out))
	for {
		l := line{worker: w}
		if err := decoder.Decode(&l.reply); err != nil {
			l.err = fmt.Errorf("worker %d: %w", w.index+1, w.exit(err))
			lines <- l
			return
		}
		lines <- l
	}
}

// exit says how a worker that has closed its output ended.
func (w *workerProcess) exit(reading error) error {
	if err := w.command.Wait(); err != nil {
		return err // such as "signal: killed"
	}
	if errors.Is(reading, io.EOF) {
		return errors.New("ended")
	}
	return reading
}

// note takes from a line what is known of its worker.
func (w *workerProcess) note(l line) {
	w.open = l.Open
	w.gone = l.err != nil
}

func (w *workerProcess) send(o order) error {
	if err := w.orders.Encode(o); err != nil {
		return fmt.Errorf("worker %d: %w", w.index+1, err)
	}
	return nil
}

// stop ends what a worker does. A worker that is gone shows otherwise.
func (w *workerProcess) stop() {
	o := order{}
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
