package connections

import (
	"testing"

	"connbench/clients/internal/protocol"
)

func TestPayloadsAreTheSameInPieces(t *testing.T) {
	m := newMessages(1, 1, protocol.Data, 100)
	key := m.key(5, 6)
	whole := make([]byte, 100)
	fill(whole, key, 0)
	for from := range 100 {
		for to := from; to <= 100; to++ {
			if !m.matches(whole[from:to], key, from) {
				t.Fatalf("bytes %d to %d differ", from, to)
			}
		}
	}
	if m.matches(append(whole, 0), key, 0) {
		t.Error("a longer payload matches")
	}
	for _, other := range []uint64{m.key(5, 7), m.key(6, 6)} {
		if m.matches(whole, other, 0) {
			t.Error("another message matches")
		}
	}
	again := newMessages(1, 2, protocol.Data, 100)
	if again.key(5, 6) == key {
		t.Error("two loads have the same messages")
	}
}
