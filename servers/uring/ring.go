package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ring is one io_uring instance with its buffers, used by one thread. Numbers and layouts
// are those of include/uapi/linux/io_uring.h.
type ring struct {
	fd int

	// The submission queue: tail is ours to write, head the kernel's.
	sqHead, sqTail *uint32
	sqMask         uint32
	entries        []submission
	queued         uint32 // entries that the kernel has not been told of

	// The completion queue: head is ours to write, tail the kernel's.
	cqHead, cqTail *uint32
	cqMask         uint32
	completions    []completion

	// buffers are what the kernel receives into: it takes the next of them when something
	// has arrived, so that an idle connection holds none.
	buffers    []byte
	bufferRing []buffer
	bufferTail uint16
}

// submission is struct io_uring_sqe.
type submission struct {
	opcode   uint8
	flags    uint8
	priority uint16
	fd       int32
	offset   uint64
	address  uint64
	length   uint32
	opFlags  uint32
	userData uint64
	group    uint16
	_        [22]byte
}

// completion is struct io_uring_cqe.
type completion struct {
	userData uint64
	result   int32
	flags    uint32
}

// buffer is struct io_uring_buf. The last field of the first one is the ring's tail.
type buffer struct {
	address uint64
	length  uint32
	id      uint16
	tail    uint16
}

// parameters is struct io_uring_params.
type parameters struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, queueFD uint32
	_                                                                     [3]uint32
	sq                                                                    struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, completions, flags, _ uint32
		_                                                          uint64
	}
}

const (
	setupCQSize       = 1 << 3
	setupSubmitAll    = 1 << 7
	setupCoopTaskrun  = 1 << 8
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13

	featureSingleMmap = 1 << 0

	offsetRings       = 0
	offsetSubmissions = 0x10000000

	enterGetEvents = 1 << 0
	enterExtArg    = 1 << 3

	registerBufferRing = 22

	opAccept      = 13
	opAsyncCancel = 14
	opSend        = 26
	opReceive     = 27
	opMessageRing = 40

	flagBufferSelect = 1 << 5
	acceptMultishot  = 1 << 0
	receiveMultishot = 1 << 1

	completionBuffer = 1 << 0
	completionMore   = 1 << 1
)

const (
	sqEntries = 1024
	cqEntries = 8192
	// bufferCount must be a power of two.
	bufferCount = 256
	bufferBytes = 16 << 10
)

// newRing must be called on the thread that will use the ring.
func newRing() (*ring, error) {
	p := parameters{
		flags:     setupCQSize | setupSubmitAll | setupCoopTaskrun | setupSingleIssuer | setupDeferTaskrun,
		cqEntries: cqEntries,
	}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, sqEntries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w (needs Linux 6.1, and kernel.io_uring_disabled = 0)", errno)
	}
	r := &ring{fd: int(fd)}
	unix.CloseOnExec(r.fd)
	if p.features&featureSingleMmap == 0 {
		return nil, fmt.Errorf("io_uring_setup: the kernel maps the two rings apart: it is older than Linux 5.4")
	}
	size := max(p.sq.array+p.sqEntries*4, p.cq.completions+p.cqEntries*uint32(unsafe.Sizeof(completion{})))
	rings, err := unix.Mmap(r.fd, offsetRings, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	entries, err := unix.Mmap(r.fd, offsetSubmissions, int(p.sqEntries)*int(unsafe.Sizeof(submission{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	word := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&rings[offset])) }
	r.sqHead, r.sqTail, r.sqMask = word(p.sq.head), word(p.sq.tail), *word(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = word(p.cq.head), word(p.cq.tail), *word(p.cq.mask)
	r.entries = unsafe.Slice((*submission)(unsafe.Pointer(&entries[0])), p.sqEntries)
	r.completions = unsafe.Slice((*completion)(unsafe.Pointer(&rings[p.cq.completions])), p.cqEntries)
	// The kernel looks entries up by an array of their numbers: each stays at its own.
	for i := range p.sqEntries {
		*word(p.sq.array + 4*i) = i
	}
	return r, r.provideBuffers()
}

// provideBuffers gives the kernel all buffers, as group 0.
func (r *ring) provideBuffers() (err error) {
	anonymous := func(size int) ([]byte, error) {
		return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	}
	if r.buffers, err = anonymous(bufferCount * bufferBytes); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	shared, err := anonymous(bufferCount * int(unsafe.Sizeof(buffer{})))
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	r.bufferRing = unsafe.Slice((*buffer)(unsafe.Pointer(&shared[0])), bufferCount)
	registration := struct {
		address uint64
		entries uint32
		group   uint16
		flags   uint16
		_       [3]uint64
	}{address: uint64(uintptr(unsafe.Pointer(&shared[0]))), entries: bufferCount}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerBufferRing, uintptr(unsafe.Pointer(&registration)), 1, 0, 0); errno != 0 {
		return fmt.Errorf("io_uring_register of buffers: %w (needs Linux 5.19)", errno)
	}
	for id := range uint16(bufferCount) {
		r.giveBack(id)
	}
	return nil
}

// received is what a completion has received.
func (r *ring) received(c completion) (data []byte, id uint16) {
	id = uint16(c.flags >> 16)
	begin := int(id) * bufferBytes
	return r.buffers[begin : begin+int(c.result)], id
}

// giveBack lets the kernel receive into a buffer again.
func (r *ring) giveBack(id uint16) {
	b := &r.bufferRing[r.bufferTail%bufferCount]
	b.address = uint64(uintptr(unsafe.Pointer(&r.buffers[int(id)*bufferBytes])))
	b.length, b.id = bufferBytes, id
	r.bufferTail++
	// The tail has 16 bits, and Go stores 32 atomically: the id of the first buffer lies
	// before it.
	first := &r.bufferRing[0]
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&first.id)), uint32(first.id)|uint32(r.bufferTail)<<16)
}

// submit queues an entry, which the kernel takes with the next call of enter.
func (r *ring) submit(s submission) error {
	tail := *r.sqTail
	if tail-atomic.LoadUint32(r.sqHead) == uint32(len(r.entries)) {
		if err := r.enter(0, 0); err != nil {
			return err
		}
	}
	r.entries[tail&r.sqMask] = s
	atomic.StoreUint32(r.sqTail, tail+1)
	r.queued++
	return nil
}

// wait hands over what is queued and waits for a completion, for so long at most; 0 or less:
// not at all, forever: without an end.
func (r *ring) wait(patience time.Duration) error {
	if atomic.LoadUint32(r.cqTail) != *r.cqHead {
		patience = 0
	}
	if patience <= 0 {
		return r.enter(0, 0)
	}
	return r.enter(1, patience)
}

// forever is a patience without an end.
const forever = time.Duration(1<<63 - 1)

// enter is io_uring_enter(2): it hands over what is queued, and waits for a number of
// completions.
func (r *ring) enter(completions uint32, patience time.Duration) error {
	// struct __kernel_timespec and struct io_uring_getevents_arg.
	until := [2]int64{int64(patience / time.Second), int64(patience % time.Second)}
	argument := struct {
		mask         uint64
		maskBytes, _ uint32
		timespec     uint64
	}{}
	if patience != forever {
		argument.timespec = uint64(uintptr(unsafe.Pointer(&until)))
	}
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.queued), uintptr(completions),
		enterGetEvents|enterExtArg, uintptr(unsafe.Pointer(&argument)), unsafe.Sizeof(argument))
	switch errno {
	case 0:
		r.queued -= uint32(n)
	case unix.ETIME, unix.EINTR:
		// What was queued has been handed over before the wait.
		r.queued = *r.sqTail - atomic.LoadUint32(r.sqHead)
	case unix.EAGAIN, unix.EBUSY: // completions must be taken first
	default:
		return os.NewSyscallError("io_uring_enter", errno)
	}
	return nil
}

// next takes the next completion. It returns false if there is none.
func (r *ring) next() (completion, bool) {
	head := *r.cqHead
	if head == atomic.LoadUint32(r.cqTail) {
		return completion{}, false
	}
	c := r.completions[head&r.cqMask]
	atomic.StoreUint32(r.cqHead, head+1)
	return c, true
}
