// Package protocol defines how connections are opened and messages are framed. A
// protocol knows connections by number, as engines do. It keeps what it must only
// of those in the middle of something; one at rest costs it nothing.
package protocol

import (
	"net/netip"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/registry"
	"connbench/clients/internal/text"
)

// Kind is a kind of message.
type Kind uint8

// The kinds of message.
const (
	// Data is a message that the peer sends back.
	Data Kind = iota
	// Ping is a message that the peer has to answer with the same payload by the
	// rules of the protocol.
	Ping
	// Text is a message in the peer's own language, which it may answer.
	Text
)

// Protocol opens connections and sends and receives messages over them.
type Protocol interface {
	// Open asks the peer to open connection i, which the engine has connected, or
	// goes on with it when there is room again. Handler.Opened follows, or
	// Handler.Failed.
	Open(i int)
	// Answer takes bytes of a connection that is being opened. Those behind the
	// answer are taken as Data takes them.
	Answer(i int, p []byte)
	// Data takes bytes of an open connection, and hands on the messages in them.
	Data(i int, p []byte)
	// Writable says that the engine has room again for an open connection.
	// Handler.Writable follows when a message may be sent.
	Writable(i int)

	// Prepare makes ready for messages of a kind and size, in bytes of payload.
	// Until the next call, all messages are such ones.
	Prepare(kind Kind, size int)
	// Send sends a message. It returns false if not all of it was taken, or if the
	// connection has failed. Unless it has failed, Handler.Writable follows, and the caller is to
	// send the same message again, which goes on where it stopped. nonce is a
	// number that no other message has.
	Send(i int, payload []byte, nonce uint64) (whole bool)
	// Unfinished says whether connection i is in the middle of a message to the peer.
	Unfinished(i int) bool
	// Role says whether connection i can publish messages that go to all, and whether it hears
	// them.
	Role(i int) (publishes, hears bool)

	// Finish takes leave of the peer. Handler.Finished follows when the peer has
	// answered, or at once where the protocol has no such thing.
	Finish(i int)
	// Forget drops what is kept of connection i, which is no more.
	Forget(i int)
	// StateBytes returns the size of what is kept for every connection.
	StateBytes() int
}

// Handler is called when something happens to a connection. Its methods may call
// those of the protocol, Data and Answer excepted.
type Handler interface {
	// Opened says that the peer has agreed: messages may be sent.
	Opened(i int) (alive bool)
	// Received brings a piece of a message. It returns false if the connection is gone.
	Received(i int, p Piece) (alive bool)
	// Writable says that a message may be sent, or gone on with.
	Writable(i int)
	// Finished says that the peer has taken leave too.
	Finished(i int)
	// Count adds one to a count of the command: one of the names of control.Result.Counts.
	Count(name string)
	// Failed says that the connection is of no use any more. Phase is "send", or
	// empty for whatever the connection was doing.
	Failed(i int, why engine.Failure)
}

// Piece is a part of a message from the peer: the payload or the next part of it.
type Piece struct {
	Kind    Kind
	Payload []byte
	// Last says that this is the end of the message.
	Last bool
}

// Config is what a protocol is made with, for one worker.
type Config struct {
	// Engine sends the bytes. The protocol does not open or close connections.
	Engine  engine.Engine
	Handler Handler
	// Targets are the addresses that are connected to.
	Targets []netip.AddrPort
	// Seed makes what is random reproducible.
	Seed uint64
	// Number returns the number of connection i among those of all workers, Target
	// the index in Targets of its peer.
	Number func(i int) uint64
	Target func(i int) int
	// Compression is what the protocol offers and insists on: one of control.Compressions, or
	// empty. Texts then has the bodies of all sizes of messages that were prepared.
	Compression string
	Texts       *text.Texts
	// Opening is what the peer is asked for, and Label the number of connection i in it,
	// which no other connection of any host has.
	Opening control.Opening
	Label   func(i int) uint64
	// Hear is how connections hear what goes to all: one of control.Hearings, or empty.
	Hear string
}

// Definition is a protocol that can be chosen.
type Definition struct {
	// LargestPing is the largest payload of a ping, in bytes; negative: the
	// protocol has no pings.
	LargestPing int
	// New returns the protocol of a worker.
	New func(Config) Protocol
}

// Protocols holds every protocol. Each adds itself.
var Protocols = registry.New[Definition]("protocol")
