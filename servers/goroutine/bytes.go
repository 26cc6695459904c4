package main

import (
	"net"
	"sync"
	"syscall"
	"time"

	"connbench/servers/internal/work"
)

// readBytes is the size of a buffer that bytes are read into.
const readBytes = 4 << 10

// acceptBytes serves the connections of a listener without a protocol: it sends back every byte.
// With pooled, a connection holds a buffer only while there is something in it.
func (s *server) acceptBytes(l net.Listener, pooled bool) error {
	echo := echoBytes
	if pooled {
		echo = echoPooled
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		s.open.Add(1)
		go func() {
			echo(c, s.work)
			c.Close()
			s.open.Add(-1)
		}()
	}
}

// echoBytes is what everybody writes first: a buffer for each connection.
func echoBytes(c net.Conn, effort time.Duration) {
	buffer := make([]byte, readBytes)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		work.Do(effort)
		if _, err := c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

var readBuffers = sync.Pool{New: func() any { return new([readBytes]byte) }}

// echoPooled waits on the bare descriptor, and so without a buffer.
func echoPooled(c net.Conn, effort time.Duration) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	for echoNextBytes(c, raw, effort) {
	}
}

// echoNextBytes is false at the end of the connection.
func echoNextBytes(c net.Conn, raw syscall.RawConn, effort time.Duration) (more bool) {
	var buffer *[readBytes]byte
	var n int
	var failed error
	err := raw.Read(func(fd uintptr) (done bool) {
		buffer = readBuffers.Get().(*[readBytes]byte)
		for {
			n, failed = syscall.Read(int(fd), buffer[:])
			if failed != syscall.EINTR {
				break
			}
		}
		if failed != syscall.EAGAIN {
			return true
		}
		readBuffers.Put(buffer)
		return false // and again when there is something to read
	})
	if err != nil {
		return false
	}
	defer readBuffers.Put(buffer)
	if failed != nil || n == 0 {
		return false
	}
	work.Do(effort)
	_, err = c.Write(buffer[:n])
	return err == nil
}
