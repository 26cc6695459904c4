package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

// The certificate verifies for its own name, by its own authority.
func TestNew(t *testing.T) {
	server, authority, err := New()
	if err != nil {
		t.Fatal(err)
	}
	_, others, err := New()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(server, server)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		authority []byte
		name      string
		right     bool
	}{{authority, ServerName, true}, {authority, "example.com", false}, {others, ServerName, false}} {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(test.authority) {
			t.Fatal("the authority is not PEM")
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: test.name, Roots: roots}); (err == nil) != test.right {
			t.Errorf("verified as %s: %v, want %v", test.name, err, test.right)
		}
	}
}
