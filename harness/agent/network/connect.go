package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/addresses"
)

// Connects is the outcome of connecting from addresses of one host to another.
type Connects struct {
	// Tried and Failed count connections.
	Tried  int `json:"tried"`
	Failed int `json:"failed"`
	// Why says of the first few that failed which they were, and why.
	Why []string `json:"why,omitempty"`
}

const (
	// triedOfEach is how many addresses of a prefix are tried, from its first to
	// its last.
	triedOfEach = 64
	// connectTimeout bounds one connection.
	connectTimeout = 5 * time.Second
	// connectsAtOnce bounds the connections under way, connectWhys the failures that
	// are described.
	connectsAtOnce = 32
	connectWhys    = 3
)

// Listeners accept connections, and close them at once.
type Listeners struct{ open []net.Listener }

// Listen accepts connections to each of addresses, and no longer to those of an earlier
// call. It returns the addresses with their ports.
func (ls *Listeners) Listen(addresses []string) (targets []string, err error) {
	for _, l := range ls.open {
		l.Close()
	}
	ls.open = nil
	for _, address := range addresses {
		l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "listen "))
		}
		ls.open = append(ls.open, l)
		targets = append(targets, l.Addr().String())
		go func() {
			for {
				connection, err := l.Accept()
				if err != nil {
					return
				}
				connection.Close()
			}
		}()
	}
	return targets, nil
}

// Connect connects from each of sources, addresses and prefixes as the swarm's
// configuration has them, to each of targets. Of a prefix it takes some addresses.
func Connect(sources, targets []string) (Connects, error) {
	var r Connects
	var lock sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, connectsAtOnce)
	for _, text := range sources {
		chosen, err := some(text)
		if err != nil {
			return r, err
		}
		for _, from := range chosen {
			for _, to := range targets {
				slots <- struct{}{}
				all.Go(func() {
					defer func() { <-slots }()
					err := connect(from, to)
					lock.Lock()
					defer lock.Unlock()
					r.Tried++
					if err == nil {
						return
					}
					r.Failed++
					if len(r.Why) < connectWhys {
						r.Why = append(r.Why, err.Error())
					}
				})
			}
		}
	}
	all.Wait()
	return r, nil
}

func connect(from netip.Addr, to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	connection, err := dialer.DialContext(ctx, "tcp", to)
	if err == nil {
		// Without TIME_WAIT: the port may be wanted in a moment.
		connection.(*net.TCPConn).SetLinger(0)
		return connection.Close()
	}
	why := err.Error()
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		why = "it is not an address of this host"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		why = fmt.Sprintf("no answer within %s: is there a route there, and one back?", connectTimeout)
	}
	return fmt.Errorf("from %s to %s: %s", from, to, why)
}

// some are the address that text is, or some of the prefix that it is: evenly
// spread, the first and the last that a host can have included.
func some(text string) ([]netip.Addr, error) {
	set, err := addresses.Parse(text)
	if err != nil {
		return nil, err
	}
	// Beyond so many, those in between would not be tried anyway.
	const spread = 1 << 16
	count, most := min(set.Len(), triedOfEach), min(set.Len(), spread)
	var chosen []netip.Addr
	for i := range count {
		chosen = append(chosen, set.At((most-1)*i/max(1, count-1)))
	}
	return chosen, nil
}
