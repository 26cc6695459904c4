package tls

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"iter"
	"net"
	"syscall"
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
)

// handshake runs crypto/tls on one connection, in a coroutine that yields when it needs a record
// that has not arrived.
type handshake struct {
	layer *layer
	i     int
	conn  *tls.Conn
	in    []byte // received, not yet read
	ready []byte // the record that is being read
	// next resumes the coroutine, and stop ends it.
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool

	done    bool // the handshake has ended
	gone    bool // so has the connection, or crypto/tls is not needed any more
	lessons int  // records passed to it since
	err     error
	secrets struct{ in, out []byte }
}

// begin creates the handshake of connection i.
func (l *layer) begin(i int) {
	h := &handshake{layer: l, i: i}
	h.conn = tls.Client(wire{h: h}, l.config)
	h.next, h.stop = iter.Pull(func(yield func(struct{}) bool) {
		h.yield = yield
		h.err = h.conn.Handshake()
		h.done = true
		if h.err == nil && yield(struct{}{}) {
			h.learn()
		}
	})
	l.handshakes[i] = h
}

// goOn resumes the coroutine with received bytes. It reports whether the coroutine still runs.
func (h *handshake) goOn(p []byte) (runs bool) {
	h.in = append(h.in, p...)
	h.layer.shaken = h
	_, runs = h.next()
	h.layer.shaken = nil
	return runs
}

// learn keeps reading until a session ticket has arrived.
func (h *handshake) learn() {
	buffer := make([]byte, largestPlaintext)
	for h.layer.sessions.session == nil {
		if _, err := h.conn.Read(buffer); err != nil {
			return
		}
	}
}

// shake continues the handshake of connection i with received bytes.
func (b below) shake(i int, p []byte) {
	h := b.handshakes[i]
	h.goOn(p)
	if !h.done {
		return
	}
	if h.err != nil {
		b.fail(i, engine.Failure{Err: reason(h.err)})
		return
	}
	c := &b.conns[i]
	state := h.conn.ConnectionState()
	c.suite = suites[state.CipherSuite]
	c.in.begin(c.suite, h.secrets.in)
	c.out.begin(c.suite, h.secrets.out)
	c.stage = open
	if state.DidResume {
		b.count(control.CountResumed)
	}
	rest := h.in
	h.in = nil
	if b.student < 0 && b.sessions.wanted && b.sessions.session == nil {
		b.student = i
	} else {
		b.graduate(i)
	}
	b.above.Opened(i)
	if len(rest) > 0 && b.conns[i].stage == open {
		b.records(i, rest)
	}
}

// graduate ends the coroutine of connection i, if there is one.
func (l *layer) graduate(i int) {
	if h, ok := l.handshakes[i]; ok {
		delete(l.handshakes, i)
		h.gone = true
		h.stop()
		if l.student == i {
			l.student = -1
		}
	}
}

// teach passes a record to the coroutine of connection i, the student.
func (l *layer) teach(i int, record []byte) {
	h := l.handshakes[i]
	runs := h.goOn(record)
	switch h.lessons++; {
	case h.lessons == mostLessons:
		l.sessions.wanted = false // this server gives no tickets
		l.graduate(i)
	case !runs || l.sessions.session != nil:
		l.graduate(i)
	}
}

// mostLessons is the number of records after which a student that has seen no session ticket
// gives up: servers send them right after the handshake.
const mostLessons = 100

// reason returns why a handshake failed, for [engine.Failure].
func reason(err error) error {
	var certificate *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var remote *net.OpError
	var errno syscall.Errno
	switch {
	case errors.As(err, &certificate):
		return control.BadCertificate
	case errors.As(err, &header):
		return control.NoTLS
	case errors.As(err, &errno):
		return errno
	case errors.As(err, &remote) && remote.Op == "remote error":
		return control.Alert
	}
	return control.BadAnswer
}

// wire is the [net.Conn] of a coroutine. A Read never returns bytes of two records, so
// crypto/tls cannot read past the end of the handshake.
type wire struct {
	net.Conn
	h *handshake
}

func (w wire) Read(p []byte) (int, error) {
	h := w.h
	for len(h.ready) == 0 {
		record, rest := cutRecord(h.in)
		if record == nil {
			if !h.yield(struct{}{}) {
				return 0, net.ErrClosed
			}
			continue
		}
		h.ready, h.in = record, rest
	}
	n := copy(p, h.ready)
	h.ready = h.ready[n:]
	return n, nil
}

func (w wire) Write(p []byte) (int, error) {
	if w.h.gone {
		return 0, net.ErrClosed
	}
	if w.h.done {
		return len(p), nil // the layer itself answers the student's peer
	}
	if _, err := w.h.layer.push(w.h.i, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (wire) Close() error                     { return nil }
func (wire) SetDeadline(time.Time) error      { return nil }
func (wire) SetReadDeadline(time.Time) error  { return nil }
func (wire) SetWriteDeadline(time.Time) error { return nil }

// secretsOf reads the secrets of the running handshake from the key log. A line holds a label,
// the client's random and the secret (RFC 9850).
type secretsOf struct{ *layer }

func (s secretsOf) Write(line []byte) (int, error) {
	fields := bytes.Fields(line)
	if len(fields) != 3 {
		return 0, errors.New("the key log is not as RFC 9850 has it")
	}
	secret := make([]byte, hex.DecodedLen(len(fields[2])))
	if _, err := hex.Decode(secret, fields[2]); err != nil {
		return 0, err
	}
	switch string(fields[0]) {
	case "CLIENT_TRAFFIC_SECRET_0":
		s.shaken.secrets.out = secret
	case "SERVER_TRAFFIC_SECRET_0":
		s.shaken.secrets.in = secret
	}
	return len(line), nil
}

// sessions is a [tls.ClientSessionCache] with one session that all connections resume.
type sessions struct {
	wanted  bool
	session *tls.ClientSessionState
}

// Get implements [tls.ClientSessionCache].
func (s *sessions) Get(string) (*tls.ClientSessionState, bool) { return s.session, s.session != nil }

// Put implements [tls.ClientSessionCache].
func (s *sessions) Put(_ string, session *tls.ClientSessionState) {
	switch {
	case session == nil: // crypto/tls has found it to be expired
		s.session = nil
	case s.wanted && s.session == nil:
		s.session = session
	}
}
