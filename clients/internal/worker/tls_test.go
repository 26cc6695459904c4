package worker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/peer"
	"connbench/clients/internal/security"
)

// serverName is the name in the certificate of the tests' servers.
const serverName = "example.com"

// certified is the configuration of the tests' servers, and authority their certificate, which
// has signed itself; unrelated is one that has signed nothing of these tests.
var (
	certified, authority = certify()
	_, unrelated         = certify()
)

func init() {
	if overTLS {
		peer.Security = certified
	}
}

// certify returns a server's configuration and its certificate in PEM. The key is of the kind
// that costs the least: the tests shake hands thousands of times.
func certify() (*tls.Config, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{serverName}, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
}

// secured is a TLS layer, and the number of sessions that it has resumed.
type secured struct {
	engine.Engine
	resumed int
}

// secure puts TLS over an engine.
func secure(t testing.TB, below engine.Engine, capacity int, settings control.TLS) *secured {
	t.Helper()
	layer, err := security.Layers.Find(control.SecurityTLS)
	if err != nil {
		t.Fatal(err)
	}
	if settings.Authority == "" {
		settings.Authority = authority
	}
	if settings.ServerName == "" {
		settings.ServerName = serverName
	}
	var s secured
	s.Engine, err = layer(security.Config{Engine: below, Capacity: capacity, TLS: &settings, Count: func(string) { s.resumed++ }})
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// Every way in which a handshake fails has an error of its own.
func TestTLSHandshakesThatFail(t *testing.T) {
	needPlain(t)
	old := certified.Clone()
	old.MaxVersion = tls.VersionTLS12
	others := certified.Clone()
	others.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, io.ErrUnexpectedEOF }
	secureThen := func(c *tls.Config, then func(c *tls.Conn)) func(int, *peer.Conn) {
		return func(_ int, p *peer.Conn) {
			conn := tls.Server(p.Conn, c)
			if conn.Handshake() == nil && then != nil {
				then(conn)
			}
			io.Copy(io.Discard, p.Conn) // until the client has seen all of it
		}
	}
	for name, test := range map[string]struct {
		serve    func(int, *peer.Conn)
		settings control.TLS
		want     control.Error
		phase    control.Phase
	}{
		"another name":  {secureThen(certified, nil), control.TLS{ServerName: "other.test"}, control.BadCertificate, "handshake"},
		"not trusted":   {secureThen(certified, nil), control.TLS{Authority: unrelated}, control.BadCertificate, "handshake"},
		"TLS 1.2 alone": {secureThen(old, nil), control.TLS{}, control.Alert, "handshake"},
		"an alert":      {secureThen(others, nil), control.TLS{}, control.Alert, "handshake"},
		"plain":         {func(_ int, c *peer.Conn) { c.Send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); io.Copy(io.Discard, c) }, control.TLS{}, control.NoTLS, "handshake"},
		"ended": {func(_ int, c *peer.Conn) {
			io.ReadFull(c, make([]byte, 5))
			c.Conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}, control.TLS{}, control.Closed, "handshake"},
		"reset":        {func(_ int, c *peer.Conn) { io.ReadFull(c, make([]byte, 5)); c.Reset() }, control.TLS{}, "ECONNRESET", "handshake"},
		"mute":         {func(_ int, c *peer.Conn) { io.Copy(io.Discard, c) }, control.TLS{}, control.Timeout, "handshake"},
		"no WebSocket": {secureThen(certified, func(c *tls.Conn) { c.Write([]byte("220 ready\r\n\r\n")) }), control.TLS{}, control.BadAnswer, "handshake"},
		"closed early": {secureThen(certified, func(c *tls.Conn) { c.CloseWrite() }), control.TLS{}, control.Closed, "handshake"},
		"garbage later": {secureThen(certified, func(c *tls.Conn) {
			c.NetConn().Write([]byte("\x17\x03\x03\x00\x20"))
			c.NetConn().Write(make([]byte, 32))
		}), control.TLS{}, control.BadRecord, "handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			server := peer.Start(t, hostIPv4, test.serve)
			s := newTable(t, 2, setup{wrap: func(e engine.Engine) engine.Engine { return secure(t, e, 2, test.settings) }}, server.Address)
			timeout := long
			if test.want == control.Timeout {
				timeout = short
			}
			report := run(t, s, control.Command{Op: "ramp", Connections: 1, Window: 1, RatePerSecond: 1000, TimeoutSeconds: timeout})
			if len(report.Failures) != 1 || report.Failures[0].Kind() != (control.FailureKind{Phase: test.phase, Error: test.want}) {
				t.Errorf("%v, want %s: %s", report.Failures, test.phase, test.want)
			}
		})
	}
}

// needPlain skips a test that brings its own TLS or needs none.
func needPlain(t *testing.T) {
	if overTLS || overPackets {
		t.Skip("brings its own layers")
	}
}

// All connections but the first resume its session, whatever comes before the ticket.
func TestResumption(t *testing.T) {
	needPlain(t)
	server := peer.Serve(tls.NewListener(peer.Listen(t, hostIPv4), certified), peer.Echo)
	t.Cleanup(server.Close)
	for _, resume := range []bool{false, true} {
		var layer *secured
		s := newTable(t, 20, setup{sources: source(map[bool]int{false: 1, true: 2}[resume]), wrap: func(e engine.Engine) engine.Engine {
			layer = secure(t, e, 20, control.TLS{Resume: resume})
			return layer
		}}, server.Address)
		rampTo1(t, s, 1)
		expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 7}), control.Result{Open: 1, Offered: 1, Sent: 1, Delivered: 1})
		expect(t, run(t, s, control.Command{Op: "ramp", Connections: 20, Window: 50}), control.Result{Open: 20, Opened: 19})
		expect(t, run(t, s, control.Command{Op: "census", PayloadBytes: 7}), control.Result{Open: 20, Offered: 20, Sent: 20, Delivered: 20})
		want := 0
		if resume {
			want = 19
		}
		if layer.resumed != want {
			t.Errorf("resumption is %v: %d of 20 have resumed, want %d", resume, layer.resumed, want)
		}
	}
}
