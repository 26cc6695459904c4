package audience

import (
	"strconv"
	"testing"
)

// A board knows each message by its number, as long as it keeps it.
func TestBoard(t *testing.T) {
	var b Board
	if message, number := b.After(0); message != nil || number != 0 || b.Newest() != 0 {
		t.Errorf("an empty board has message %d, %q, and the newest is %d", number, message, b.Newest())
	}
	const total = mostKept + 10
	for n := uint64(1); n <= total; n++ {
		if got := b.Add(strconv.AppendUint(nil, n, 10)); got != n || b.Newest() != n {
			t.Fatalf("message %d has number %d, and the newest is %d", n, got, b.Newest())
		}
	}
	for after, want := range map[uint64]uint64{0: 11, 5: 11, 10: 11, 11: 12, total - 1: total, total: 0, total + 1: 0} {
		message, number := b.After(after)
		if number != want || want > 0 && string(message) != strconv.FormatUint(want, 10) {
			t.Errorf("behind %d comes message %d, %q, want %d", after, number, message, want)
		}
	}
}

// What is kept has a bound in bytes, but for one message.
func TestBoardOfLargeMessages(t *testing.T) {
	var b Board
	const size = 100 << 10
	for range 50 {
		b.Add(make([]byte, size))
	}
	if n := len(b.kept); n != MostWaiting/size || b.bytes != n*size {
		t.Errorf("%d messages of %d bytes are kept", n, b.bytes)
	}
	if b.Add(make([]byte, 2*MostWaiting)); len(b.kept) != 1 || b.bytes != 2*MostWaiting {
		t.Errorf("%d messages of %d bytes are kept with one that is larger than all", len(b.kept), b.bytes)
	}
}
