package tls

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/engine/socket"
	"connbench/clients/internal/security"
)

// certificate writes a certificate that has signed itself, with its key, to a file.
func certificate(t *testing.T) (file, authority string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"server.test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	file = filepath.Join(t.TempDir(), "server.pem")
	if err := os.WriteFile(file, append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), public...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, string(public)
}

// client runs one connection until something has happened.
type client struct {
	*upper
	engine engine.Engine
	opened bool
}

func (c *client) Opened(int) { c.opened = true }

func (c *client) until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !happened(); {
		if time.Now().After(end) || len(c.closed) > 0 {
			t.Fatalf("still not: %s; received %q, closed by %v", what, c.data, c.closed)
		}
		if _, err := c.engine.Wait(10 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		c.engine.Deliver(c)
	}
}

// OpenSSL with each cipher: both directions, before and after it has changed its keys and
// asked for ours to change.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs openssl")
	}
	file, authority := certificate(t)
	for _, name := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
		t.Run(name, func(t *testing.T) {
			server := exec.Command("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", file, "-key", file, "-tls1_3", "-ciphersuites", name)
			in, err := server.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := server.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Process.Kill(); server.Wait() })
			lines := bufio.NewReader(out)
			lineWith := func(prefix string) string {
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						t.Fatalf("no line with %q: %v", prefix, err)
					}
					if rest, ok := strings.CutPrefix(line, prefix); ok {
						return strings.TrimSpace(rest)
					}
				}
			}
			target := netip.MustParseAddrPort(lineWith("ACCEPT "))

			below, err := socket.New(1, -1)
			if err != nil {
				t.Fatal(err)
			}
			e, err := New(security.Config{Engine: below, Capacity: 1, TLS: &control.TLS{Authority: authority, ServerName: "server.test"}, Count: func(string) {}})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Release()
			c := &client{upper: &upper{}, engine: e}
			if why := e.Open(0, netip.MustParseAddrPort("127.0.0.1:0"), target); why.Err != nil {
				t.Fatal(why)
			}
			c.until(t, "the handshake", func() bool { return c.opened })
			for _, word := range []string{"before", "after", "later"} {
				io.WriteString(in, word+"\n")
				c.until(t, word, func() bool { return strings.HasSuffix(string(c.data), word+"\n") })
				if n, err := e.Send(0, []byte("client "+word+"\n")); err != nil || n != len("client "+word+"\n") {
					t.Fatal(n, err)
				}
				if got := lineWith("client "); got != word {
					t.Errorf("the server has received %q, want %q", got, word)
				}
				io.WriteString(in, "K\n") // change your key, and ask for a change of ours
				c.until(t, "a key update", func() bool { return e.(*layer).conns[0].in.sequence == 0 })
			}
		})
	}
}
