package load

import (
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/internal/connections"
)

// opener is what loads have in common that open connections: those under way, and for how
// long.
type opener struct {
	table   *connections.Table
	timeout int64   // nanoseconds, as all times here
	opening []int32 // begun and not verified; Conn.Index is the index in it
	expire  int64   // when to look for timeouts again
}

// connect begins to open connection i, which is free and has a tuple. A failure is counted.
func (o *opener) connect(i int, now int64) error {
	if failure := o.table.Connect(i, now); failure.Err != nil {
		o.table.Tally.Fail(failure.Phase, failure.Name())
		return failure.Err
	}
	o.table.At(i).Index = uint32(len(o.opening))
	o.opening = append(o.opening, int32(i))
	return nil
}

// expireOld gives up those that have taken too long. It looks twenty times per
// timeout; that bounds how much too long.
func (o *opener) expireOld(now int64) {
	if now < o.expire {
		return
	}
	o.expire = now + max(o.timeout/20, int64(time.Millisecond))
	for k := len(o.opening) - 1; k >= 0; k-- {
		if i := int(o.opening[k]); now-o.table.At(i).Since >= o.timeout {
			o.table.GiveUp(i)
		}
	}
}

// remove takes a connection from the list of those being opened.
func (o *opener) remove(i int) {
	k, last := o.table.At(i).Index, len(o.opening)-1
	o.opening[k] = o.opening[last]
	o.table.At(int(o.opening[k])).Index = k
	o.opening = o.opening[:last]
}

// abandon gives up those that are being opened. They are no failures.
func (o *opener) abandon() {
	for _, i := range o.opening {
		o.table.Reset(int(i))
	}
	o.opening = nil
}

// taken says that a four-tuple is in use by somebody else.
func taken(err error) bool {
	return err == unix.EADDRINUSE || err == unix.EADDRNOTAVAIL
}

// exhausted says that this side has no descriptor or memory left. ENOSPC is that
// of epoll_ctl(2): fs.epoll.max_user_watches.
func exhausted(err error) bool {
	switch err {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ENOSPC:
		return true
	}
	return false
}
