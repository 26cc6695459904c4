// Package tls is the client side of TLS 1.3 (RFC 8446) for very many connections. crypto/tls
// runs each handshake in a coroutine. After that, this package seals and opens the records
// itself: an idle connection keeps two keys, but no goroutine and no buffer.
package tls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"unsafe"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/security"
)

func init() {
	security.Layers.Add(control.SecurityTLS, New)
}

// stage is how far a connection has come.
type stage uint8

const (
	none stage = iota // not connected yet
	shaking
	open
)

// conn is what is kept of each connection.
type conn struct {
	in, out half
	suite   *suite
	stage   stage
	// owed says that the peer has asked for a key update that is still to be sent.
	owed bool
}

// layer implements [engine.Engine].
type layer struct {
	engine.Engine
	config   *tls.Config
	count    func(name string)
	conns    []conn
	sessions *sessions

	// Entries exist only while a connection is in the middle of a handshake, a record, a
	// handshake message after the handshake, or a write.
	handshakes map[int]*handshake
	partial    map[int][]byte
	messages   map[int][]byte
	unsent     map[int]*unsent

	// student is the connection whose coroutine lives on until it has read a session ticket, or
	// -1.
	student int
	// shaken is the handshake whose coroutine is running.
	shaken *handshake

	sealed, opened []byte // room for a record
}

// unsent are bytes that wait for room.
type unsent struct {
	bytes []byte
	// refused says that a Send failed meanwhile, so the layer above waits for Writable.
	refused bool
}

// New returns the layer over an engine.
func New(c security.Config) (engine.Engine, error) {
	l := &layer{
		Engine:     c.Engine,
		count:      c.Count,
		conns:      make([]conn, c.Capacity),
		handshakes: map[int]*handshake{},
		partial:    map[int][]byte{},
		messages:   map[int][]byte{},
		unsent:     map[int]*unsent{},
		student:    -1,
		sealed:     make([]byte, 0, largestRecord),
		opened:     make([]byte, 0, largestRecord),
	}
	settings := control.TLS{}
	if c.TLS != nil {
		settings = *c.TLS
	}
	l.sessions = &sessions{wanted: settings.Resume}
	l.config = &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         settings.ServerName,
		ClientSessionCache: l.sessions,
		KeyLogWriter:       secretsOf{l},
		// Every server has X25519. Some also have costlier key exchanges, which would make
		// handshakes incomparable.
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	if settings.Authority != "" {
		l.config.RootCAs = x509.NewCertPool()
		if !l.config.RootCAs.AppendCertsFromPEM([]byte(settings.Authority)) {
			return nil, errors.New("the authority of the server's certificate is no certificate in PEM")
		}
	}
	return l, nil
}

// StateBytes implements [engine.Engine].
func (l *layer) StateBytes() int { return l.Engine.StateBytes() + int(unsafe.Sizeof(conn{})) }

// Overdue implements [engine.Engine].
func (l *layer) Overdue(i int) engine.Failure {
	why := l.Engine.Overdue(i)
	if l.conns[i].stage == shaking {
		why.Phase = control.PhaseHandshake
	}
	return why
}

// Close implements [engine.Engine].
func (l *layer) Close(i int) {
	l.Engine.Close(i)
	l.forget(i)
}

// Release implements [engine.Engine].
func (l *layer) Release() {
	for i := range l.conns {
		l.forget(i)
	}
	l.Engine.Release()
}

// forget drops what is kept of connection i.
func (l *layer) forget(i int) {
	if l.conns[i].stage == none {
		return
	}
	l.conns[i] = conn{}
	l.graduate(i)
	delete(l.partial, i)
	delete(l.messages, i)
	delete(l.unsent, i)
}

// Send implements [engine.Engine]. If the engine below takes only part of a record, the rest is
// kept and counts as taken.
func (l *layer) Send(i int, p []byte) (taken int, err error) {
	if u := l.waiting(i); u != nil {
		u.refused = true
		return 0, nil
	}
	for taken < len(p) {
		piece := p[taken:min(len(p), taken+largestPlaintext)]
		whole, err := l.push(i, l.seal(i, typeData, piece))
		if err != nil {
			return taken, err
		}
		taken += len(piece)
		if !whole {
			l.unsent[i].refused = taken < len(p)
			break
		}
	}
	return taken, nil
}

// waiting returns the bytes of connection i that wait for room, or nil.
func (l *layer) waiting(i int) *unsent {
	if len(l.unsent) == 0 {
		return nil // quicker than to look for it
	}
	return l.unsent[i]
}

// push sends bytes, and keeps what the engine does not take. It reports whether it took all.
func (l *layer) push(i int, p []byte) (whole bool, err error) {
	if u := l.waiting(i); u != nil {
		u.bytes = append(u.bytes, p...)
		return false, nil
	}
	n, err := l.Engine.Send(i, p)
	if err != nil || n == len(p) {
		return err == nil, err
	}
	l.unsent[i] = &unsent{bytes: bytes.Clone(p[n:])}
	return false, nil
}

// Deliver implements [engine.Engine].
func (l *layer) Deliver(h engine.Handler) { l.Engine.Deliver(below{l, h}) }

// below takes what happens to the engine below.
type below struct {
	*layer
	above engine.Handler
}

// Opened begins the handshake.
func (b below) Opened(i int) {
	b.conns[i].stage = shaking
	b.begin(i)
	b.shake(i, nil)
}

// Data takes bytes of a handshake, or records.
func (b below) Data(i int, p []byte) {
	switch b.conns[i].stage {
	case shaking:
		b.shake(i, p)
	case open:
		b.records(i, p)
	}
}

// Writable sends what has waited.
func (b below) Writable(i int) {
	u := b.waiting(i)
	if u == nil {
		return
	}
	n, err := b.Engine.Send(i, u.bytes)
	if err != nil {
		b.fail(i, engine.Failure{Phase: control.PhaseSend, Err: err})
		return
	}
	if u.bytes = u.bytes[n:]; len(u.bytes) > 0 {
		return
	}
	delete(b.unsent, i)
	if b.conns[i].owed {
		if err := b.updateOut(i); err != nil {
			b.fail(i, engine.Failure{Phase: control.PhaseSend, Err: err})
			return
		}
	}
	if u.refused && b.conns[i].stage == open {
		b.above.Writable(i)
	}
}

// Closed passes on that the connection has ended.
func (b below) Closed(i int, why engine.Failure) {
	if b.conns[i].stage == shaking {
		why.Phase = control.PhaseHandshake
	}
	b.forget(i)
	b.above.Closed(i, why)
}

// fail ends connection i.
func (b below) fail(i int, why engine.Failure) {
	if b.conns[i].stage == shaking {
		why.Phase = control.PhaseHandshake
	}
	b.Close(i)
	b.above.Closed(i, why)
}
