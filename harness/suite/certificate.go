package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"connbench/harness/record"
	"connbench/harness/variant"
	"connbench/servers/contract/certificate"
)

// issued is a certificate of a run's own.
type issued struct {
	file      string // the key with the certificate, on this host; "" without TLS
	authority string // in PEM
}

// certify makes a certificate if any of the programs needs one.
func (j Job) certify() (c issued, err error) {
	if !slices.ContainsFunc(j.Programs, func(p variant.Program) bool { return p.Secured != "" && p.Class != record.ClassAttached }) {
		return c, nil
	}
	server, authority, err := certificate.New()
	if err != nil {
		return c, fmt.Errorf("make a certificate: %w", err)
	}
	folder, err := os.MkdirTemp("", "connbench-certificate-")
	if err != nil {
		return c, err
	}
	c = issued{filepath.Join(folder, "server.pem"), string(authority)}
	return c, os.WriteFile(c.file, server, 0o600)
}

// remove removes the key.
func (c issued) remove() {
	if c.file != "" {
		os.RemoveAll(filepath.Dir(c.file))
	}
}
