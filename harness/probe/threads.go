package probe

import (
	"cmp"
	"time"
)

// activity is what threads did since they began.
type activity struct {
	voluntary, involuntary int64 // context switches
	// delay is time runnable and not running; noDelay says why it is unknown.
	delay   time.Duration
	noDelay error
}

func (a activity) plus(b activity) activity {
	return activity{
		voluntary:   a.voluntary + b.voluntary,
		involuntary: a.involuntary + b.involuntary,
		delay:       a.delay + b.delay,
		noDelay:     cmp.Or(a.noDelay, b.noDelay),
	}
}

// threads keeps what the readings of a process saw of its threads: the kernel
// drops the counters of a thread when it ends.
type threads struct {
	living map[int]activity // by thread id
	ended  activity
}

// update takes the threads that live now, and returns the sum over all threads
// that were ever seen.
func (t *threads) update(now map[int]activity) activity {
	for id, before := range t.living {
		if after, lives := now[id]; !lives || after.voluntary < before.voluntary { // or another one has its id
			t.ended = t.ended.plus(before)
		}
	}
	t.living = now
	sum := t.ended
	for _, thread := range now {
		sum = sum.plus(thread)
	}
	return sum
}

// activity reads all threads of a process.
func (r *Reader) activity(process identity) (activity, error) {
	list, err := r.proc.AllThreads(process.pid)
	if err != nil {
		return activity{}, err
	}
	now := map[int]activity{}
	for _, thread := range list {
		status, err := thread.NewStatus()
		if err != nil {
			continue // it has ended
		}
		read := activity{
			voluntary:   int64(status.VoluntaryCtxtSwitches),
			involuntary: int64(status.NonVoluntaryCtxtSwitches),
		}
		times, err := thread.Schedstat()
		if err != nil {
			if _, gone := thread.NewStatus(); gone != nil {
				continue
			}
			read.noDelay = err
		}
		read.delay = time.Duration(times.WaitingNanoseconds)
		now[thread.PID] = read
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.history(process).threads.update(now), nil
}
