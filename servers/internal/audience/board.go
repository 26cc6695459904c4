package audience

// mostKept is the largest number of messages that a board keeps.
const mostKept = 1000

// Board keeps the newest messages that went to all, for peers that ask for them one by one: at
// most 1,000, and 1 MiB or one message of them. They are numbered from 1. A board must be used by
// one goroutine at a time.
type Board struct {
	newest uint64
	kept   [][]byte // the last one has number newest
	bytes  int      // of them
}

// Newest returns the number of the newest message, 0 if there was none.
func (b *Board) Newest() uint64 { return b.newest }

// Add adds a message, which is the board's to keep, and returns its number.
func (b *Board) Add(message []byte) (number uint64) {
	b.newest++
	b.kept = append(b.kept, message)
	b.bytes += len(message)
	for len(b.kept) > mostKept || len(b.kept) > 1 && b.bytes > MostWaiting {
		b.bytes -= len(b.kept[0])
		b.kept[0] = nil // or the rest of the array would hold it
		b.kept = b.kept[1:]
	}
	return b.newest
}

// After returns the first message kept whose number is larger, with that number. It returns 0 if
// there is none yet.
func (b *Board) After(number uint64) (message []byte, its uint64) {
	if number >= b.newest {
		return nil, 0
	}
	oldest := b.newest - uint64(len(b.kept)) + 1
	its = max(number+1, oldest)
	return b.kept[its-oldest], its
}
