// Package network finds out what a host's network lets connections do: which addresses
// are the host's own, which way leads to those of others, whether connections from here
// get there, and whether packets of the packet engine do. It runs on that host.
package network
