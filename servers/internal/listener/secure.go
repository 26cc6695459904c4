package listener

import (
	"crypto/tls"
	"fmt"
	"net"
)

// Secure makes listeners speak TLS 1.3 with the key and the certificate in a PEM file, as
// crypto/tls does it by itself. Without a file they stay as they are.
func Secure(listeners []net.Listener, file string) ([]net.Listener, error) {
	if file == "" {
		return listeners, nil
	}
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return nil, fmt.Errorf("--tls: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	secure := make([]net.Listener, len(listeners))
	for i, l := range listeners {
		secure[i] = tls.NewListener(l, config)
	}
	return secure, nil
}
