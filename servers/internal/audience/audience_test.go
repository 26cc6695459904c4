package audience

import (
	"errors"
	"slices"
	"testing"
)

// All members get what is published, in order, until they leave.
func TestPublish(t *testing.T) {
	var a Audience[int]
	var first, second, inline []int
	one := a.Join(func(m int) error { first = append(first, m); return nil }, nil)
	two := a.Join(func(m int) error { second = append(second, m); return nil }, nil)
	three := a.JoinInline(func(m int) error { inline = append(inline, m); return nil })
	for m := range 100 {
		a.Publish(m, 1)
	}
	two.Leave()
	a.Publish(100, 1)
	one.Flush()
	one.Leave()
	three.Leave()
	a.Publish(101, 1)
	for name, got := range map[string][]int{"the first": first, "the second": second, "the inline one": inline} {
		want := 101
		if name == "the second" {
			want = 100
		}
		if len(got) != want || !slices.IsSorted(got) {
			t.Errorf("%s got %d messages, sorted: %v; want %d", name, len(got), slices.IsSorted(got), want)
		}
	}
	(*Member[int])(nil).Leave() // of a connection that has none
}

// A member may be left out, or be sent something alone.
func TestPublishToOthers(t *testing.T) {
	var a Audience[string]
	var first, second []string
	one := a.JoinInline(func(m string) error { first = append(first, m); return nil })
	a.JoinInline(func(m string) error { second = append(second, m); return nil })
	a.PublishToOthers(one, "from one", 1)
	a.PublishToOthers(nil, "from nobody", 1)
	one.Send("to one", 1)
	if want := []string{"from nobody", "to one"}; !slices.Equal(first, want) {
		t.Errorf("the first got %q, want %q", first, want)
	}
	if want := []string{"from one", "from nobody"}; !slices.Equal(second, want) {
		t.Errorf("the second got %q, want %q", second, want)
	}
}

// A member that does not read holds nobody up, and is dropped when much waits for it.
func TestDrop(t *testing.T) {
	var a Audience[int]
	stuck, dropped := make(chan error), false
	var bytes int
	deaf := a.Join(func(int) error { return <-stuck }, func() { dropped = true })
	other := a.Join(func(int) error { bytes += 1 << 10; return nil }, nil)
	sent := 0
	for ; !dropped && sent < 4<<20; sent += 1 << 10 {
		a.Publish(0, 1<<10)
		other.Flush() // or it would be deaf too, on a busy machine
	}
	if sent < MostWaiting || sent > MostWaiting+4<<10 {
		t.Errorf("it is dropped after %d bytes", sent)
	}
	stuck <- errors.New("closed")
	deaf.Leave()
	other.Leave()
	if bytes != sent {
		t.Errorf("the other got %d bytes of %d", bytes, sent)
	}
}

// A member that does not read is dropped when it leaves: nobody waits for it for ever.
func TestLeaveOfTheDeaf(t *testing.T) {
	t.Parallel()
	var a Audience[int]
	dropped := make(chan struct{})
	deaf := a.Join(func(int) error { <-dropped; return errors.New("closed") }, func() { close(dropped) })
	a.Publish(0, 1)
	deaf.Leave()
	select {
	case <-dropped:
	default:
		t.Error("it has left, and is not dropped")
	}
}
