package connections

import (
	"testing"

	"connbench/clients/addresses"
	"connbench/clients/internal/protocol"
)

// newMute returns a table that sends nothing.
func newMute(t *testing.T, seed uint64) *Table {
	t.Helper()
	tuples, err := addresses.NewTuples([]string{"127.1.0.0/24"}, []string{"127.0.0.1:9"}, addresses.PortRange{First: 1, Last: 9}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{
		Protocol: protocol.Definition{New: func(protocol.Config) protocol.Protocol { return mute{} }},
		Share:    tuples.Share(0, 1),
		Capacity: 10,
		Seed:     seed,
	})
}

type mute struct{ protocol.Protocol }

func (mute) Prepare(protocol.Kind, int) {}

func TestPayloadsAreTheSameInPieces(t *testing.T) {
	table := newMute(t, 1)
	table.BeginMessages(protocol.Data, 100, 0)
	whole := make([]byte, 100)
	fill(whole, table.key(5, name{1, 6}), 0)
	for from := range 100 {
		for to := from; to <= 100; to++ {
			if !table.matches(whole[from:to], 5, 6, from) {
				t.Fatalf("bytes %d to %d differ", from, to)
			}
		}
	}
	if table.matches(append(whole, 0), 5, 6, 0) {
		t.Error("a longer payload matches")
	}
	for _, other := range [][2]int{{5, 7}, {6, 6}} {
		if table.matches(whole, other[0], uint32(other[1]), 0) {
			t.Error("another message matches")
		}
	}
	table.BeginMessages(protocol.Data, 100, 0)
	if table.matches(whole, 5, 6, 0) {
		t.Error("two loads have the same messages")
	}
}

// The first bytes of a message say which one it is, to its own connection.
func TestNames(t *testing.T) {
	table := newMute(t, 7)
	for i := range 10 {
		for _, n := range []name{{1, 0}, {1, 1}, {2, 0}, {77, 1 << 31}, {1<<32 - 1, 1<<32 - 1}} {
			var head [headBytes]byte
			fill(head[:], table.key(i, n), 0)
			if got := table.nameOf(i, head); got != n {
				t.Errorf("message %v of connection %d is taken for %v", n, i, got)
			}
			if got := table.nameOf((i+1)%10, head); got.load < 100 {
				t.Errorf("message %v of connection %d is taken for %v of another", n, i, got)
			}
		}
	}
}
