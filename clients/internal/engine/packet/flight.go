package packet

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// flight is what is kept of a connection while something is under way.
type flight struct {
	conn           int32
	next, previous uint32 // in a list of the wheel; next also among those free
	list           uint32 // of the wheel, plus one; 0: in none
	linked         uint32 // the tick that it is linked for
	retransmit     uint32 // the tick of the retransmission time-out or the next probe; 0: none
	acknowledge    uint32 // the tick of the delayed ACK; 0: none
	owed           uint32 // bytes received and not acknowledged

	unacknowledged uint32 // SND.UNA
	at             uint32 // what is sent next; before SND.NXT after a time-out
	queued         uint32 // bytes from SND.UNA on, sent or not
	first, last    uint32 // the blocks that hold them
	offset         uint32 // of SND.UNA in the first block

	congestion uint32 // cwnd, bytes (RFC 5681)
	threshold  uint32 // ssthresh, bytes
	recover    uint32 // SND.NXT when fast recovery began (RFC 6582)
	timed      uint32 // the sequence number whose ACK gives a round-trip time
	timedAt    int64
	flags      flightFlag
	duplicates uint8 // ACKs in a row that acknowledge nothing new
	tries      uint8 // time-outs in a row
	backoff    uint8 // the time-out is doubled so often
}

type flightFlag uint8

const (
	blocked    flightFlag = 1 << iota // a Send took less than it was given
	starved                           // and there was no block
	recovering                        // fast recovery
	timing                            // timed is valid
)

func (f *flight) is(flag flightFlag) bool { return f.flags&flag != 0 }
func (f *flight) set(flag flightFlag)     { f.flags |= flag }
func (f *flight) clear(flag flightFlag)   { f.flags &^= flag }

// outstanding are the bytes sent and not acknowledged.
func (f *flight) outstanding() uint32 { return f.at - f.unacknowledged }

// flights is the pool of flights. There is room for one to each connection, but
// only what has been used at a time is memory: those given back last are used
// first. Number 0 is none.
type flights struct {
	all  []flight
	used uint32 // numbers below have been used
	free uint32 // the first of those given back
}

func newFlights(capacity int) (flights, error) {
	all, err := reserve[flight](min(capacity, maxFlights) + 1)
	return flights{all: all, used: 1}, err
}

func (p *flights) release()            { giveBack(p.all) }
func (p *flights) at(k uint32) *flight { return &p.all[k] }

func (p *flights) take() uint32 {
	k := p.free
	if k != 0 {
		p.free = p.all[k].next
	} else {
		k = p.used
		p.used++
	}
	p.all[k] = flight{}
	return k
}

func (p *flights) put(k uint32) {
	p.all[k].next = p.free
	p.free = k
}

// flightOf returns the flight of connection i, a new one if it has none.
func (e *Engine) flightOf(i int) *flight {
	c := &e.conns[i]
	k := c.flight()
	if k != 0 {
		return e.flights.at(k)
	}
	k = e.flights.take()
	c.board(k)
	f := e.flights.at(k)
	f.conn = int32(i)
	f.unacknowledged, f.at = c.sendNext, c.sendNext
	f.congestion = initialWindow(c.mostBytes())
	f.threshold = maxQueued
	return f
}

// rest ends the flight of connection i if nothing is under way any more, and sets
// its timer otherwise.
func (e *Engine) rest(i int) {
	c := &e.conns[i]
	k := c.flight()
	if k == 0 {
		return
	}
	f := e.flights.at(k)
	if f.retransmit == 0 && f.acknowledge == 0 && f.flags&blocked == 0 {
		e.land(k)
		c.board(0)
		return
	}
	e.timers.arm(&e.flights, k)
}

// land gives a flight back, with its blocks.
func (e *Engine) land(k uint32) {
	f := e.flights.at(k)
	e.timers.unlink(&e.flights, k)
	e.blocks.put(f.first, f.last)
	e.flights.put(k)
}

const (
	// blockBytes holds a handshake's request, or some small messages.
	blockBytes = 256
	// blockCount bounds what a worker keeps for retransmission: 16 MiB.
	blockCount = 1 << 16
	// maxQueued is the most that one connection keeps: what a window without
	// scaling lets it send.
	maxQueued = 64 << 10
	// plentyBlocks is how many must be free for starved connections to go on.
	plentyBlocks = 2 * maxQueued / blockBytes
)

// blocks is the store of bytes that may have to be sent again, in lists of blocks.
// Number 0 is none.
type blocks struct {
	bytes []byte
	after []uint32 // the next block in a list
	used  uint32   // numbers below have been used
	first uint32   // of those given back
	inUse uint32
}

func newBlocks() (b blocks, err error) {
	b.used = 1
	if b.bytes, err = reserve[byte]((blockCount + 1) * blockBytes); err != nil {
		return b, err
	}
	if b.after, err = reserve[uint32](blockCount + 1); err != nil {
		giveBack(b.bytes)
	}
	return b, err
}

func (b *blocks) release() {
	giveBack(b.bytes)
	giveBack(b.after)
}

func (b *blocks) free() int            { return blockCount - int(b.inUse) }
func (b *blocks) plenty() bool         { return b.free() >= plentyBlocks }
func (b *blocks) data(k uint32) []byte { return b.bytes[int(k)*blockBytes:][:blockBytes] }

// take returns a block; there must be one.
func (b *blocks) take() uint32 {
	k := b.first
	if k != 0 {
		b.first = b.after[k]
	} else {
		k = b.used
		b.used++
	}
	b.after[k] = 0
	b.inUse++
	return k
}

// put gives back the list from first to last.
func (b *blocks) put(first, last uint32) {
	for k := first; k != 0; {
		next := b.after[k]
		b.after[k], b.first = b.first, k
		b.inUse--
		if k == last {
			return
		}
		k = next
	}
}

// reserve returns zeroed memory that is not Go's, and of which only what is
// touched becomes resident.
func reserve[T any](n int) ([]T, error) {
	var zero T
	bytes, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(zero)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&bytes[0])), n), nil
}

func giveBack[T any](list []T) {
	var zero T
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), len(list)*int(unsafe.Sizeof(zero)))
	unix.Munmap(bytes)
}
