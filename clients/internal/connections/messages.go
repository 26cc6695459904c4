package connections

import (
	"encoding/binary"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"connbench/clients/control"
	"connbench/clients/internal/protocol"
	"connbench/clients/internal/splitmix"
)

// LargestPayload is the size of the largest message, in bytes.
const LargestPayload = 16 << 20

// headBytes is the number of bytes by which a message is known.
const headBytes = 8

// fill writes the bytes of a payload from offset on into p. Every 8 bytes of a
// payload are computed from its key and their position alone, so that a payload need
// not be kept to be sent on, or to be compared with, from any point.
func fill(p []byte, key uint64, offset int) {
	word := func(k int) uint64 { return splitmix.Mix(key + uint64(k)) }
	if ahead := offset % 8; ahead > 0 {
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], word(offset/8))
		n := copy(p, whole[ahead:])
		p, offset = p[n:], offset+n
	}
	k := offset / 8
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, word(k))
		k++
	}
	if len(p) > 0 {
		var whole [8]byte
		binary.LittleEndian.PutUint64(whole[:], word(k))
		copy(p, whole[:])
	}
}

// name says which message of a connection one is: the number of its load, from 1 on,
// and its own in the load.
type name struct{ load, sequence uint32 }

// key returns what a message's bytes are computed from. It is different for every
// message of every connection, and the message's first 8 bytes give it away.
func (t *Table) key(i int, n name) uint64 {
	return splitmix.Mix(t.secret(i) ^ (uint64(n.load)<<32 | uint64(n.sequence)))
}

// secret is different for every connection.
func (t *Table) secret(i int) uint64 { return splitmix.Mix(t.seed ^ t.number(i)) }

// Draw returns random number n of connection i, which no other connection of any worker has.
func (t *Table) Draw(i int, n uint64) uint64 { return splitmix.Mix(t.secret(i) ^ n) }

// nameOf returns the message of connection i that begins with the head. For bytes
// that are no message's it returns some name or other, which no message is likely to
// have.
func (t *Table) nameOf(i int, head [headBytes]byte) name {
	key := splitmix.Unmix(binary.LittleEndian.Uint64(head[:]))
	n := splitmix.Unmix(key) ^ t.secret(i)
	return name{load: uint32(n >> 32), sequence: uint32(n)}
}

// messages are those of one load.
type messages struct {
	load     uint32
	kind     protocol.Kind
	end      int64  // answers count as late from then on, in nanoseconds of [clock.Now]
	payload  []byte // room for one that is sent
	expected []byte // room for one that is expected
	sizes    []int  // see BeginMix; nil: all are as large as payload
	active   bool   // the load is still sending or waiting
	// broadcast, if not nil, is what one connection sends to all; Received then counts what has
	// come of it, passed over or not.
	broadcast *broadcast
	// question, if not nil, is what is sent in place of a payload.
	question *question
	// text says that messages are text, of sizes whose bodies have been made.
	text bool
}

// fill writes the bytes from offset on of the message with a key and a size into p.
func (t *Table) fill(p []byte, key uint64, size, offset int) {
	if !t.messages.text {
		fill(p, key, offset)
		return
	}
	t.texts.Known(size).Fill(p, splitmix.Mix(key), offset) // it begins as random bytes do
}

// question is a message in the peer's own language.
type question struct {
	before, after string // of the connection's number
	numbered      bool
	answer        *regexp.Regexp
	text          []byte // room for one
}

// of returns the question of the connection with a label. It is valid until the next call.
func (q *question) of(label uint64) []byte {
	q.text = append(q.text[:0], q.before...)
	if q.numbered {
		q.text = strconv.AppendUint(q.text, label, 10)
		q.text = append(q.text, strings.ReplaceAll(q.after, control.Number, strconv.FormatUint(label, 10))...)
	}
	return q.text
}

// BeginQuestions begins to count questions and their answers. Answers that come after end are
// late, in nanoseconds of [clock.Now].
func (t *Table) BeginQuestions(s control.Say, end int64) error {
	answer, err := regexp.Compile(s.Expect)
	if err != nil {
		return err
	}
	longest := len(s.Text) * len("18446744073709551615")
	t.BeginMessages(protocol.Text, 0, end)
	t.protocol.Prepare(protocol.Text, longest)
	q := &question{answer: answer}
	q.before, q.after, q.numbered = strings.Cut(s.Text, control.Number)
	t.messages.question = q
	return nil
}

// BeginMessages begins to count messages of a kind and size, in bytes of payload.
// Answers that come after end are late, in nanoseconds of [clock.Now].
func (t *Table) BeginMessages(kind protocol.Kind, size int, end int64) {
	t.messages = messages{
		load:     t.messages.load + 1,
		kind:     kind,
		end:      end,
		payload:  make([]byte, size),
		expected: make([]byte, size),
		active:   true,
	}
	if t.texts != nil && kind == protocol.Data {
		t.texts.Prepare(size)
		t.messages.text = true
	}
	t.protocol.Prepare(kind, size)
}

// EndAt has answers count as late from a time on that was not known when the messages began.
func (t *Table) EndAt(end int64) { t.messages.end = end }

// BeginMix does the same for messages of several sizes. The messages of a connection have them
// in turn, and its neighbours begin with another one, so that at any time all sizes are sent.
func (t *Table) BeginMix(sizes []int, end int64) {
	if t.texts != nil {
		for _, size := range sizes {
			t.texts.Prepare(size)
			t.protocol.Prepare(protocol.Data, size)
		}
	}
	t.BeginMessages(protocol.Data, slices.Max(sizes), end)
	t.messages.sizes = sizes
}

// size returns the size of message number sequence of connection i, in bytes.
func (t *Table) size(i int, sequence uint32) int {
	if t.messages.sizes == nil {
		return len(t.messages.payload)
	}
	return t.messages.sizes[(t.number(i)+uint64(sequence))%uint64(len(t.messages.sizes))]
}

// Send hands the next message of connection i, number Sent, to the engine, from
// where it stopped before. It returns false if the engine did not take all of it;
// Events.Writable or Events.Lost then follows.
func (t *Table) Send(i int) (whole bool) {
	c := &t.conns[i]
	key := t.key(i, name{t.messages.load, c.Sent})
	payload := t.messages.payload[:t.size(i, c.Sent)]
	if q := t.messages.question; q != nil {
		payload = q.of(t.labelOf(i))
	} else {
		t.fill(payload, key, len(payload), 0)
	}
	if !t.protocol.Send(i, payload, key) {
		return false
	}
	c.Sent++
	if !c.Slow {
		t.Tally.Sent++
	}
	return true
}

// matches says whether p are the bytes from offset on of message number sequence.
func (t *Table) matches(p []byte, i int, sequence uint32, offset int) bool {
	if offset+len(p) > t.size(i, sequence) {
		return false
	}
	expected := t.messages.expected[:len(p)]
	key := t.key(i, name{t.messages.load, sequence})
	if b := t.messages.broadcast; b != nil {
		key = broadcastKey(name{b.run, sequence})
	}
	t.fill(expected, key, t.size(i, sequence), offset)
	return string(expected) == string(p)
}
