package stack

// line are flights that wait, from the oldest to the newest. One flight is in one line at
// most: it is half open, or starved.
type line struct {
	oldest, newest uint32
	count          int
}

func (l *line) add(all *flights, k uint32) {
	f := all.at(k)
	f.previous, f.next = l.newest, 0
	if l.newest != 0 {
		all.at(l.newest).next = k
	} else {
		l.oldest = k
	}
	l.newest = k
	l.count++
}

func (l *line) remove(all *flights, k uint32) {
	f := all.at(k)
	if f.previous != 0 {
		all.at(f.previous).next = f.next
	} else {
		l.oldest = f.next
	}
	if f.next != 0 {
		all.at(f.next).previous = f.previous
	} else {
		l.newest = f.previous
	}
	f.previous, f.next = 0, 0
	l.count--
}
