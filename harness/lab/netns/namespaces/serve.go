package namespaces

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go4.org/netipx"
	"golang.org/x/sys/unix"

	"connbench/harness/explain"
)

// Serve is the maker: it starts agent once for each host of the network whose
// plan it reads from in, in a namespace of the host's, joins the namespaces by a
// bridge in its own, says on out that it is ready, and returns when the agents
// have ended. Their ends of the pipes must be open from descriptor 3 on.
func Serve(in io.Reader, out io.Writer, agent []string) error {
	var n Network
	if err := json.NewDecoder(in).Decode(&n); err != nil {
		return fmt.Errorf("reading the plan of the network: %w", err)
	}
	// Never unlocked: the kernel kills the agents when this thread ends, and it
	// goes from namespace to namespace.
	runtime.LockOSThread()
	agents, err := startAgents(n.Hosts(), agent)
	if err != nil {
		return err
	}
	if err := join(n, agents); err != nil {
		return err
	}
	if _, err := io.WriteString(out, ready); err != nil {
		return err
	}
	for _, agent := range agents {
		agent.Wait() // the harness knows how it ended
	}
	return nil
}

// startAgents starts an agent a host, each in a new namespace.
func startAgents(hosts []Host, command []string) ([]*exec.Cmd, error) {
	const firstDescriptor = 3
	var files []*os.File
	for i := range 3 * len(hosts) {
		unix.CloseOnExec(firstDescriptor + i) // no agent may hold another's
		files = append(files, os.NewFile(uintptr(firstDescriptor+i), "pipe"))
	}
	var agents []*exec.Cmd
	for i, host := range hosts {
		agent := exec.Command(command[0], command[1:]...)
		agent.Stdin, agent.Stdout, agent.Stderr = files[3*i], files[3*i+1], files[3*i+2]
		agent.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
		if err := agent.Start(); err != nil {
			return nil, advise("starting the agent of "+host.Name, err)
		}
		agents = append(agents, agent)
	}
	for _, file := range files {
		file.Close()
	}
	return agents, nil
}

// join makes the bridge, and a link from it to each host.
func join(n Network, agents []*exec.Cmd) error {
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}}
	if err := add(bridge); err != nil {
		return advise("making the bridge", err)
	}
	hosts := n.Hosts()
	for i, host := range hosts {
		there, err := netns.GetFromPid(agents[i].Process.Pid)
		if err != nil {
			return fmt.Errorf("the namespace of %s: %w", host.Name, err)
		}
		defer there.Close()
		cable := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: host.Name, MasterIndex: bridge.Index},
			PeerName:  card, PeerNamespace: netlink.NsFd(there),
		}
		if err := add(cable); err != nil {
			return advise("making the link to "+host.Name, err)
		}
		if err := netns.Set(there); err != nil {
			return fmt.Errorf("entering the namespace of %s: %w", host.Name, err)
		}
		if err := setUp(n, host, hosts); err != nil {
			return advise("setting up "+host.Name, err)
		}
		if err := netns.Set(home); err != nil {
			return fmt.Errorf("leaving the namespace of %s: %w", host.Name, err)
		}
	}
	return nil
}

// add makes a link and switches it on.
func add(link netlink.Link) error {
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// card is the name of a host's end of its link.
const card = "eth0"

// setUp gives host, in whose namespace this thread is, its addresses and routes.
func setUp(n Network, host Host, all []Host) error {
	for name, value := range n.Settings {
		if err := set(name, value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	link, err := netlink.LinkByName(card)
	if err != nil {
		return err
	}
	if n.IPv6 {
		for _, setting := range [][2]string{
			{"net.ipv6.conf." + card + ".disable_ipv6", "0"},
			// An address is used at once, not after a second in which nobody else
			// claims it.
			{"net.ipv6.conf." + card + ".accept_dad", "0"},
			// What a route alone makes local may be bound in IPv4 as it is.
			{"net.ipv6.ip_nonlocal_bind", "1"},
		} {
			if err := set(setting[0], setting[1]); err != nil {
				return err
			}
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return err
	}
	if err := n.Path.apply(link); err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: netipx.PrefixIPNet(host.Address)}); err != nil {
		return fmt.Errorf("address %s: %w", host.Address, err)
	}
	if n.IPv6 {
		if err := awaitAddress(link); err != nil {
			return fmt.Errorf("address %s: %w", host.Address, err)
		}
	}
	server := all[0].Name
	if err := n.leadToDevices(link, host.Name == server, all[0].Address.Addr()); err != nil {
		return err
	}
	for _, other := range all {
		route := &netlink.Route{Dst: netipx.PrefixIPNet(other.More)}
		switch {
		case other.Name == host.Name && n.Routed && host.Name != server:
			if err := set(n.forwarding(), "1"); err != nil {
				return err
			}
			continue
		case other.Name == host.Name:
			route.LinkIndex, route.Type, route.Table = loopback.Attrs().Index, unix.RTN_LOCAL, unix.RT_TABLE_LOCAL
			route.Scope = netlink.SCOPE_HOST
		case host.Name == server, other.Name == server:
			// By way of the other's own address: this host has to ask for the place
			// of that one only, not of each in the prefix.
			route.LinkIndex, route.Gw = link.Attrs().Index, other.Address.Addr().AsSlice()
		default:
			continue // clients do not talk to each other
		}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("route to %s: %w", other.More, err)
		}
	}
	if n.Firewall && host.Name == server {
		return raiseFirewall()
	}
	return nil
}

// leadToDevices has a client send what is for the server's devices to the server, and the
// server pass it on: there the device's own route says where to.
func (n Network) leadToDevices(card netlink.Link, server bool, address netip.Addr) error {
	if server {
		return set(n.forwardingFrom(card.Attrs().Name), "1")
	}
	route := &netlink.Route{Dst: netipx.PrefixIPNet(n.Devices()), LinkIndex: card.Attrs().Index, Gw: address.AsSlice()}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("route to %s: %w", n.Devices(), err)
	}
	return nil
}

// addressPatience is how long a busy kernel may take to make an address usable.
const addressPatience = 5 * time.Second

// awaitAddress waits until the addresses of IPv6 of a link can be used. The kernel sees to
// that later, by a work queue, even where nobody else could claim them.
func awaitAddress(link netlink.Link) error {
	for deadline := time.Now().Add(addressPatience); ; time.Sleep(time.Millisecond) {
		list, err := netlink.AddrList(link, netlink.FAMILY_V6)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not usable after %s", addressPatience)
		}
	}
}

// netemQueue is the number of packets that may be under way: enough for a second
// of those of a busy server.
const netemQueue = 100_000

// apply has the link do to what leaves by it what the path does.
func (p Path) apply(link netlink.Link) error {
	if p == (Path{}) {
		return nil
	}
	netem := netlink.NewNetem(netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		netlink.NetemQdiscAttrs{
			Latency: uint32(p.DelayMS * 1000), Loss: float32(p.LossPercent), Rate64: uint64(p.RateMbit * 1e6 / 8), Limit: netemQueue,
		})
	err := netlink.QdiscAdd(netem)
	if errors.Is(err, unix.ENOENT) {
		return explain.Hint(errors.New("this kernel has no netem, which delay, loss and rate need"), "modprobe sch_netem (CONFIG_NET_SCH_NETEM); or use a lab without them")
	}
	return err
}

// forwarding is the sysctl by which a host passes on what is not for itself.
func (n Network) forwarding() string {
	if n.IPv6 {
		return "net.ipv6.conf.all.forwarding"
	}
	return "net.ipv4.ip_forward"
}

// forwardingFrom is the sysctl by which a host passes on what comes by one link; in IPv6
// there is one for all alone (ip6_forward in the kernel's net/ipv6/ip6_output.c).
func (n Network) forwardingFrom(link string) string {
	if n.IPv6 {
		return n.forwarding()
	}
	return "net.ipv4.conf." + link + ".forwarding"
}

// set sets a sysctl of the namespace that this thread is in.
func set(name, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/")), []byte(value), 0)
}
