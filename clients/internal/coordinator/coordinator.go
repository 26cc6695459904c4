// Package coordinator makes one swarm of several processes: itself, which speaks
// clients/control, and the workers, one event loop each. It divides each command, the
// workers carry out their parts, and what they counted is added up; histograms too are
// added, count by count.
package coordinator

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/load"
	"connbench/clients/internal/usage"
	"connbench/clients/internal/worker"
)

// longestCommand is the longest line of input, in bytes: room for a great many
// targets and sources.
const longestCommand = 4 << 20

// progressEvery is the time between two progress events.
const progressEvery = 200 * time.Millisecond

// Coordinate reads commands from in and writes events to out, as package control
// says, until in ends. It returns an error only if it cannot do that at all.
func Coordinate(in io.Reader, out io.Writer) error {
	// A worker gets its death signal when the thread that started it ends
	// (prctl(2), PR_SET_PDEATHSIG): it must be this one, to the end.
	runtime.LockOSThread()
	memory, err := usage.OpenMemory()
	if err != nil {
		return err
	}
	defer memory.Close()
	c := &coordinator{
		out:    json.NewEncoder(out),
		memory: memory,
		inputs: make(chan input),
		lines:  make(chan line),
	}
	go c.read(in)
	for {
		next, ok := c.nextInput()
		if !ok {
			c.end()
			return nil
		}
		if err := c.carryOut(next); err != nil {
			c.end()
			return err
		}
	}
}

type coordinator struct {
	out    *json.Encoder
	memory usage.Memory
	inputs chan input // closed at the end of input
	queue  []input    // commands that came while another ran
	ended  bool       // the input

	config  control.Config
	layers  worker.Layers
	workers []*process
	lines   chan line // from all workers
	dead    error     // why a worker is gone, and the swarm of no use any more
}

// input is a command, or what is wrong with one.
type input struct {
	control.Command
	err error
}

func (c *coordinator) read(in io.Reader) {
	defer close(c.inputs)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, longestCommand)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var i input
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&i.Command); err != nil {
			i.err = fmt.Errorf("command %.80q: %w", lines.Text(), err)
		}
		c.inputs <- i
	}
}

// nextInput returns the next command to carry out.
func (c *coordinator) nextInput() (input, bool) {
	for {
		if len(c.queue) > 0 {
			next := c.queue[0]
			c.queue = c.queue[1:]
			return next, true
		}
		if c.ended {
			return input{}, false
		}
		select {
		case next, ok := <-c.inputs:
			switch {
			case !ok:
				c.ended = true
			case next.Op == control.OpStop && next.err == nil: // there is nothing to stop
			default:
				c.queue = append(c.queue, next)
			}
		case l := <-c.lines:
			l.worker.note(l)
			if l.err != nil {
				c.dead = l.err
			}
		}
	}
}

// carryOut carries out one command and writes its last event.
func (c *coordinator) carryOut(next input) error {
	result, err := c.result(next)
	if errors.Is(err, errEnded) {
		return nil
	}
	event := control.Event{Kind: control.KindDone, Op: next.Op, Open: c.open(), Result: result}
	if err != nil {
		event.Kind, event.Result, event.Error, event.Trouble = control.KindError, nil, err.Error(), c.trouble(err)
	} else {
		event.Messages = result.Delivered + result.Late
	}
	return c.out.Encode(event)
}

// trouble is the kind of an error.
func (c *coordinator) trouble(err error) control.Trouble {
	switch {
	case c.dead != nil:
		return control.TroubleEnded
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM): // fork(2)
		return control.TroubleRefused
	}
	return ""
}

func (c *coordinator) result(next input) (*control.Result, error) {
	switch {
	case next.err != nil:
		return nil, next.err
	case c.dead != nil:
		return nil, fmt.Errorf("%s: %w; the swarm has to be started anew", next.Op, c.dead)
	case next.Op == control.OpConfigure:
		return c.configure(next.Config)
	case c.workers == nil:
		return nil, fmt.Errorf("%s: the first command has to be configure", next.Op)
	}
	jobs, atOnce, err := c.jobs(next.Command)
	if err != nil {
		return nil, err
	}
	before := usage.CPU()
	replies, err := c.carry(orders(jobs), atOnce)
	if err != nil {
		return nil, err
	}
	result, err := merge(replies)
	if err != nil {
		return nil, err
	}
	result.Processes = len(c.workers)
	used := usage.CPU().Sub(before)
	result.Usage.UserSeconds += used.User
	result.Usage.SystemSeconds += used.System
	result.Usage.RSSBytes += c.memory.Resident()
	result.Usage.PSSBytes += c.memory.Proportional()
	return result, nil
}

func orders(jobs []load.Job) []worker.Order {
	list := make([]worker.Order, len(jobs))
	for i, job := range jobs {
		list[i].Job = job
	}
	return list
}

// open is the number of connections open, as far as the workers have said.
func (c *coordinator) open() (open int) {
	for _, w := range c.workers {
		open += w.open
	}
	return open
}

// jobs checks a command and divides it among the workers. atOnce is how many of them
// may work at the same time.
func (c *coordinator) jobs(command control.Command) (jobs []load.Job, atOnce int, err error) {
	definition, err := load.Loads.Find(string(command.Op))
	if err != nil {
		return nil, 0, err
	}
	hosts := max(c.config.Hosts, 1)
	swarm := load.Swarm{
		Open: c.open(), Capacity: c.config.Connections, LargestPing: c.layers.Protocol.LargestPing, Hosts: hosts,
	}
	if err := definition.Check(command, swarm); err != nil {
		return nil, 0, err
	}
	here := onHost(command, c.config.Host, hosts, c.config.Connections, definition.Traits)
	parts := make([]part, len(c.workers))
	for i, w := range c.workers {
		parts[i] = part{open: w.open, capacity: w.capacity}
	}
	jobs, atOnce = divide(here, parts, definition.Traits)
	// Time enough for every worker to have read its order.
	start := clock.Now() + int64(50*time.Millisecond) + int64(len(jobs))*int64(time.Millisecond)
	for i := range jobs {
		jobs[i].Start = start
	}
	return jobs, atOnce, nil
}

// errEnded says that the input ended while a command ran.
var errEnded = errors.New("end of input")

// carry hands each worker its order, at most atOnce at the same time, and collects
// the replies that end them. A worker that never began because all were stopped counts
// as one that was stopped.
func (c *coordinator) carry(orders []worker.Order, atOnce int) (replies []worker.Reply, err error) {
	messages := make([]int64, len(c.workers))
	begun, running, stopped := 0, 0, false
	begin := func() {
		for begun < len(orders) && running < atOnce && !stopped {
			if sendErr := c.workers[begun].send(orders[begun]); sendErr != nil && err == nil {
				err = sendErr
			}
			begun++
			running++
		}
	}
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		for _, w := range c.workers[:begun] {
			w.stop()
		}
	}
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for begin(); running > 0; begin() {
		select {
		case l := <-c.lines:
			l.worker.note(l)
			switch {
			case l.err != nil:
				c.dead = l.err
				return nil, l.err
			case l.Kind == control.KindProgress:
				messages[l.worker.index] = l.Messages
				continue
			case l.Kind == control.KindError:
				err = errors.New(l.Error)
				stop()
			default:
				replies = append(replies, l.Reply)
				if l.Result != nil && l.Result.StoppedBy == control.StoppedByServer {
					stop()
				}
			}
			running--
		case i, ok := <-c.inputs:
			switch {
			case !ok:
				c.ended = true
				return nil, errEnded
			case i.Op == control.OpStop && i.err == nil:
				stop()
			default:
				c.queue = append(c.queue, i)
			}
		case <-ticker.C:
			progress := control.Event{Kind: control.KindProgress, Op: orders[0].Op, Open: c.open()}
			for _, n := range messages {
				progress.Messages += n
			}
			if encodeErr := c.out.Encode(progress); encodeErr != nil {
				return nil, encodeErr
			}
		}
	}
	for _, w := range c.workers[begun:] {
		reply := worker.Reply{}
		reply.Result = &control.Result{Open: w.open, StoppedBy: control.StoppedByStop}
		replies = append(replies, reply)
	}
	return replies, err
}
