package protocol

import "connbench/clients/internal/engine"

// Sender sends requests and messages. If the engine takes only a part of one, the next call
// continues there. It keeps state only for connections in the middle of one.
type Sender struct {
	Engine engine.Engine
	taken  map[int]int // of what is being sent, in bytes
}

// Send hands the engine a request or message, from where it stopped before, and says whether
// the engine has now taken all of it.
func (s *Sender) Send(i int, b []byte) (whole bool, err error) {
	before := 0
	if len(s.taken) > 0 {
		before = s.taken[i]
	}
	n, err := s.Engine.Send(i, b[before:])
	switch {
	case err != nil:
		return false, err
	case before+n < len(b):
		if s.taken == nil {
			s.taken = map[int]int{}
		}
		if n > 0 {
			s.taken[i] = before + n
		}
		return false, nil
	case before > 0:
		delete(s.taken, i)
	}
	return true, nil
}

// Unfinished says whether the engine has taken a part of something, and not yet the rest.
func (s *Sender) Unfinished(i int) bool { return len(s.taken) > 0 && s.taken[i] > 0 }

// Held is the number of connections in the middle of something.
func (s *Sender) Held() int { return len(s.taken) }

// Forget drops what is kept of connection i.
func (s *Sender) Forget(i int) { delete(s.taken, i) }
