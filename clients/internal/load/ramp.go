package load

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
)

const (
	// catchUp is how far a ramp may run behind its schedule and still make up for it.
	// What is further behind is left out, so that no flood follows a stall.
	catchUp = int64(20 * time.Millisecond)
	// leastPatience is the number of failures in a row after which a ramp ends,
	// unless one connection in a hundred is more.
	leastPatience = 100
	// leastWorkerPatience is the same for a worker's part: few enough to end soon,
	// more than chance makes.
	leastWorkerPatience = 10
	// allFailures, times the patience, is the number of failures in all after
	// which a ramp ends, successes between them or not.
	allFailures = 10
	// stopPatience is how long those under way may take to open after an order to stop.
	stopPatience = int64(time.Second)
	// mostTaken is the number of tuples in a row that may be somebody else's. It is
	// more than one source address has ports, and takes a few seconds to try.
	mostTaken = 1 << 20
)

// ramp opens connections until there are as many as asked for.
type ramp struct {
	Base
	opener
	target   int
	window   int      // 0: no limit
	schedule schedule // of the connects; next is the number of the next one
	next     uint64

	begun   bool // a connect has begun
	waiting ring // free connections, those that failed last

	patience  int
	failed    int   // in all
	inARow    int   // since the last success
	rowBegan  int64 // first failure in a row
	taken     int   // tuples in a row that were somebody else's
	stoppedBy string
	ends      int64 // when a ramp that was told to stop no longer waits for those under way
}

func init() {
	Register("ramp", Traits{Checks: []Check{Connections, Timeout, RateOrWindow}}, beginRamp)
}

// patienceOf is how many failures in a row end a worker's part of a ramp.
func patienceOf(job Job, o control.RampOptions) int {
	if workers := max(job.Workers, 1); o.Patience > 0 {
		return max(o.Patience/workers, 1)
	} else {
		return max(max(leastPatience, job.All/100)/workers, leastWorkerPatience)
	}
}

func beginRamp(t *connections.Table, job Job, o control.RampOptions) (Load, error) {
	schedule, err := newSchedule(job, job.Now)
	if err != nil {
		return nil, err
	}
	r := &ramp{
		opener:   opener{table: t, timeout: nanoseconds(job.TimeoutSeconds)},
		target:   job.Connections,
		window:   job.Window,
		schedule: schedule,
		patience: patienceOf(job, o),
		waiting:  ring{list: t.List()},
		ends:     math.MaxInt64,
	}
	for i := range t.Capacity() {
		if t.At(i).Phase == connections.Free {
			r.waiting.push(int32(i))
		}
	}
	return r, nil
}

func (r *ramp) Step(now int64, stopped bool) (next int64, done bool) {
	r.expireOld(now)
	if stopped && r.stoppedBy != control.StoppedByStop {
		r.stoppedBy, r.ends = control.StoppedByStop, now+stopPatience
	}
	switch {
	case r.stoppedBy != "" && len(r.opening) > 0 && now < r.ends:
		// The limit that was met, this side's or the server's, allows those under way.
		return min(r.expire, r.ends), false
	case r.stoppedBy != "":
		r.abandon()
		return 0, true
	}
	if behind := now - catchUp; r.schedule.due(r.next) < behind {
		r.next = max(r.next, r.schedule.before(float64(behind-r.schedule.start)))
	}
	for range burst {
		if !r.ready() {
			break
		}
		if due := r.schedule.due(r.next); due > now {
			return min(due, r.expire), false
		}
		if r.start(now); r.taken == 0 { // another tuple is tried in the same turn
			r.next++
		}
	}
	switch {
	case r.stoppedBy == "" && r.table.Open() >= r.target:
		return 0, true
	case r.stoppedBy == "" && len(r.opening) > 0 && !r.ready():
		return r.expire, false
	case r.stoppedBy == "" && len(r.opening) == 0 && r.waiting.empty():
		r.stoppedBy = control.StoppedByClient // no tuple is left for those that are missing
	}
	return now, false
}

// ready says whether another connect may begin, the schedule aside.
func (r *ramp) ready() bool {
	return r.stoppedBy == "" && !r.waiting.empty() &&
		r.table.Open()+len(r.opening) < r.target &&
		(r.window == 0 || len(r.opening) < r.window)
}

// start begins a connect, or tries to.
func (r *ramp) start(now int64) {
	i := int(r.waiting.pop())
	if !r.table.HasTuple(i) && !r.table.Move(i) {
		r.table.Tally.Fail(control.PhaseBind, control.ErrnoError(unix.EADDRNOTAVAIL)) // all four-tuples are in use
		return
	}
	if err := r.connect(i, now); err != nil {
		r.notBegun(i, err)
		return
	}
	r.taken = 0
	if !r.begun {
		r.begun = true
		r.table.Tally.Began, r.table.Tally.Ended = now, now
	}
}

// notBegun says what follows from a connect that could not begin.
func (r *ramp) notBegun(i int, err error) {
	switch {
	case exhausted(err):
		r.stoppedBy = control.StoppedByClient
	case !taken(err):
		r.taken = 0
		r.fail(i)
	default:
		// The tuple is somebody else's, which is no fault of the server: the
		// connection takes another one, as long as there is any.
		if r.taken++; r.taken > mostTaken {
			r.stoppedBy = control.StoppedByClient
		} else if r.table.Move(i) {
			r.waiting.push(int32(i))
		}
	}
}

// abandon gives up those that are being opened. They are no failures.
func (r *ramp) abandon() {
	r.opener.abandon()
	r.table.Tally.StoppedBy = r.stoppedBy
}

func (r *ramp) Opened(i int) {
	r.remove(i)
	now := clock.Now()
	r.table.Tally.Latency.Record(now - r.table.At(i).Since)
	r.table.Tally.Ended = now
	r.inARow = 0
}

func (r *ramp) Refused(i int) {
	r.remove(i)
	r.fail(i)
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

func (r *ramp) Lost(i int) { r.retry(i) }

// retry puts a connection that failed behind those not tried yet. It gets a new
// tuple, since the server may still hold the old one half open.
func (r *ramp) retry(i int) {
	if r.failed++; r.failed > allFailures*r.patience {
		r.stop(control.StoppedByServer)
	}
	r.table.Move(i)
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
