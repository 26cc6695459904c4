package probe

import (
	"errors"

	"connbench/harness/probe/perf"
)

// instructions is what a process executed in user space since its first detailed
// reading.
func (r *Reader) instructions(process identity) (int64, error) {
	if !r.live {
		return 0, errors.New("a copy of /proc has no counters")
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.noCounter != nil {
		return 0, r.noCounter
	}
	h := r.history(process)
	if h.instructions == nil {
		var err error
		if h.instructions, err = r.count(process.pid); err != nil {
			r.noCounter = err // it would be the same for the next process
			return 0, err
		}
	}
	return h.instructions.Read()
}

// count begins to count in a process.
func (r *Reader) count(pid int) (*perf.Counter, error) {
	list, err := r.proc.AllThreads(pid)
	if err != nil {
		return nil, err
	}
	threads := make([]int, len(list))
	for i, thread := range list {
		threads[i] = thread.PID
	}
	return perf.Count(r.files, threads, r.event)
}
