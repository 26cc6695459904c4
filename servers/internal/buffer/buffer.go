// Package buffer is the pool of buffers for messages and answers, which connections hold only
// while they are handled: an idle one has none.
package buffer

import (
	"io"
	"slices"
	"sync"
)

var pool = sync.Pool{New: func() any { return new([]byte) }}

// pooledBytes is the largest buffer that goes back into the pool: a few large messages must
// not pin memory for good.
const pooledBytes = 128 << 10

// Get returns an empty buffer.
func Get() *[]byte {
	b := pool.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

// Put gives a buffer back.
func Put(b *[]byte) {
	if cap(*b) <= pooledBytes {
		pool.Put(b)
	}
}

// ReadAll appends all that r has to b, as io.ReadAll does to a new buffer.
func ReadAll(b []byte, r io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = slices.Grow(b, max(512, len(b)))
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}
