package arena

const (
	// BlockBytes holds a handshake's request, or some small messages.
	BlockBytes = 256
	// plentyBlocks is how many must be free for starved connections to go on.
	plentyBlocks = 2 * (64 << 10) / BlockBytes // two of the largest windows
)

// Blocks stores bytes that may have to be sent again, in lists of blocks. Block numbers
// start at 1; 0 ends a list.
type Blocks struct {
	count int
	bytes []byte
	after []uint32 // the next block in a list
	used  uint32   // numbers below have been used
	first uint32   // of those given back
	inUse uint32
}

// NewBlocks lays out a store for so many bytes.
func NewBlocks(bytes int) (b Blocks, err error) {
	b.used, b.count = 1, bytes/BlockBytes
	if b.bytes, err = Reserve[byte]((b.count + 1) * BlockBytes); err != nil {
		return b, err
	}
	if b.after, err = Reserve[uint32](b.count + 1); err != nil {
		Release(b.bytes)
	}
	return b, err
}

// Release gives back the store's memory.
func (b *Blocks) Release() {
	Release(b.bytes)
	Release(b.after)
}

// Free is the number of blocks that may be taken.
func (b *Blocks) Free() int { return b.count - int(b.inUse) }

// InUse is the number of blocks that are taken.
func (b *Blocks) InUse() uint32 { return b.inUse }

// Plenty reports whether connections that had none may go on.
func (b *Blocks) Plenty() bool { return b.Free() >= plentyBlocks }

// Data is what a block holds.
func (b *Blocks) Data(k uint32) []byte { return b.bytes[int(k)*BlockBytes:][:BlockBytes] }

// After is the next block of a list, 0: none.
func (b *Blocks) After(k uint32) uint32 { return b.after[k] }

// Chain puts block next behind block k.
func (b *Blocks) Chain(k, next uint32) { b.after[k] = next }

// Take returns a block; there must be one.
func (b *Blocks) Take() uint32 {
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

// Put gives back the list from first to last.
func (b *Blocks) Put(first, last uint32) {
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
