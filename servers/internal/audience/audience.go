// Package audience is whom a broadcast goes to: the connections of a server whose library
// blocks when it writes, or is not to be called by two goroutines at a time; and peers that ask for
// one message after the other.
package audience

import (
	"sync"
	"time"
)

// MostWaiting is how much may wait for a member that does not read, in bytes. Beyond it the
// member is dropped.
const MostWaiting = 1 << 20

// mostLeaving is how long a member that leaves may take to read what waits for it.
const mostLeaving = time.Second

// Audience is a set of members, to which messages of type M are published. It is safe for
// concurrent use.
type Audience[M any] struct {
	mu      sync.Mutex
	members map[*Member[M]]struct{}
	// list is what members holds, or nil after it has changed.
	list []*Member[M]
}

// Member is a connection that messages are published to.
type Member[M any] struct {
	audience *Audience[M]
	send     func(M) error
	drop     func()
	inline   bool

	mu      sync.Mutex
	moved   sync.Cond // sent has grown, or nobody sends
	waiting []waiting[M]
	bytes   int // of them
	sending bool
	// taken counts what was published to the member, and sent what of it is done with.
	taken, sent uint64
	left        bool
}

type waiting[M any] struct {
	message M
	bytes   int
}

// Join adds a member. What is published is sent by send, one message at a time, by a goroutine
// that there is only while something waits. drop ends the connection of a member that does not
// read: send then returns an error. It may be called twice.
func (a *Audience[M]) Join(send func(M) error, drop func()) *Member[M] {
	return a.add(&Member[M]{send: send, drop: drop})
}

// JoinInline adds a member whose send does not block, and which has it called by whoever
// publishes. drop is not needed: send knows what the library has not sent yet.
func (a *Audience[M]) JoinInline(send func(M) error) *Member[M] {
	return a.add(&Member[M]{send: send, inline: true})
}

func (a *Audience[M]) add(m *Member[M]) *Member[M] {
	m.audience, m.moved.L = a, &m.mu
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.members == nil {
		a.members = map[*Member[M]]struct{}{}
	}
	a.members[m] = struct{}{}
	a.list = nil
	return m
}

// Publish sends a message of so many bytes to all members, in the order in which one goroutine
// publishes.
func (a *Audience[M]) Publish(message M, bytes int) {
	a.PublishToOthers(nil, message, bytes)
}

// PublishToOthers is Publish without one member, which may be nil: the one that sends the message
// gets its copy in another way.
func (a *Audience[M]) PublishToOthers(sender *Member[M], message M, bytes int) {
	for _, m := range a.all() {
		if m != sender {
			m.Send(message, bytes)
		}
	}
}

// all returns the members. Nobody changes the list.
func (a *Audience[M]) all() []*Member[M] {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list == nil {
		a.list = make([]*Member[M], 0, len(a.members))
		for m := range a.members {
			a.list = append(a.list, m)
		}
	}
	return a.list
}

// Leave takes a member out. After it nothing is sent any more; what had been published before
// is sent first, or the member is dropped if it does not read that for a second. m may be nil.
func (m *Member[M]) Leave() {
	if m == nil {
		return
	}
	m.audience.mu.Lock()
	if _, is := m.audience.members[m]; is {
		delete(m.audience.members, m)
		m.audience.list = nil
	}
	m.audience.mu.Unlock()

	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = true
	if m.sending && m.drop != nil {
		defer time.AfterFunc(mostLeaving, m.drop).Stop()
	}
	for m.sending {
		m.moved.Wait()
	}
}

// Flush waits until all that has been published to m so far is sent. A connection that waits
// for it before it reads on is not read from while its peer does not read.
func (m *Member[M]) Flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for until := m.taken; m.sent < until && m.sending; {
		m.moved.Wait()
	}
}

// Send sends a message of so many bytes to m alone, as Publish does.
func (m *Member[M]) Send(message M, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.left:
	case m.inline:
		m.send(message) // of an error, the library tells
	case m.bytes > MostWaiting:
		m.waiting, m.left = nil, true
		m.drop()
	default:
		m.waiting = append(m.waiting, waiting[M]{message, bytes})
		m.bytes += bytes
		m.taken++
		if !m.sending {
			m.sending = true
			go m.sendAll()
		}
	}
}

// sendAll sends until nothing waits.
func (m *Member[M]) sendAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.waiting) > 0 {
		next := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.mu.Unlock()
		err := m.send(next.message)
		m.mu.Lock()
		m.bytes -= next.bytes
		m.sent++
		m.moved.Broadcast()
		if err != nil {
			m.waiting, m.left = nil, true
		}
	}
	m.waiting = nil
	m.sending = false
	m.moved.Broadcast()
}
