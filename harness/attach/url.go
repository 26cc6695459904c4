package attach

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"connbench/clients/control"
	"connbench/harness/explain"
)

// Place is where a server is, and what is asked of it.
type Place struct {
	// Host is the name or the address, and Port the port.
	Host string
	Port uint16
	// Protocol is what is spoken: "" for WebSocket, or control.ProtocolHTTP.
	Protocol string
	// Secure says that connections are TLS: wss:// and https://.
	Secure bool
	// Authority is what the Host header says.
	Authority string
	// Path is the path with its query, as it was written: {n} may be in it.
	Path string
}

// ParseURL reads a URL such as ws://127.0.0.1:8080/chat?room=1 or http://127.0.0.1:8080/. Its
// errors are mistakes of the caller.
func ParseURL(text string) (p Place, err error) {
	wrong := func(format string, args ...any) (Place, error) {
		return Place{}, explain.Hint(explain.Usagef("%q: "+format, append([]any{text}, args...)...), "write ws://HOST:PORT/PATH for WebSocket, http://HOST:PORT/PATH for HTTP, and wss:// or https:// for TLS")
	}
	u, err := url.Parse(text)
	if err != nil {
		return wrong("%v", explainURL(err))
	}
	spoken, known := map[string]string{"ws": "", "wss": "", "http": control.ProtocolHTTP, "https": control.ProtocolHTTP}[u.Scheme]
	if !known {
		return wrong("it is not a WebSocket or HTTP URL")
	}
	switch {
	case u.User != nil:
		return Place{}, explain.Hint(explain.Usagef("%s: user and password are not taken from a URL", text), "take --header 'Authorization: Basic …'")
	case u.Hostname() == "":
		return wrong("it names no host")
	case strings.Contains(text, "#"):
		return wrong("a server never sees a fragment (RFC 9110 section 7.1)")
	}
	p = Place{Host: u.Hostname(), Port: 80, Authority: u.Host, Path: "/", Protocol: spoken, Secure: u.Scheme == "wss" || u.Scheme == "https"}
	if p.Secure {
		p.Port = 443
	}
	if u.Port() != "" {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 {
			return wrong("%s is no port", u.Port())
		}
		p.Port = uint16(port)
	}
	_, rest, _ := strings.Cut(text, "//")
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		p.Path = rest[at:]
	}
	if strings.HasPrefix(p.Path, "?") {
		p.Path = "/" + p.Path
	}
	return p, nil
}

// explainURL is an error of url.Parse without the text that it repeats.
func explainURL(err error) error {
	if wrapped, ok := err.(*url.Error); ok {
		return wrapped.Err
	}
	return err
}

// Addresses resolves the host, here and once. IPv4 comes first: there are more addresses to
// connect from.
func (p Place) Addresses(ctx context.Context) ([]netip.AddrPort, error) {
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.Host)
	if err != nil {
		return nil, explain.Hint(explain.Usagef("%s has no address: %v", p.Host, err), "write a numeric address")
	}
	var list []netip.AddrPort
	for _, address := range found {
		if next := netip.AddrPortFrom(address.Unmap(), p.Port); !slices.Contains(list, next) {
			list = append(list, next)
		}
	}
	slices.SortStableFunc(list, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	if zoned := slices.ContainsFunc(list, func(a netip.AddrPort) bool { return a.Addr().Zone() != "" }); zoned {
		return nil, fmt.Errorf("%s: addresses with a zone are not supported", p.Host)
	}
	return list, nil
}
