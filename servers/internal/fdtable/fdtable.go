// Package fdtable keeps what a server knows of its connections by descriptor. It
// grows with the highest descriptor that is used, and never moves what it holds.
// Neither does it depend on how many descriptors the process may have
// (RLIMIT_NOFILE), which is a billion in some containers.
package fdtable

import (
	"sync"
	"sync/atomic"
)

// chunk is the number of slots that are allocated at a time: a few pages of what
// connections need, so that memory follows their number closely.
const chunk = 1024

// Table has a slot for each number from 0 on. The zero value is empty. Slots may be
// had by several goroutines at a time; what is in a slot is for its owner to guard.
type Table[T any] struct {
	grow   sync.Mutex
	chunks atomic.Pointer[[]*[chunk]T]
}

// At is the slot of a number. It is the zero value of T before it is used, and stays
// where it is for as long as the table lives.
func (t *Table[T]) At(n int) *T {
	if chunks := t.chunks.Load(); chunks != nil && n/chunk < len(*chunks) {
		return &(*chunks)[n/chunk][n%chunk]
	}
	return &t.chunkOf(n)[n%chunk]
}

// chunkOf allocates up to the chunk of a number.
func (t *Table[T]) chunkOf(n int) *[chunk]T {
	t.grow.Lock()
	defer t.grow.Unlock()
	var chunks []*[chunk]T
	if have := t.chunks.Load(); have != nil {
		chunks = *have
	}
	if n/chunk < len(chunks) {
		return chunks[n/chunk] // somebody else was faster
	}
	for len(chunks) <= n/chunk {
		chunks = append(chunks, new([chunk]T))
	}
	t.chunks.Store(&chunks)
	return chunks[n/chunk]
}
