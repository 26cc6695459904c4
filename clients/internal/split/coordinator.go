package split

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/load"
	"connbench/clients/internal/usage"
	"connbench/clients/internal/ws"
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
	workers []*workerProcess
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
		event.Kind, event.Result, event.Error = control.KindError, nil, err.Error()
	} else {
		event.Messages = result.Delivered
	}
	return c.out.Encode(event)
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
	jobs, atOnce, err := c.divide(next.Command)
	if err != nil {
		return nil, err
	}
	before := usage.CPU()
	replies, cut, err := c.carry(orders(jobs), atOnce)
	if err != nil {
		return nil, err
	}
	result, err := merge(replies)
	if err != nil {
		return nil, err
	}
	if next.Op == control.OpRamp && result.StoppedBy == "" && cut {
		result.StoppedBy = control.StoppedByStop
	}
	result.Processes = len(c.workers)
	used := usage.CPU().Sub(before)
	result.Usage.UserSeconds += used.User
	result.Usage.SystemSeconds += used.System
	result.Usage.RSSBytes += c.memory.Resident()
	result.Usage.PSSBytes += c.memory.Proportional()
	return result, nil
}

func orders(jobs []load.Job) []order {
	list := make([]order, len(jobs))
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

// divide makes a worker's part of a command for each worker, and says how many
// of them may work at the same time.
func (c *coordinator) divide(command control.Command) (jobs []load.Job, atOnce int, err error) {
	if err := c.check(command); err != nil {
		return nil, 0, err
	}
	n := len(c.workers)
	atOnce = n
	jobs = make([]load.Job, n)
	// Time enough for every worker to have read its order.
	start := clock.Now() + int64(50*time.Millisecond) + int64(n)*int64(time.Millisecond)
	for i := range jobs {
		jobs[i] = load.Job{Command: command, Start: start}
		jobs[i].Config = nil
	}
	have := make([]int, n) // connections
	var holders []int      // workers that have any
	for i, w := range c.workers {
		have[i] = w.open
		if w.open > 0 {
			holders = append(holders, i)
		}
	}
	switch command.Op {
	case control.OpRamp:
		// A window smaller than the number of workers lets only so many work at
		// the same time.
		if command.Window > 0 {
			atOnce = min(n, command.Window)
		}
		patience := max(leastPatience, command.Connections/100)
		for i := range jobs {
			jobs[i].Connections = share(command.Connections, i, n)
			jobs[i].Window = share(command.Window, i%atOnce, atOnce)
			jobs[i].RatePerSecond = command.RatePerSecond / float64(atOnce)
			jobs[i].Offset = float64(i%atOnce) / float64(atOnce)
			jobs[i].Patience = max(patience/n, leastWorkerPatience)
		}
	case control.OpClose:
		for i, keep := range levels(have, command.Connections) {
			jobs[i].Connections = keep
		}
	case control.OpEcho, control.OpPing:
		active, sum := have, c.open()
		if command.Connections > 0 && command.Connections < sum {
			active, sum = levels(have, command.Connections), command.Connections
		}
		for i := range jobs {
			jobs[i].Connections = active[i]
			jobs[i].RatePerSecond = command.RatePerSecond * float64(active[i]) / float64(sum)
			jobs[i].Offset = float64(i) / float64(n)
		}
	case control.OpSaturate:
		for i := range jobs {
			jobs[i].InFlight = 0
		}
		for k, i := range holders {
			jobs[i].InFlight = share(command.InFlight, k, len(holders))
		}
	}
	return jobs, atOnce, nil
}

const (
	// leastPatience is the number of failures in a row after which a ramp ends,
	// unless one connection in a hundred is more.
	leastPatience = 100
	// leastWorkerPatience is the same for a worker's part: few enough to end soon,
	// more than chance makes.
	leastWorkerPatience = 10
)

// largestPayload bounds a message, in bytes.
const largestPayload = 16 << 20

// check says what is wrong with a command.
func (c *coordinator) check(command control.Command) error {
	type rule struct {
		wrong bool
		text  string
	}
	timeout := rule{command.TimeoutSeconds <= 0, "timeout_seconds must be positive"}
	seconds := rule{command.Seconds <= 0, "seconds must be positive"}
	payload := rule{command.PayloadBytes < 0 || command.PayloadBytes > largestPayload, fmt.Sprintf("payload_bytes must be between 0 and %d", largestPayload)}
	ping := rule{command.PayloadBytes < 0 || command.PayloadBytes > ws.MaxControl, fmt.Sprintf("payload_bytes must be between 0 and %d", ws.MaxControl)}
	connections := rule{
		command.Connections < 0 || command.Connections > c.config.Connections,
		fmt.Sprintf("connections must be between 0 and the %d of configure, not %d", c.config.Connections, command.Connections),
	}
	pace := rule{
		command.RatePerSecond < 0 || command.Window < 0 || command.RatePerSecond == 0 && command.Window == 0,
		"rate_per_second or window must be positive, and neither negative",
	}
	some := rule{c.open() == 0, "no connection is open; ramp first"}
	rules := map[control.Op][]rule{
		control.OpRamp:     {connections, timeout, pace},
		control.OpHold:     {seconds},
		control.OpEcho:     {connections, seconds, timeout, payload, {command.RatePerSecond <= 0, "rate_per_second must be positive"}, some},
		control.OpPing:     {seconds, timeout, ping, {command.RatePerSecond <= 0, "rate_per_second must be positive"}, some},
		control.OpSaturate: {seconds, timeout, payload, {command.InFlight <= 0, "in_flight must be positive"}, some},
		control.OpCensus:   {timeout, payload},
		control.OpClose:    {connections, timeout},
	}
	of, known := rules[command.Op]
	if !known {
		return fmt.Errorf("unknown command %q", command.Op)
	}
	for _, r := range of {
		if r.wrong {
			return fmt.Errorf("%s: %s", command.Op, r.text)
		}
	}
	return nil
}

// errEnded says that the input ended while a command ran.
var errEnded = errors.New("end of input")

// carry hands each worker its order, at most atOnce at the same time, and collects
// the replies that end them. cut says that some were stopped or never begun.
func (c *coordinator) carry(orders []order, atOnce int) (replies []reply, cut bool, err error) {
	messages := make([]int64, len(c.workers))
	begun, running := 0, 0
	begin := func() {
		for begun < len(orders) && running < atOnce && !cut {
			if sendErr := c.workers[begun].send(orders[begun]); sendErr != nil && err == nil {
				err = sendErr
			}
			begun++
			running++
		}
	}
	stop := func() {
		if cut {
			return
		}
		cut = true
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
				return nil, cut, l.err
			case l.Kind == control.KindProgress:
				messages[l.worker.index] = l.Messages
				continue
			case l.Kind == control.KindError:
				err = errors.New(l.Error)
				stop()
			default:
				replies = append(replies, l.reply)
				if l.Result != nil && l.Result.StoppedBy == control.StoppedByServer {
					stop()
				}
			}
			running--
		case i, ok := <-c.inputs:
			switch {
			case !ok:
				c.ended = true
				return nil, cut, errEnded
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
				return nil, cut, encodeErr
			}
		}
	}
	return replies, cut, err
}
