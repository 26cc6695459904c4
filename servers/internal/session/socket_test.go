package session

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// pair is a Socket that has just been accepted, its descriptor, and the peer,
// whose reads and writes block.
func pair(t *testing.T) (s *Socket, fd int, peer *os.File) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	peer = os.NewFile(uintptr(fds[1]), "peer")
	t.Cleanup(func() {
		unix.Close(fds[0])
		peer.Close()
	})
	return new(Socket), fds[0], peer
}

// buffers are those that a loop lends to its sockets.
type buffers struct{ in, out []byte }

func newBuffers() *buffers { return &buffers{in: make([]byte, 4096)} }

func (b *buffers) handle(s *Socket, fd int) State { return s.Handle(fd, b.in, &b.out, rules) }

func write(t *testing.T, peer io.Writer, data string) {
	t.Helper()
	if _, err := io.WriteString(peer, data); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, peer io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// upgrade does the peer's part of a handshake.
func upgrade(t *testing.T, b *buffers, s *Socket, fd int, peer *os.File) {
	t.Helper()
	write(t, peer, request)
	if state := b.handle(s, fd); state != Alive || !s.Upgraded() {
		t.Fatalf("handshake: %v", state)
	}
	var response []byte
	for one := make([]byte, 1); !bytes.HasSuffix(response, []byte("\r\n\r\n")); response = append(response, one...) {
		if _, err := io.ReadFull(peer, one); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSocketEchoesAndCloses(t *testing.T) {
	s, fd, peer := pair(t)
	b := newBuffers()
	upgrade(t, b, s, fd, peer)
	if state := b.handle(s, fd); state != Alive {
		t.Fatalf("nothing to read: %v", state)
	}
	write(t, peer, masked(ws.OpText, true, "hello"))
	if state := b.handle(s, fd); state != Alive {
		t.Fatalf("echo: %v", state)
	}
	expect(t, peer, plain(ws.OpText, "hello"))
	write(t, peer, masked(ws.OpClose, true, "\x03\xe8"))
	if state := b.handle(s, fd); state != Dead {
		t.Fatalf("close: %v", state)
	}
	expect(t, peer, closeFrame(1000))
	if *s != (Socket{}) {
		t.Errorf("after the end: %+v", *s)
	}
	if size := unsafe.Sizeof(*s); size > 24 {
		t.Errorf("a Socket has %d bytes", size)
	}
}

// TestSocketLingers: after a violation the peer gets the close frame and end of
// stream, though it is still sending, and the socket ends when the peer does.
func TestSocketLingers(t *testing.T) {
	s, fd, peer := pair(t)
	b := newBuffers()
	upgrade(t, b, s, fd, peer)
	write(t, peer, masked(3, true, ""))
	if state := b.handle(s, fd); state != Ending {
		t.Fatalf("violation: %v", state)
	}
	write(t, peer, masked(ws.OpText, true, "still sending"))
	if state := b.handle(s, fd); state != Alive {
		t.Fatalf("what came after: %v", state)
	}
	if rest, err := io.ReadAll(peer); err != nil || string(rest) != closeFrame(1002) {
		t.Fatalf("got %q, %v", rest, err)
	}
	peer.Close()
	if state := b.handle(s, fd); state != Dead {
		t.Fatalf("the peer has closed: %v", state)
	}
}

// TestSocketStopsReading: a peer that does not read is not read from, what is
// kept for it is bounded, and nothing is lost when it reads again.
func TestSocketStopsReading(t *testing.T) {
	s, fd, peer := pair(t)
	b := newBuffers()
	upgrade(t, b, s, fd, peer)

	message := func(i int) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(i))) + strings.Repeat("x", maxMessage-4)
	}
	sent := 0
	for !s.Blocked() {
		write(t, peer, masked(ws.OpBinary, true, message(sent)))
		sent++
		if state := b.handle(s, fd); state != Alive {
			t.Fatalf("message %d: %v", sent, state)
		}
	}
	if kept, bound := len(s.backlog.unsent), len(b.in)+maxMessage+ws.MaxHeaderSize; kept > bound {
		t.Errorf("%d bytes are kept for a peer that does not read, more than %d", kept, bound)
	}
	write(t, peer, masked(ws.OpClose, true, "\x03\xe8"))
	before := *s
	if state := b.handle(s, fd); state != Alive || *s != before {
		t.Fatalf("handled while the peer does not read: %v", state)
	}

	for i := range sent {
		expect(t, peer, plain(ws.OpBinary, message(i)))
		if s.Blocked() {
			if state := b.handle(s, fd); state != Alive {
				t.Fatalf("after message %d was read: %v", i, state)
			}
		}
	}
	if state := b.handle(s, fd); state != Dead {
		t.Fatalf("the close frame that had waited: %v", state)
	}
	expect(t, peer, closeFrame(1000))
}

// TestSocketTakesTurns: a flood in one segment is answered in several turns, in order,
// and nothing else is read meanwhile.
func TestSocketTakesTurns(t *testing.T) {
	s, fd, peer := pair(t)
	b := newBuffers()
	upgrade(t, b, s, fd, peer)
	const n = 2*FramesPerTurn + 1
	write(t, peer, strings.Repeat(masked(ws.OpPing, true, "p"), n))
	for turn := range 2 {
		if state := b.handle(s, fd); state != Alive || !s.Blocked() {
			t.Fatalf("turn %d: %v, watched for being writable: %v", turn, state, s.Blocked())
		}
		expect(t, peer, strings.Repeat(plain(ws.OpPong, "p"), FramesPerTurn))
	}
	write(t, peer, masked(ws.OpClose, true, "\x03\xe8"))
	if state := b.handle(s, fd); state != Alive || s.Blocked() {
		t.Fatalf("the last turn: %v, watched for being writable: %v", state, s.Blocked())
	}
	expect(t, peer, plain(ws.OpPong, "p"))
	if state := b.handle(s, fd); state != Dead {
		t.Fatalf("the close frame that had waited: %v", state)
	}
	expect(t, peer, closeFrame(1000))
}

// TestSocketEndsAFlood: a violation at the end of a flood is told, and said once.
func TestSocketEndsAFlood(t *testing.T) {
	s, fd, peer := pair(t)
	b := newBuffers()
	upgrade(t, b, s, fd, peer)
	write(t, peer, strings.Repeat(masked(ws.OpPing, true, ""), FramesPerTurn)+masked(3, true, ""))
	for _, want := range []State{Alive, Ending, Alive} {
		if state := b.handle(s, fd); state != want {
			t.Fatalf("%v, want %v", state, want)
		}
	}
	expect(t, peer, strings.Repeat(plain(ws.OpPong, ""), FramesPerTurn)+closeFrame(1002))
}

func TestSocketDropsWhatIsUnfinished(t *testing.T) {
	s, fd, peer := pair(t)
	b := newBuffers()
	upgrade(t, b, s, fd, peer)
	write(t, peer, masked(ws.OpText, false, "unfinished"))
	b.handle(s, fd)
	if s.partial == nil {
		t.Fatal("nothing is unfinished")
	}
	peer.Close()
	if state := b.handle(s, fd); state != Dead || *s != (Socket{}) {
		t.Errorf("the peer has closed: %v, %+v", state, *s)
	}
}

// What another connection publishes comes behind what already waits, and a peer that does not
// read is hung up on.
func TestPush(t *testing.T) {
	s, fd, peer := pair(t)
	b := newBuffers()
	push := func(frame string) { s.Push(fd, rules.Publication([]byte(frame))) }
	push("too early")
	upgrade(t, b, s, fd, peer)
	frame := strings.Repeat("0123456789abcdef", 4<<10)
	push("first")
	expect(t, peer, "first")
	pushed := 0
	for !s.Blocked() {
		push(frame)
		pushed++
	}
	push("last")
	// The peer reads, and all comes in order.
	for range pushed {
		done := make(chan bool)
		go func() { expect(t, peer, frame); close(done) }()
		for waiting := true; waiting; {
			select {
			case <-done:
				waiting = false
			default:
				b.handle(s, fd)
			}
		}
	}
	for s.Blocked() {
		b.handle(s, fd)
	}
	expect(t, peer, "last")

	pushed = 0
	for state := Alive; state == Alive; pushed += len(frame) {
		if push(frame); pushed > 16<<20 {
			t.Fatal("a peer that does not read is kept for ever")
		}
		if s.Blocked() {
			state = b.handle(s, fd)
		}
	}
	if pushed < MostUnsent {
		t.Errorf("it is dropped after %d bytes", pushed)
	}
}

// Each message is published as a frame, and its sender has it as ever.
func TestFeedPublishes(t *testing.T) {
	var s Session
	var published [][]byte
	rules := Rules{MaxMessage: 100, Publish: func(frame []byte) { published = append(published, frame) }}
	_, out, _ := s.Feed([]byte(request), nil, rules)
	if len(published) > 0 {
		t.Fatal("a handshake is published")
	}
	in := masked(ws.OpText, true, "hi") + masked(ws.OpPing, true, "ping") + masked(ws.OpText, true, "\xc3(")
	_, out, _ = s.Feed([]byte(in), out[:0], rules)
	frame := append(appendHeader(nil, ws.OpText, 2), "hi"...)
	if len(published) != 1 || !bytes.Equal(published[0], frame) || !bytes.HasPrefix(out, frame) {
		t.Errorf("published %q, sent %q", published, out)
	}
}
