package load

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/engine"
)

const (
	// burst is the largest number of connects, or of messages, between two looks
	// at what has come in.
	burst = 64
	// catchUp is how far behind its pace a ramp may run and still make up for it.
	// What is further behind is dropped, so that no flood follows a stall.
	catchUp = int64(20 * time.Millisecond)
	// allFailures, times the patience, is the number of failures in all after
	// which a ramp ends, successes between them or not.
	allFailures = 10
	// mostTaken is the number of tuples in a row that may be somebody else's. It is
	// more than one source address has ports, and takes a few seconds to try.
	mostTaken = 1 << 20
)

// ramp opens connections until there are as many as asked for.
type ramp struct {
	quiet
	s       *Swarm
	target  int
	window  int   // 0: no limit
	timeout int64 // nanoseconds, as all times here
	// interval is the time between two connects, 0: none; next is the next one's.
	interval float64
	next     float64

	begun   bool    // a connect has begun
	waiting ring    // free connections, those that failed last
	opening []int32 // begun and not verified
	expire  int64   // when to look for timeouts again

	patience  int
	failed    int   // in all
	inARow    int   // since the last success
	rowBegan  int64 // first failure in a row
	taken     int   // tuples in a row that were somebody else's
	stoppedBy string
}

func newRamp(s *Swarm, job Job, now int64) *ramp {
	r := &ramp{
		s:        s,
		target:   job.Connections,
		window:   job.Window,
		timeout:  nanoseconds(job.TimeoutSeconds),
		patience: job.Patience,
	}
	if job.RatePerSecond > 0 {
		r.interval = 1e9 / job.RatePerSecond
	}
	r.next = float64(now) + job.Offset*r.interval
	r.waiting = ring{list: s.list}
	for i := range s.conns {
		if s.conns[i].phase == free {
			r.waiting.push(int32(i))
		}
	}
	return r
}

func (r *ramp) step(now int64) (next int64, done bool) {
	r.expireOld(now)
	if r.s.stopped {
		r.stoppedBy = control.StoppedByStop
	}
	switch {
	case r.stoppedBy == control.StoppedByClient && len(r.opening) > 0:
		return r.expire, false // this side's limit allows those that are under way
	case r.stoppedBy != "":
		r.abandon()
		return 0, true
	}
	if behind := float64(now - catchUp); r.next < behind {
		r.next = behind
	}
	for range burst {
		if !r.ready() {
			break
		}
		if r.interval > 0 && r.next > float64(now) {
			return min(int64(r.next), r.expire), false
		}
		if r.start(now); r.taken == 0 { // another tuple is tried in the same turn
			r.next += r.interval
		}
	}
	switch {
	case r.stoppedBy == "" && r.s.open >= r.target:
		return 0, true
	case r.stoppedBy == "" && len(r.opening) > 0 && !r.ready():
		return r.expire, false
	case r.stoppedBy == "" && len(r.opening) == 0 && r.waiting.empty():
		r.stoppedBy = control.StoppedByClient // no tuple is left for those that are missing
	}
	return now, false
}

// ready says whether another connect may begin, its time aside.
func (r *ramp) ready() bool {
	return r.stoppedBy == "" && !r.waiting.empty() &&
		r.s.open+len(r.opening) < r.target &&
		(r.window == 0 || len(r.opening) < r.window)
}

// start begins a connect, or tries to.
func (r *ramp) start(now int64) {
	s := r.s
	i := int(r.waiting.pop())
	if s.tuple(i) >= s.share.Len() && !s.move(i) {
		s.tally.fail(control.PhaseBind, control.ErrnoError(unix.EADDRNOTAVAIL)) // all four-tuples are in use
		return
	}
	tuple := s.share.Tuple(s.tuple(i))
	failure := s.engine.Open(i, tuple.From, tuple.To)
	if failure != (engine.Failure{}) {
		s.tally.fail(failure.Phase, control.ErrnoError(failure.Errno))
		r.notBegun(i, failure.Errno)
		return
	}
	r.taken = 0
	if !r.begun {
		r.begun = true
		s.tally.began, s.tally.ended = now, now
	}
	s.conns[i] = conn{phase: connecting, since: now, place: uint32(len(r.opening))}
	r.opening = append(r.opening, int32(i))
}

// notBegun says what follows from a connect that could not begin.
func (r *ramp) notBegun(i int, errno syscall.Errno) {
	switch {
	case exhausted(errno):
		r.stoppedBy = control.StoppedByClient
	case !taken(errno):
		r.taken = 0
		r.fail(i)
	default:
		// The tuple is somebody else's, which is no fault of the server: the
		// connection takes another one, as long as there is any.
		if r.taken++; r.taken > mostTaken {
			r.stoppedBy = control.StoppedByClient
		} else if r.s.move(i) {
			r.waiting.push(int32(i))
		}
	}
}

// taken says that a four-tuple is in use by somebody else.
func taken(errno syscall.Errno) bool {
	return errno == unix.EADDRINUSE || errno == unix.EADDRNOTAVAIL
}

// exhausted says that this side has no descriptor or memory left. ENOSPC is that
// of epoll_ctl(2): fs.epoll.max_user_watches.
func exhausted(errno syscall.Errno) bool {
	switch errno {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ENOSPC:
		return true
	}
	return false
}

// expireOld gives up those that have taken too long. It looks twenty times per
// timeout; that bounds how much too long.
func (r *ramp) expireOld(now int64) {
	if now < r.expire {
		return
	}
	r.expire = now + max(r.timeout/20, int64(time.Millisecond))
	for k := len(r.opening) - 1; k >= 0; k-- {
		i := int(r.opening[k])
		if c := &r.s.conns[i]; now-c.since >= r.timeout {
			why := control.Timeout
			if c.phase == handshaking && !r.s.engine.Acknowledged(i) {
				why = control.Unacknowledged
			}
			r.s.refuse(i, failingPhases[c.phase], why)
		}
	}
}

// failingPhases are those in which a connection that is being opened fails.
var failingPhases = [...]control.Phase{connecting: control.PhaseConnect, handshaking: control.PhaseHandshake}

// abandon gives up those that are being opened. They are no failures.
func (r *ramp) abandon() {
	for _, i := range r.opening {
		r.s.forget(int(i))
	}
	r.opening = nil
	r.s.tally.StoppedBy = r.stoppedBy
}

func (r *ramp) opened(i int) {
	r.remove(i)
	now := clock.Now()
	r.s.tally.latency.Record(now - r.s.conns[i].since)
	r.s.tally.ended = now
	r.inARow = 0
}

func (r *ramp) refused(i int) {
	r.remove(i)
	r.fail(i)
}

// remove takes a connection from the list of those being opened.
func (r *ramp) remove(i int) {
	k, last := r.s.conns[i].place, len(r.opening)-1
	r.opening[k] = r.opening[last]
	r.s.conns[r.opening[k]].place = k
	r.opening = r.opening[:last]
}

// fail counts a failure against the patience.
func (r *ramp) fail(i int) {
	now := clock.Now()
	if r.inARow == 0 {
		r.rowBegan = now
	}
	r.inARow++
	// After a timeout without a success, those that failed first have been tried
	// again, too, and have failed again.
	if r.inARow > r.patience || r.inARow > 1 && now-r.rowBegan >= r.timeout {
		r.stop(control.StoppedByServer)
	}
	r.retry(i)
}

func (r *ramp) lost(i int) { r.retry(i) }

// retry puts a connection that failed behind those not tried yet. It gets a new
// tuple, since the server may still hold the old one half open.
func (r *ramp) retry(i int) {
	if r.failed++; r.failed > allFailures*r.patience {
		r.stop(control.StoppedByServer)
	}
	r.s.move(i)
	r.waiting.push(int32(i))
}

// stop ends the ramp, unless something else has ended it already.
func (r *ramp) stop(by string) {
	if r.stoppedBy == "" {
		r.stoppedBy = by
	}
}

// ring is a queue of connection numbers, none of them twice, in a list that has
// room for all.
type ring struct {
	list        []int32
	first, size int
}

func (r *ring) empty() bool { return r.size == 0 }

func (r *ring) push(i int32) {
	r.list[(r.first+r.size)%len(r.list)] = i
	r.size++
}

func (r *ring) pop() int32 {
	i := r.list[r.first]
	r.first = (r.first + 1) % len(r.list)
	r.size--
	return i
}
