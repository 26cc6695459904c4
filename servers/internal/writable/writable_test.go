package writable

import (
	"testing"

	"golang.org/x/sys/unix"
)

// full is a socket that cannot be written to, and its peer.
func full(t *testing.T) (fd, peer int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	for {
		if _, err := unix.Write(fds[0], make([]byte, 4096)); err == unix.EAGAIN {
			return fds[0], fds[1]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func drain(t *testing.T, fd int) {
	t.Helper()
	for buffer := make([]byte, 1<<20); ; {
		if _, err := unix.Read(fd, buffer); err == unix.EAGAIN {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOnce(t *testing.T) {
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	fd, peer := full(t)
	called := make(chan string, 4)
	say := func(what string) func() { return func() { called <- what } }
	for _, what := range []string{"first", "second"} {
		if err := w.Once(fd, say(what)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case what := <-called:
		t.Fatalf("%s: called though the socket is full", what)
	default:
	}
	drain(t, peer)
	for _, want := range []string{"first", "second"} {
		if what := <-called; what != want {
			t.Errorf("%s was called, want %s", what, want)
		}
	}

	// It can be written to still: a call comes at once, and none of the others again.
	if err := w.Once(fd, say("third")); err != nil {
		t.Fatal(err)
	}
	if what := <-called; what != "third" {
		t.Errorf("%s was called", what)
	}
	unix.Close(peer)
	if err := w.Once(fd, say("failed")); err != nil {
		t.Fatal(err)
	}
	if what := <-called; what != "failed" {
		t.Errorf("%s was called once more", what)
	}
	if err := w.Once(-1, say("none")); err == nil {
		t.Error("a descriptor that is none is watched")
	}
}
