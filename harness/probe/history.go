package probe

import "connbench/harness/probe/perf"

// identity is a process: numbers are used again, but not with the same start time.
type identity struct {
	pid     int
	started uint64
}

// history is what the reader keeps of a process from one reading to the next.
type history struct {
	threads      threads
	instructions *perf.Counter
}

// history is that of a process; r.lock is held.
func (r *Reader) history(process identity) *history {
	h := r.histories[process]
	if h == nil {
		h = &history{}
		r.histories[process] = h
	}
	return h
}

// forget drops the histories of a process that has ended.
func (r *Reader) forget(pid int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for process, h := range r.histories {
		if process.pid == pid {
			h.instructions.Close()
			delete(r.histories, process)
		}
	}
}
