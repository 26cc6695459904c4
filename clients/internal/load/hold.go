package load

// hold keeps the connections and sends nothing.
type hold struct {
	quiet
	s   *Swarm
	end int64
}

func newHold(s *Swarm, job Job, now int64) *hold {
	s.tally.began = now
	return &hold{s: s, end: now + nanoseconds(job.Seconds)}
}

func (h *hold) step(now int64) (next int64, done bool) {
	h.s.tally.ended = now
	return h.end, now >= h.end || h.s.stopped
}

func nanoseconds(seconds float64) int64 { return int64(seconds * 1e9) }
