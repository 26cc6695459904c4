package exam

import (
	"crypto/x509"
	"os"
	"path/filepath"

	"connbench/servers/contract"
	"connbench/servers/contract/certificate"
)

// Program is a server to be examined.
type Program struct {
	// Command is the program and its first arguments; those that say the
	// options follow them.
	Command []string
	// Env is added to the environment, each entry KEY=value.
	Env []string
	// Options are passed on to the server, except for Listen, which every check
	// chooses for itself. A few checks vary one of the others. MaxMessage must be
	// at least 4 KiB, so that the other checks need not care for it.
	Options contract.Options
	// Secure has all connections speak TLS, with a certificate that [Certify] has made.
	Secure bool
	// Broadcast says that the server can send each message to all connections in the protocol of
	// Options, and is to be examined in that too.
	Broadcast bool
	// Device says that the server speaks TCP itself, over a device that it makes: it listens
	// on addresses that are not the kernel's, and has no sockets. The gate must then run
	// where it may have both, see package sandbox.
	Device bool
	// Only, unless it is empty, leaves out the checks of other sections.
	Only Section
	// Waives are the checks that the server's library cannot keep, by name, each with the
	// reason.
	Waives map[string]string

	roots *x509.CertPool
}

// Certify makes the certificate of a program that is examined over TLS, in a folder.
func (p *Program) Certify(folder string) error {
	server, authority, err := certificate.New()
	if err != nil {
		return err
	}
	p.roots = x509.NewCertPool()
	p.roots.AppendCertsFromPEM(authority)
	p.Options.TLS = filepath.Join(folder, "server.pem")
	return os.WriteFile(p.Options.TLS, server, 0o600)
}

// Case is a check that can be carried out.
type Case struct {
	Name, Title string
	Section     Section
	// Any says that a check of WebSocket servers holds for those of other protocols too: it uses
	// no more of the protocol than [Conn.Begin], [Conn.Encode] and [Conn.ExpectEcho].
	Any bool
	Run func(*Exam)
}

// Section is the part of RFC 6455, or of the contract in servers/README.md, that a check is
// about.
type Section string

// The sections, in the order in which they are shown.
const (
	Opening       Section = "4 opening"     // the handshake, and the HTTP below it
	Framing       Section = "5.2 framing"   // frames, with their masks, bits and opcodes
	Fragmentation Section = "5.4 fragments" // messages in several frames
	Control       Section = "5.5 control"   // pings, pongs and their limits
	Closing       Section = "7 closing"     // close frames and codes
	UTF8          Section = "8.1 UTF-8"     // text
	Sizes         Section = "10.4 sizes"    // limits, and very large messages
	Compression   Section = "RFC 7692"      // messages that are compressed
	Echoes        Section = "echoes"        // of HTTP and bytes: content comes back
	Requests      Section = "requests"      // of HTTP
	Isolation     Section = "peers apart"   // no peer holds up another
	Broadcasts    Section = "broadcasts"    // of servers that send each message to all
	Process       Section = "process"       // arguments, questions, the end
	Sockets       Section = "sockets"       // addresses and options
)

// Sections are all of them.
var Sections = []Section{Opening, Framing, Fragmentation, Control, Closing, UTF8, Sizes, Compression, Echoes, Requests, Isolation, Broadcasts, Process, Sockets}
