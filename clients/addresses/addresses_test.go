package addresses

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func parse(t testing.TB, list ...string) Set {
	t.Helper()
	s, err := Parse(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every place that counts a prefix or picks an address of it goes by these rows.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		list string
		want string // first, last, how many, and in how many runs
	}{
		{"127.1.0.0/29", "127.1.0.1 127.1.0.6 6 1"},
		{"127.1.0.0/30", "127.1.0.1 127.1.0.2 2 1"},
		{"127.1.0.0/31", "127.1.0.0 127.1.0.1 2 1"},
		{"127.1.0.5/32", "127.1.0.5 127.1.0.5 1 1"},
		{"127.1.0.5", "127.1.0.5 127.1.0.5 1 1"},
		{"127.1.0.0/16", "127.1.0.1 127.1.255.254 65534 1"},
		{"0.0.0.0/0", "0.0.0.1 255.255.255.254 4294967294 1"},
		{"fd00::ff00/120", "fd00::ff00 fd00::ffff 256 1"},
		{"fd00::fff0/124", "fd00::fff0 fd00::ffff 16 1"},
		{"fd00::4/126", "fd00::4 fd00::7 4 1"},
		{"fd00::4/127", "fd00::4 fd00::5 2 1"},
		{"fd00::4/128", "fd00::4 fd00::4 1 1"},
		{"::1", "::1 ::1 1 1"},
		{"fd00::ffff:ffff:ff00:0/104", "fd00::ffff:ffff:ff00:0 fd00::ffff:ffff:ffff:ffff 16777216 1"},
		{"fd00::/66", "fd00:: fd00::3fff:ffff:ffff:ffff 4611686018427387904 1"},
		{"fd00::/64", "fd00:: fd00::3fff:ffff:ffff:ffff 4611686018427387904 1"}, // as far as it counts
		{"::/0", ":: ::3fff:ffff:ffff:ffff 4611686018427387904 1"},
		{"fd00::/64 fe00::1", "fd00:: fd00::3fff:ffff:ffff:ffff 4611686018427387904 1"},
		{"::ffff:127.1.0.5", "127.1.0.5 127.1.0.5 1 1"},
		{"::ffff:127.1.0.0/125", "127.1.0.1 127.1.0.6 6 1"},
		// Runs that meet are one, those that do not stay apart.
		{"127.1.0.4 127.1.0.2 127.1.0.3", "127.1.0.2 127.1.0.4 3 1"},
		{"127.1.0.0/31 127.1.0.2/31", "127.1.0.0 127.1.0.3 4 1"},
		{"127.1.0.0/30 127.1.0.4/30", "127.1.0.1 127.1.0.6 4 2"},
		{"127.1.0.0/30 127.1.0.0 127.1.0.3", "127.1.0.0 127.1.0.3 4 1"}, // what the prefix leaves out
		{"fd00::/126 127.1.0.0/30 fd00::4", "127.1.0.1 fd00::4 7 2"},
	} {
		s := parse(t, strings.Fields(c.list)...)
		got := fmt.Sprint(s.At(0), s.At(s.Len()-1), s.Len(), len(s.blocks))
		if got != c.want {
			t.Errorf("%s: %s; want %s", c.list, got, c.want)
		}
		for _, n := range []uint64{0, 1, s.Len() / 2, s.Len() - 1} {
			if n >= s.Len() {
				continue
			}
			if back, ok := s.Index(s.At(n)); !ok || back != n {
				t.Errorf("%s: address %d, %v, is at %d, %t", c.list, n, s.At(n), back, ok)
			}
		}
		for _, end := range []netip.Addr{s.At(0).Prev(), s.At(s.Len() - 1).Next()} {
			if end.IsValid() && s.Contains(end) {
				t.Errorf("%s: contains %v", c.list, end)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ list, want string }{
		{"localhost", `"localhost" is neither an address nor a prefix`},
		{"127.1.0.0/33", `"127.1.0.0/33" is neither`},
		{"127.1.2.3/16", `"127.1.2.3/16" has bits beyond its length: it is 127.1.0.0/16, or the address 127.1.2.3`},
		{"fe80::1%lo", `"fe80::1%lo" is link-local or has a zone`},
		{"fd00::1%1", "has a zone"},
		{"fe80::1", "is link-local"},
		{"fe80::/64", "is link-local"},
		{"127.1.0.1 127.1.0.1", "127.1.0.1 is given twice"},
		{"127.1.0.0/24 127.1.0.77", "127.1.0.77 is given twice"},
		{"127.1.0.77 127.1.0.0/24 10.0.0.1", "127.1.0.77 is given twice"},
		{"127.1.0.0/24 127.1.0.128/25", "127.1.0.129 is given twice"},
		{"127.1.0.1 ::ffff:127.1.0.1", "127.1.0.1 is given twice"},
		{"fd00::/120 fd00::/124", "fd00:: is given twice"},
	} {
		_, err := Parse(strings.Fields(c.list)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want one with %q", c.list, err, c.want)
		}
	}
	if s, err := Parse(); err != nil || s.Len() != 0 || s.Contains(netip.MustParseAddr("::1")) {
		t.Errorf("of nothing: %d addresses, %v", s.Len(), err)
	}
}

func TestFamilies(t *testing.T) {
	s := parse(t, "fd00::/126", "127.1.0.0/30", "fd00::9")
	for _, c := range []struct {
		part Set
		want string
	}{
		{s.IPv4(), "[127.1.0.1/32 127.1.0.2/32]"},
		{s.IPv6(), "[fd00::/126 fd00::9/128]"},
		{s.IPv4().IPv6(), "[]"},
		{s.Slice(1, 4), "[127.1.0.2/32 fd00::/127]"},
		{s.Slice(3, 3), "[]"},
	} {
		if got := fmt.Sprint(c.part.Prefixes()); got != c.want {
			t.Errorf("%s; want %s", got, c.want)
		}
	}
	if got, want := fmt.Sprint(s.Given()), "[fd00::/126 127.1.0.0/30 fd00::9/128]"; got != want {
		t.Errorf("given: %s; want %s", got, want)
	}
	if got, want := fmt.Sprint(s.Ends()), "[127.1.0.1 127.1.0.2 fd00:: fd00::3 fd00::9]"; got != want {
		t.Errorf("ends: %s; want %s", got, want)
	}
}

func TestAddCarries(t *testing.T) {
	got := add(netip.MustParseAddr("fd00::ffff:ffff:ffff:ffff"), 2)
	if want := netip.MustParseAddr("fd00:0:0:1::1"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPorts(t *testing.T) {
	for _, c := range []struct {
		first, last int
		reserved    string
		want        string // the ports, or how many
	}{
		{1, 5, "", "1 2 3 4 5"},
		{1, 5, "3", "1 2 4 5"},
		{1, 5, "1-2,5", "3 4"},
		{10, 14, "1-10,12-13,14-20", "11"},
		{10, 14, "12-13,1-11,12", "14"},
		{10, 14, "9,15", "10 11 12 13 14"},
		{65534, 65535, "1-65534", "65535"},
	} {
		reserved, err := ParseReserved(c.reserved)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPorts(PortRange{c.first, c.last}, reserved)
		if err != nil {
			t.Errorf("%d to %d but %s: %v", c.first, c.last, c.reserved, err)
			continue
		}
		var ports []uint16
		for k := range p.Len() {
			ports = append(ports, p.At(k))
		}
		if got := strings.Trim(fmt.Sprint(ports), "[]"); got != c.want {
			t.Errorf("%d to %d but %s: %s; want %s", c.first, c.last, c.reserved, got, c.want)
		}
		for port := range 1 << 16 {
			k, ok := p.Index(uint16(port))
			if at := slices.Index(ports, uint16(port)); ok != (at >= 0) || ok && int(k) != at {
				t.Fatalf("%d to %d but %s: port %d is at %d, %t", c.first, c.last, c.reserved, port, k, ok)
			}
		}
	}
	if p, err := NewPorts(PortRange{5, 9}, []PortRange{{8, 12}, {1, 7}}); err != nil || p.Len() != 0 {
		t.Errorf("all reserved: %d, %v", p.Len(), err)
	}
	if p, err := NewPorts(PortRange{1, 65535}, nil); err != nil || p.Len() != 65535 {
		t.Errorf("all ports: %d, %v", p.Len(), err)
	}
}

func TestPortsRefuse(t *testing.T) {
	for _, r := range []PortRange{{0, 2}, {3, 2}, {1, 65536}} {
		if _, err := NewPorts(r, nil); err == nil || !strings.Contains(err.Error(), "not a range within") {
			t.Errorf("%v: error %v", r, err)
		}
	}
}

func TestParsePorts(t *testing.T) {
	got, err := ParseReserved("8080,9148-9150\n")
	if want := []PortRange{{8080, 8080}, {9148, 9150}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := ParseReserved("\n"); got != nil || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	for _, bad := range []string{"x", "1-", "1-2-3", "65536", "9-8", "1,,2"} {
		if _, err := ParseReserved(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if p, err := KernelPorts("32768\t60999\n", "1,40000-40009\n"); err != nil || p.Len() != 28232-10 {
		t.Errorf("%d ports, %v", p.Len(), err)
	}
	if r, err := ParsePortRange("32768\t60999\n"); err != nil || r != (PortRange{32768, 60999}) {
		t.Errorf("got %v, %v", r, err)
	}
	for _, bad := range []string{"", "1", "1 2 3", "1 x", "1 65536"} {
		if _, err := ParsePortRange(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
