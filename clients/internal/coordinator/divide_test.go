package coordinator

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/load"
)

func TestShare(t *testing.T) {
	for _, parts := range []int{1, 2, 3, 7, 54} {
		for n := range 200 {
			sum := 0
			for i := range parts {
				s := share(n, i, parts)
				sum += s
				if s < n/parts || s > n/parts+1 || i > 0 && s > share(n, i-1, parts) {
					t.Fatalf("part %d of %d of %d is %d", i, parts, n, s)
				}
			}
			if sum != n {
				t.Fatalf("%d parts of %d come to %d", parts, n, sum)
			}
		}
	}
}

func TestLevel(t *testing.T) {
	for _, c := range []struct {
		least, most []int
		total       int
		want        []int
	}{
		{nil, []int{50, 30}, 70, []int{40, 30}},
		{nil, []int{50, 40}, 80, []int{40, 40}},
		{nil, []int{5, 5, 5}, 0, []int{0, 0, 0}},
		{nil, []int{5, 5, 5}, 7, []int{3, 2, 2}},
		{nil, []int{5, 0, 1}, 100, []int{5, 0, 1}},
		{nil, []int{5, 0, 1}, 6, []int{5, 0, 1}},
		{nil, []int{1_000_000}, 999_999, []int{999_999}},
		{[]int{50, 40}, []int{50, 50}, 95, []int{50, 45}},
		{[]int{3, 9, 0}, []int{10, 10, 10}, 15, []int{3, 9, 3}},
		{[]int{3, 9, 0}, []int{10, 10, 10}, 18, []int{5, 9, 4}},
	} {
		least := c.least
		if least == nil {
			least = make([]int, len(c.most))
		}
		if got := level(least, c.most, c.total); !slices.Equal(got, c.want) {
			t.Errorf("%d in all, from %v to %v: %v, want %v", c.total, least, c.most, got, c.want)
		}
	}
}

func connectionsOf(jobs []load.Job) (list []int) {
	for _, job := range jobs {
		list = append(list, job.Connections)
	}
	return list
}

// Connections to be open at the end are exact, whatever was lost: nobody closes to
// make room for another, and nobody opens when enough are open.
func TestDivideTarget(t *testing.T) {
	parts := []part{{50, 50}, {40, 50}, {10, 50}}
	for total, want := range map[int][]int{
		150: {50, 50, 50},
		120: {50, 40, 30},
		100: {50, 40, 10},
		80:  {35, 35, 10},
		0:   {0, 0, 0},
	} {
		jobs, _ := divide(load.Job{Command: control.Command{Connections: total}}, parts, load.Traits{})
		if got := connectionsOf(jobs); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", total, got, want)
		}
	}
}

// Those that take part are open ones, 0 is all, and the rate is theirs.
func TestDivideActive(t *testing.T) {
	parts := []part{{50, 50}, {0, 50}, {10, 50}}
	for total, want := range map[int][]int{
		0:   {50, 0, 10},
		100: {50, 0, 10},
		30:  {20, 0, 10},
		3:   {2, 0, 1},
	} {
		command := control.Command{Connections: total, RatePerSecond: 600, InFlight: 3}
		jobs, atOnce := divide(load.Job{Command: command}, parts, load.Traits{Active: true})
		if got := connectionsOf(jobs); !slices.Equal(got, want) || atOnce != 3 {
			t.Errorf("%d: %v, %d at once; want %v, 3", total, got, atOnce, want)
		}
		sum := want[0] + want[2]
		for i, job := range jobs {
			if rate := 600 * float64(want[i]) / float64(sum); math.Abs(job.RatePerSecond-rate) > 1e-9 {
				t.Errorf("%d: rate %d is %g, want %g", total, i, job.RatePerSecond, rate)
			}
			if inFlight := []int{2, 0, 1}[i]; job.InFlight != inFlight {
				t.Errorf("%d: %d are in flight in part %d, want %d", total, job.InFlight, i, inFlight)
			}
		}
	}
}

// Where all connections take part, all parts work at a time, with a window of at least 1 each.
func TestDivideActiveWindow(t *testing.T) {
	parts := []part{{10, 10}, {10, 10}, {10, 10}}
	for window, want := range map[int][]int{7: {3, 2, 2}, 2: {1, 1, 1}, 0: {0, 0, 0}} {
		jobs, atOnce := divide(load.Job{Command: control.Command{Window: window}}, parts, load.Traits{Active: true})
		for i, job := range jobs {
			if job.Window != want[i] || atOnce != 3 {
				t.Errorf("window %d: part %d has %d, %d at once", window, i, job.Window, atOnce)
			}
		}
	}
}

// A window smaller than the number of parts lets only so many work at a time.
func TestDivideWindow(t *testing.T) {
	parts := []part{{0, 10}, {0, 10}, {0, 10}}
	for window, want := range map[int][]int{7: {3, 2, 2}, 3: {1, 1, 1}, 2: {1, 1, 1}, 0: {0, 0, 0}} {
		command := control.Command{Connections: 30, Window: window, RatePerSecond: 12}
		jobs, atOnce := divide(load.Job{Command: command}, parts, load.Traits{})
		wantAtOnce := 3
		if window == 2 {
			wantAtOnce = 2
		}
		for i, job := range jobs {
			if job.Window != want[i] || job.RatePerSecond != 12/float64(wantAtOnce) {
				t.Errorf("window %d: part %d has %d and %g/s", window, i, job.Window, job.RatePerSecond)
			}
		}
		if atOnce != wantAtOnce {
			t.Errorf("window %d: %d at once, want %d", window, atOnce, wantAtOnce)
		}
	}
}

// Over several hosts and their workers nothing is lost or done twice, and the
// messages of all are due at even distances.
func TestDivideOverHosts(t *testing.T) {
	const hosts, workers, capacity = 3, 4, 101
	command := control.Command{Connections: 50, RatePerSecond: 1000, InFlight: 2, Window: 30}
	var active, target, inFlight, window int
	var rate float64
	var due []float64
	for host := range hosts {
		var parts []part
		n := share(capacity, host, hosts)
		for w := range workers {
			parts = append(parts, part{share(n, w, workers), share(n, w, workers)})
		}
		jobs, _ := divide(onHost(command, host, hosts, capacity, load.Traits{Active: true}), parts, load.Traits{Active: true})
		for _, job := range jobs {
			active += job.Connections
			inFlight += job.InFlight
			rate += job.RatePerSecond
		}
		even, _ := divide(onHost(control.Command{RatePerSecond: 1200}, host, hosts, hosts*workers, load.Traits{Active: true}), equal(workers), load.Traits{Active: true})
		for _, job := range even {
			due = append(due, job.Offset/job.RatePerSecond)
		}
		for i := range parts {
			parts[i].open = 0
		}
		jobs, _ = divide(onHost(command, host, hosts, capacity, load.Traits{}), parts, load.Traits{})
		for _, job := range jobs {
			target += job.Connections
			window += job.Window
		}
	}
	if active != 50 || target != 50 || inFlight != 2 || window != 30 || math.Abs(rate-1000) > 1e-9 {
		t.Errorf("%d active, %d to be open, %d in flight, window %d, %g/s", active, target, inFlight, window, rate)
	}
	slices.Sort(due)
	for k, at := range due {
		if want := float64(k) / 1200; math.Abs(at-want) > 1e-12 {
			t.Errorf("message %d is due after %g s, want %g", k, at, want)
		}
	}
}

func equal(workers int) (parts []part) {
	for range workers {
		parts = append(parts, part{1, 1})
	}
	return parts
}

// In a load in which one connection sends, all workers have its schedule, and one of all hosts
// sends.
func TestCommonSchedule(t *testing.T) {
	traits := load.Traits{Active: true, Common: true}
	var senders []string
	for host := range 2 {
		whole := onHost(control.Command{RatePerSecond: 50}, host, 2, 10, traits)
		jobs, _ := divide(whole, []part{{open: 0, capacity: 5}, {open: 5, capacity: 5}, {open: 5, capacity: 5}}, traits)
		for i, job := range jobs {
			if job.RatePerSecond != 50 || job.Offset != 0 || job.Hosts != 2 {
				t.Errorf("worker %d of host %d has %v a second, offset %v, of %d hosts", i, host, job.RatePerSecond, job.Offset, job.Hosts)
			}
			if job.First {
				senders = append(senders, fmt.Sprint(host, i))
			}
		}
	}
	if !slices.Equal(senders, []string{"0 1"}) {
		t.Errorf("these send: %v", senders)
	}
}
