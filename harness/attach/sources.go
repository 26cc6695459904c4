package attach

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"connbench/clients/addresses"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/plain"
)

// sourcesOf returns the addresses that a client host connects to the server from. owned is
// true if the server's address is one of the lab's server host.
func (r Request) sourcesOf(ctx context.Context, l *lab.Lab, client lab.Client, server netip.Addr, owned bool) ([]string, error) {
	if len(r.Sources) > 0 {
		for _, text := range r.Sources {
			if _, err := addresses.ParsePrefix(text); err != nil {
				return nil, explain.Usagef("--sources: %w", err)
			}
		}
		foreign, err := client.Agent.Foreign(ctx, r.Sources)
		if err == nil && len(foreign) > 0 {
			err = explain.Usagef("--sources: host %s does not have %s", client.Facts.Name, foreign[0])
		}
		return r.Sources, err
	}
	switch {
	case l.Name != lab.Local, owned && server.Is4():
		return client.Sources, nil
	case owned: // IPv6 has one loopback address, and no other may be anybody's
		return []string{server.String()}, nil
	}
	source, err := sourceTo(server)
	if err != nil {
		return nil, err
	}
	return []string{source.String()}, nil
}

// sourceTo returns the address of this machine from which a packet to another one would be
// sent. It sends none.
func sourceTo(to netip.Addr) (netip.Addr, error) {
	const anyPort = 9
	c, err := net.Dial("udp", netip.AddrPortFrom(to, anyPort).String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("there is no way to %s: %w", to, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// labFile is a lab file that was made for one run.
type labFile struct{ Path string }

// Remove removes the file.
func (f labFile) Remove() { os.RemoveAll(filepath.Dir(f.Path)) }

// sshLab writes the lab file of a server's host that ssh reaches, and of this machine as the
// client host.
func sshLab(host string, server netip.Addr) (labFile, error) {
	source, err := sourceTo(server)
	if err != nil {
		return labFile{}, err
	}
	folder, err := os.MkdirTemp("", "connbench-attach-")
	if err != nil {
		return labFile{}, err
	}
	f := labFile{filepath.Join(folder, "attached.toml")}
	text := fmt.Sprintf(`[[host]]
name = "server"
role = "server"
ssh = %q
addresses = [%q]

[[host]]
name = "here"
role = "client"
via = ["env"]
addresses = [%q]
`, plain.Line(host), server, source)
	if err := os.WriteFile(f.Path, []byte(text), 0o600); err != nil {
		f.Remove()
		return f, err
	}
	return f, nil
}
