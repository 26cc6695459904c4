package limits

import (
	"fmt"
	"net/netip"
	"strings"
)

func isIPv4(address netip.Addr) bool { return address.Unmap().Is4() }
func isIPv6(address netip.Addr) bool { return !isIPv4(address) }

// count is the number of addresses of one version of IP in a list of addresses
// and prefixes. A prefix of IPv4 has two that are no host's, its first and its
// last, unless it is too short to have any other (RFC 3021).
func count(list []string, is func(netip.Addr) bool) (int64, error) {
	var total int64
	for _, text := range list {
		if !strings.Contains(text, "/") {
			address, err := netip.ParseAddr(text)
			if err != nil {
				return 0, fmt.Errorf("%q is no IP address", text)
			}
			if is(address) {
				total++
			}
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return 0, fmt.Errorf("%q is no prefix of IP addresses", text)
		}
		if !is(prefix.Addr()) {
			continue
		}
		size := int64(farBeyond)
		if bits := prefix.Addr().BitLen() - prefix.Bits(); bits < 50 {
			size = 1 << bits
		}
		if prefix.Addr().Is4() && size > 2 {
			size -= 2
		}
		total = min(total+size, farBeyond)
	}
	return total, nil
}

// localPorts is the number of source ports that the swarm may use of each
// address: where it comes from, and how it is set.
func (c Client) localPorts() (ports *int64, where, shown string, err error) {
	const (
		inRange  = "net.ipv4.ip_local_port_range"
		reserved = "net.ipv4.ip_local_reserved_ports"
	)
	first, last, where := int64(c.FirstPort), int64(c.LastPort), "the swarm's first and last port"
	if first == 0 && last == 0 {
		where = inRange
		low, high := c.sysctlField(inRange, 0), c.sysctlField(inRange, 1)
		if low == nil || high == nil {
			return nil, where, "", nil
		}
		first, last = *low, *high
	}
	shown = fmt.Sprintf("%d to %d", first, last)
	total := last - first + 1
	for part := range strings.SplitSeq(c.Host.Sysctls[reserved], ",") {
		if part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		low, high := number(from), number(from)
		if isRange {
			high = number(to)
		}
		if low == nil || high == nil {
			return nil, where, shown, fmt.Errorf("%s: %q is no range of ports", reserved, part)
		}
		if within := min(*high, last) - max(*low, first) + 1; within > 0 {
			total -= within
		}
	}
	if total < last-first+1 {
		shown += fmt.Sprintf(" but %d reserved", last-first+1-total)
	}
	return &total, where, shown, nil
}
