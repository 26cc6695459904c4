package toys

import (
	"bytes"
	"encoding/hex"

	"connbench/clients/internal/engine"
	"connbench/clients/internal/protocol"
)

// lines is a protocol of lines: HELLO is answered by WELCOME, BYE by BYE, and a message
// is its payload in hexadecimal.
type lines struct {
	engine  engine.Engine
	handler protocol.Handler
	partial map[int][]byte // the start of a line
}

func init() {
	protocol.Protocols.Add("lines", protocol.Definition{
		LargestPing: -1,
		New: func(c protocol.Config) protocol.Protocol {
			return &lines{engine: c.Engine, handler: c.Handler, partial: map[int][]byte{}}
		},
	})
}

// send sends a line, which is short enough to be taken whole.
func (l *lines) send(i int, line string) (whole bool) {
	n, err := l.engine.Send(i, []byte(line+"\n"))
	if err != nil {
		l.handler.Failed(i, engine.Failure{Err: err})
	}
	return n == len(line)+1
}

func (l *lines) Open(i int) { l.send(i, "HELLO") }

func (l *lines) Answer(i int, p []byte) { l.Data(i, p) }

func (l *lines) Data(i int, p []byte) {
	p = append(l.partial[i], p...)
	for {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		if !whole {
			l.partial[i] = p
			return
		}
		if p = rest; !l.line(i, string(line)) {
			return
		}
	}
}

func (l *lines) line(i int, line string) (alive bool) {
	switch line {
	case "WELCOME":
		return l.handler.Opened(i)
	case "BYE":
		l.handler.Finished(i)
		return false
	}
	payload, _ := hex.DecodeString(line)
	return l.handler.Received(i, protocol.Piece{Kind: protocol.Data, Payload: payload, Last: true})
}

func (l *lines) Writable(i int)             { l.handler.Writable(i) }
func (l *lines) Prepare(protocol.Kind, int) {}
func (l *lines) Unfinished(int) bool        { return false }
func (l *lines) Finish(i int)               { l.send(i, "BYE") }
func (l *lines) Forget(i int)               { delete(l.partial, i) }
func (l *lines) StateBytes() int            { return 0 }
func (l *lines) Role(int) (bool, bool)      { return true, true }

func (l *lines) Send(i int, payload []byte, _ uint64) (whole bool) {
	return l.send(i, hex.EncodeToString(payload))
}
