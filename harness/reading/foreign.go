package reading

import (
	"fmt"
	"maps"
	"math"
	"strings"
)

// Foreign is what TCP sockets of other programs did to the kernel memory of a host
// between two readings.
type Foreign struct {
	// Sockets is how many came; negative: went. It is nil where the kernel does not
	// count sockets.
	Sockets *int64 `json:"sockets"`
	// Bytes is by how much they raised [System.KernelBytes].
	Bytes int64 `json:"bytes"`
	// Doubt says why the corrected memory is not to be believed; "" if it is.
	Doubt string `json:"doubt,omitempty"`
}

const (
	// fewForeign sockets are always on the move, and too few to matter.
	fewForeign = 16
	// mostForeign is the share of our ends up to which foreign sockets are taken
	// out on nobody's word. What they have in their buffers is not known, and more of
	// them would make it a part of the result.
	mostForeign = 0.1
	// chargeTolerance is how far the host's memory for an end of a connection may be
	// from what the servers' control group was charged for one. Without other
	// programs it is 2 to 9 % above that: page tables, and the clients' ends.
	chargeTolerance = 0.15
)

// Charge is the kernel memory that the control group of the servers was charged with
// between two readings, for so many ends of our connections. Other programs have no
// part in it.
type Charge struct{ Bytes, Ends int64 }

// socketCaches are the slab caches in which each TCP socket with a descriptor has one
// object: its inode and its file, what security modules note of both, and its
// directory entry. The socket itself is in "TCP" or "TCPv6".
var socketCaches = []string{"sock_inode_cache", "filp", "lsm_file_cache", dentries, inodeLabels}

// WithoutForeign is s with the kernel memory that it would have if other programs
// had the TCP sockets that they had at the reading before. Both readings must be
// detailed, and taken while our connections were quiet. ends is the number of ends
// of our connections on this kernel that came in between: of each connection one,
// or both where client and server share the kernel, or none where server and clients speak
// TCP themselves. connections is their number: what is foreign matters in proportion.
//
// The number of sockets is exact, and what a socket without data takes is known:
// an object of each of its caches. Whether the result is believed is up to the
// servers' control group, if there is one. Without it, there must be few foreign
// sockets, and no more in buffers than our own ends take.
func (s System) WithoutForeign(before System, ends, connections int64, group *Charge) (System, Foreign) {
	corrected, f := s.corrected(before, ends, connections)
	if group != nil && ends > 0 && group.Ends > 0 && s.Slab != nil && before.Slab != nil {
		f.Doubt = corrected.doubtByGroup(before, ends, *group)
	}
	return corrected, f
}

// corrected is WithoutForeign without a control group.
func (s System) corrected(before System, ends, connections int64) (System, Foreign) {
	var f Foreign
	if s.Sockets.Allocated == nil || before.Sockets.Allocated == nil {
		return s, f
	}
	foreign := *s.Sockets.Allocated - *before.Sockets.Allocated - ends
	f.Sockets = &foreign
	if foreign == 0 {
		return s, f
	}
	few := max(foreign, -foreign) <= fewForeign
	if s.Slab == nil || before.Slab == nil {
		if !few {
			f.Doubt = f.moved() + "; only root can see the kernel memory that they take"
		}
		return s, f
	}
	corrected := s.lessSockets(before, foreign)
	f.Bytes = valueOf(s.KernelBytes()) - valueOf(corrected.KernelBytes())
	if few {
		return corrected, f
	}
	if float64(max(foreign, -foreign)) > mostForeign*float64(max(ends, -ends, connections)) {
		f.Doubt = fmt.Sprintf("%s, against %d ends of ours; what theirs had in buffers is not known", f.moved(), ends)
		return corrected, f
	}
	buffers := corrected.buffers() - before.buffers()
	if own := float64(max(ends, connections)) * corrected.socketBytes(); float64(max(buffers, -buffers)) > max(own, -own) {
		f.Doubt = fmt.Sprintf("%s, and buffers of the kernel by %d bytes, more than our %d ends take", f.moved(), buffers, ends)
	}
	return corrected, f
}

func (f Foreign) moved() string {
	if *f.Sockets < 0 {
		return fmt.Sprintf("other programs' TCP sockets fell by %d", -*f.Sockets)
	}
	return fmt.Sprintf("other programs' TCP sockets grew by %d", *f.Sockets)
}

// lessSockets takes the objects of foreign sockets, which came since before, out of
// their caches. Caches then hold what they held before and their part for each
// object that is ours: whole slabs say nothing where foreign sockets left holes.
func (s System) lessSockets(before System, foreign int64) System {
	corrected := s
	corrected.Slab = maps.Clone(s.Slab)
	for _, name := range append([]string{s.family(before)}, socketCaches...) {
		after, known := s.Slab[name]
		earlier, knew := before.Slab[name]
		if !known || !knew {
			continue
		}
		after.Active -= foreign
		after.Bytes = earlier.Bytes + int64(float64(after.Active-earlier.Active)*after.ShareBytes)
		corrected.Slab[name] = after
	}
	if s.Memory.Slab != nil {
		// Large allocations are what Slab has beyond the caches: they stay.
		slab := *s.Memory.Slab
		for name, cache := range s.Slab {
			slab += corrected.Slab[name].Bytes - cache.Bytes
		}
		corrected.Memory.Slab = &slab
	}
	return corrected
}

// family is the cache that foreign sockets are taken out of: the one that moved
// more. Which version of IP they had is not known; a socket takes about as much in
// both.
func (s System) family(before System) string {
	moved := func(name string) int64 {
		by := s.Slab[name].Active - before.Slab[name].Active
		return max(by, -by)
	}
	if moved("TCPv6") > moved("TCP") {
		return "TCPv6"
	}
	return "TCP"
}

// socketBytes is what a socket without data takes of its caches.
func (s System) socketBytes() float64 {
	sum := max(s.Slab["TCP"].ShareBytes, s.Slab["TCPv6"].ShareBytes)
	for _, name := range socketCaches {
		sum += s.Slab[name].ShareBytes
	}
	return sum
}

// buffers is kernel memory of the kinds that data in sockets takes.
func (s System) buffers() (sum int64) {
	for kind, bytes := range s.Kernel() {
		if kind == "tcp_buffers" || kind == "slab:large" || strings.HasPrefix(kind, "slab:skbuff_") || strings.HasPrefix(kind, "slab:kmalloc-") {
			sum += bytes
		}
	}
	return sum
}

// doubtByGroup compares s, a corrected reading, with what the group was charged with.
//
// The kernel makes the socket of a connection when its packets come in, on nobody's
// account. Only recent kernels charge it afterwards, in version 2 of control groups;
// elsewhere the group lacks one object of the cache "TCP" for each end.
func (s System) doubtByGroup(before System, ends int64, group Charge) string {
	after, earlier := s.KernelBytes(), before.KernelBytes()
	if after == nil || earlier == nil {
		return ""
	}
	host := float64(*after-*earlier) / float64(ends)
	charged := float64(group.Bytes) / float64(group.Ends)
	if socket := max(s.Slab["TCP"].ShareBytes, s.Slab["TCPv6"].ShareBytes); charged < socket {
		charged += socket
	}
	if math.Abs(host-charged) > chargeTolerance*charged {
		return fmt.Sprintf("the host's kernel memory grew by %.0f bytes for each end of a connection, and by %.0f as the servers' control group was charged", host, charged)
	}
	return ""
}
