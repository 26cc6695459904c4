package coordinator

import (
	"connbench/clients/control"
	"connbench/clients/internal/load"
)

// part is what one of several parts of a swarm has: a host, or a worker of it.
type part struct {
	open     int // connections
	capacity int // the most that it may have
}

// onHost returns a host's part of a command. A host does not know how many
// connections the others have open, and takes all hosts to have all of theirs.
func onHost(c control.Command, host, hosts, connections int, traits load.Traits) load.Job {
	parts := make([]part, hosts)
	for i := range parts {
		n := share(connections, i, hosts)
		parts[i] = part{open: n, capacity: n}
	}
	jobs, _ := divide(load.Job{Command: c, Hosts: hosts, First: true}, parts, traits)
	return jobs[host]
}

// divide divides a job among parts. atOnce is the number of parts that may work at the same time: for a load that opens connections until there are
// enough, a window smaller than the number of parts allows only so many. A load in which all
// connections take part needs all parts at once, each with a window of at least 1.
func divide(whole load.Job, parts []part, traits load.Traits) (jobs []load.Job, atOnce int) {
	active := traits.Active
	n := len(parts)
	atOnce = n
	if whole.Window > 0 && !active {
		atOnce = min(n, whole.Window)
	}
	connections := divideConnections(whole.Connections, parts, active)
	inFlight := divideInFlight(whole.InFlight, connections)
	sum, first := 0, -1
	for i, c := range connections {
		if sum += c; c > 0 && first < 0 {
			first = i
		}
	}
	jobs = make([]load.Job, n)
	for i := range jobs {
		job := whole
		job.Config = nil
		job.Connections = connections[i]
		job.Window = share(whole.Window, i%atOnce, atOnce)
		if active && whole.Window > 0 {
			job.Window = max(1, job.Window)
		}
		job.InFlight = inFlight[i]
		job.Workers, job.All = n, whole.Connections
		job.First = whole.First && i == first
		if traits.Common {
			job.Offset = 0
		} else if active {
			job.RatePerSecond *= float64(connections[i]) / float64(max(sum, 1))
			job.Offset = (float64(i) + whole.Offset) / float64(n)
		} else {
			job.RatePerSecond /= float64(atOnce)
			job.Offset = (float64(i%atOnce) + whole.Offset) / float64(atOnce)
		}
		jobs[i] = job
	}
	return jobs, atOnce
}

// divideConnections divides a number of connections: those that take part, or those
// to be open at the end. Where more are to be open than are, the parts with the fewest
// open more; otherwise those with the most give first.
func divideConnections(total int, parts []part, active bool) []int {
	least, most := make([]int, len(parts)), make([]int, len(parts))
	open := 0
	for i, p := range parts {
		most[i] = p.open
		open += p.open
	}
	switch {
	case active && (total == 0 || total > open):
		total = open
	case !active && total > open:
		for i, p := range parts {
			least[i], most[i] = p.open, p.capacity
		}
	}
	return level(least, most, total)
}

// divideInFlight divides outstanding messages among the parts that have connections.
func divideInFlight(total int, connections []int) []int {
	holders := 0
	for _, c := range connections {
		if c > 0 {
			holders++
		}
	}
	inFlight := make([]int, len(connections))
	k := 0
	for i, c := range connections {
		if c > 0 {
			inFlight[i] = share(total, k, holders)
			k++
		}
	}
	return inFlight
}

// share is the part that one of several gets of n: parts differ by one at most,
// and the first ones are the larger, as the shares of [addresses.Tuples] are.
func share(n, part, parts int) int {
	s := n / parts
	if part < n%parts {
		s++
	}
	return s
}

// level divides a total into parts that are as equal as their least and most allow. Of
// those that could have one more, the first ones do.
func level(least, most []int, total int) []int {
	sum := func(level int) (sum int) {
		for i := range least {
			sum += min(max(level, least[i]), most[i])
		}
		return sum
	}
	height := 0
	for step := 1 << 30; step > 0; step /= 2 {
		if sum(height+step) <= total {
			height += step
		}
	}
	left := total - sum(height)
	parts := make([]int, len(least))
	for i := range parts {
		parts[i] = min(max(height, least[i]), most[i])
		if left > 0 && least[i] <= height && height < most[i] {
			parts[i]++
			left--
		}
	}
	return parts
}
