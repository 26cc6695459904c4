package stack

// halfOpen are the flights of connections that a peer has begun and that are not
// established, from the oldest to the newest.
type halfOpen struct {
	oldest, newest uint32
	count          int
}

func (h *halfOpen) add(all *flights, k uint32) {
	f := all.at(k)
	f.previous, f.next = h.newest, 0
	if h.newest != 0 {
		all.at(h.newest).next = k
	} else {
		h.oldest = k
	}
	h.newest = k
	h.count++
}

func (h *halfOpen) remove(all *flights, k uint32) {
	f := all.at(k)
	if f.previous != 0 {
		all.at(f.previous).next = f.next
	} else {
		h.oldest = f.next
	}
	if f.next != 0 {
		all.at(f.next).previous = f.previous
	} else {
		h.newest = f.previous
	}
	f.previous, f.next = 0, 0
	h.count--
}
