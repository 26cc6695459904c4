package audience

import "testing"

func TestMailbox(t *testing.T) {
	var m Mailbox
	for round := range 2 {
		if first, second := m.Post([]byte("a")), m.Post([]byte("b")); !first || second {
			t.Errorf("round %d: the first message wakes the loop: %v, the second: %v", round, first, second)
		}
		if got := m.Take(); len(got) != 2 || string(got[0]) != "a" || string(got[1]) != "b" {
			t.Errorf("round %d: took %q", round, got)
		}
		if got := m.Take(); len(got) != 0 {
			t.Errorf("round %d: %q is still there", round, got)
		}
	}
}
