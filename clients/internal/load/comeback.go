package load

import (
	"container/heap"
	"math"
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/clock"
	"connbench/clients/internal/connections"
)

const (
	// retryPause is how long a connection without a back-off waits after a failure, and downPause
	// how long it does while there may be no server.
	retryPause = int64(10 * time.Millisecond)
	downPause  = int64(100 * time.Millisecond)
	// mostDoubled is how often a back-off is doubled.
	mostDoubled = 5
)

// comeback is shared by the loads that drop connections and reopen them. Each connection is
// tried until it is open again. Its time starts when it was due to be dropped.
type comeback struct {
	Base
	opener
	window  int    // 0: no limit
	stays   bool   // each keeps its four-tuple
	pause   int64  // nanoseconds between a failure and the next try, without a back-off
	backoff int64  // nanoseconds; 0: none
	drawn   uint64 // random numbers so far
	end     int64  // what is back from then on is late

	since []int64 // when each was due to be dropped; 0 if it is open
	tries []uint8 // failed tries of each
	queue retries // those waiting for their next try
	away  int     // dropped and not open again

	stoppedBy string
}

func newComeback(t *connections.Table, job Job, o control.ComebackOptions) comeback {
	return comeback{
		opener:  opener{table: t, timeout: nanoseconds(job.TimeoutSeconds)},
		window:  job.Window,
		pause:   retryPause,
		backoff: nanoseconds(o.BackoffSeconds),
		end:     math.MaxInt64,
		since:   make([]int64, t.Capacity()),
		tries:   make([]uint8, t.Capacity()),
	}
}

// drop resets the open connection i, which was due to be dropped at since, and counts it.
func (c *comeback) drop(i int, since, now int64) {
	c.reset(i, since, now)
	c.table.Tally.Offered++
}

// reset resets the open connection i.
func (c *comeback) reset(i int, since, now int64) {
	c.table.Drop(i)
	c.table.Tally.Closed++
	c.left(i, since, now)
}

// left notes that connection i is no more, from since on, and has it come back.
func (c *comeback) left(i int, since, now int64) {
	c.since[i], c.tries[i] = since, 0
	c.away++
	pause := int64(0)
	if c.backoff > 0 {
		pause = c.jitter(i)
	}
	heap.Push(&c.queue, retry{now + pause, int32(i)})
}

// jitter returns a random pause up to the back-off, which doubles with each failure ("full
// jitter").
func (c *comeback) jitter(i int) int64 {
	c.drawn++
	longest := c.backoff << min(c.tries[i], mostDoubled)
	return int64(c.table.Draw(i, c.drawn) % uint64(longest))
}

// tryAll begins the connects that are due. It returns when to call it again.
func (c *comeback) tryAll(now int64) (next int64) {
	c.expireOld(now)
	for range burst {
		if len(c.queue) == 0 || c.stoppedBy != "" || c.window > 0 && len(c.opening) >= c.window {
			return c.expire
		}
		if at := c.queue[0].at; at > now {
			return min(at, c.expire)
		}
		i := int(heap.Pop(&c.queue).(retry).i)
		switch err := c.connect(i, now); {
		case err == nil:
		case exhausted(err):
			c.stoppedBy = control.StoppedByClient
		case taken(err) && c.table.Move(i):
			heap.Push(&c.queue, retry{now, int32(i)})
		default:
			c.again(i, now)
		}
	}
	return now
}

// again queues connection i for another try after a failure, with a new tuple unless it stays: the
// server may still hold the old one half open.
func (c *comeback) again(i int, now int64) {
	c.tries[i] = min(c.tries[i]+1, mostDoubled)
	pause := c.pause
	if c.backoff > 0 {
		pause = c.jitter(i)
	}
	if !c.stays {
		c.table.Move(i)
	}
	heap.Push(&c.queue, retry{now + pause, int32(i)})
}

// isBack notes that connection i is open again.
func (c *comeback) isBack(i int) {
	c.remove(i)
	c.away--
}

// over says whether there is nothing more to do: all are back, or those that are not cannot be
// tried any more.
func (c *comeback) over() bool {
	return c.away == 0 || c.stoppedBy != "" && len(c.opening) == 0
}

func (c *comeback) Opened(i int) {
	c.isBack(i)
	now := clock.Now()
	c.table.Tally.Latency.Record(now - c.since[i])
	if now < c.end {
		c.table.Tally.Delivered++
	} else {
		c.table.Tally.Late++
	}
	c.since[i] = 0
}

func (c *comeback) Refused(i int) {
	c.remove(i)
	c.again(i, clock.Now())
}

// End implements [Load]. Connections that are not back count with their age.
func (c *comeback) End(now int64, stopped bool) {
	c.abandon()
	c.table.Tally.StoppedBy = c.stoppedBy
	if stopped {
		return
	}
	for _, since := range c.since {
		if since != 0 {
			c.table.Tally.Unanswer(now - since)
		}
	}
}

// retry is a connection that is tried again at a time, in nanoseconds of [clock.Now].
type retry struct {
	at int64
	i  int32
}

// retries is a heap of them, the earliest first.
type retries []retry

func (r retries) Len() int           { return len(r) }
func (r retries) Less(a, b int) bool { return r[a].at < r[b].at }
func (r retries) Swap(a, b int)      { r[a], r[b] = r[b], r[a] }
func (r *retries) Push(x any)        { *r = append(*r, x.(retry)) }
func (r *retries) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	*r = (*r)[:last]
	return x
}
