// Package sizing works out, from what a run measured, what a number of
// connections would need, or how many a machine would hold. It is arithmetic on
// medians and their intervals, and says where it goes beyond what was measured.
package sizing

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"connbench/clients/addresses"
	"connbench/harness/figure"
	"connbench/harness/lab/paper"
	"connbench/harness/record"
	"connbench/harness/stats"
	"connbench/harness/table"
)

// Need is the question. One of Connections and MemoryBytes is given.
type Need struct {
	Connections int
	// MemoryBytes is what servers and kernel may take of a machine's memory.
	MemoryBytes float64
	// MessagesPerSecond are echoes over all connections, 0: idle; MessageBytes is
	// the payload of each, 0: that of the run.
	MessagesPerSecond float64
	MessageBytes      int
	// Cores is what servers may use: it bounds the messages. 0: not asked.
	Cores float64
	// Lab is where it is asked for, nil for one server host and any clients.
	Lab *paper.Lab
}

// Interval is a median with the bounds of its 95 % interval, or of the rounds
// where they were fewer than six.
type Interval struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// Estimate is the answer for one variant. What the run did not measure, or what is not
// believed, is nil.
type Estimate struct {
	Variant string `json:"variant"`
	// Model is its I/O model.
	Model string `json:"model"`
	// Waived says what it does not do that all servers should do, and whether it has no kernel
	// sockets; "" if there is nothing.
	Waived string `json:"waived,omitempty"`
	// Device is the kind of device over which it speaks TCP itself, "" where it has kernel
	// sockets.
	Device string `json:"device,omitempty"`
	// Run is the name of the run that measured the variant, "" where all estimates are of
	// one run.
	Run string `json:"run,omitempty"`
	// Doubt says why figures that the estimate needs are not believed, "" where they are.
	Doubt string `json:"doubt,omitempty"`
	// FirstLimit is the limit of this machine, or of the lab, that stops the variant first,
	// and where; "" where neither was asked for, or it is not known.
	FirstLimit string `json:"first_limit,omitempty"`
	// Hosts is what the lab's hosts need, nil where no lab was asked for.
	Hosts *Hosts `json:"hosts,omitempty"`
	// Connections is the number asked for, or that fits into the memory.
	Connections *Interval `json:"connections"`
	// BytesPerConnection is the server's resident memory and the server's share of
	// the kernel's.
	BytesPerConnection *Interval `json:"bytes_per_connection"`
	// MemoryBytes is what the connections take above an empty server.
	MemoryBytes *Interval `json:"memory_bytes"`
	// Cores is the CPU of the servers at the rate asked for.
	Cores *Interval `json:"cores"`
	// MessagesPerSecond is what the cores asked about carry.
	MessagesPerSecond *Interval `json:"messages_per_second"`
	// Descriptors is what the server processes must be allowed together, Pairs how
	// many pairs of a client's address and a server's address and port the
	// connections need at least; 0 where the clients' port range is not known.
	Descriptors int `json:"descriptors"`
	Pairs       int `json:"pairs"`
	// Measured is the largest number of connections that the run held. Beyond is the
	// estimate as a multiple of it; above 1 it is extrapolated. MeasuredRate and
	// BeyondRate are the same for messages per second.
	Measured     int     `json:"measured"`
	Beyond       float64 `json:"beyond"`
	MeasuredRate float64 `json:"measured_rate"`
	BeyondRate   float64 `json:"beyond_rate"`
}

// Answer is what a run says about a need.
type Answer struct {
	Estimates []Estimate `json:"estimates"`
	// PortsPerAddress is how many connections one client address can have to one
	// address and port of the server, by the port range of the lab's or the run's clients,
	// and DescriptorsPerProcess the run's limit of open files; 0 where not known.
	PortsPerAddress       int `json:"ports_per_address"`
	DescriptorsPerProcess int `json:"descriptors_per_process"`
	// Assumptions say what the figures rest on.
	Assumptions []string `json:"assumptions"`

	basis basis
}

// Of answers a need from a run.
func Of(run *record.Run, need Need) Answer {
	return answer(run, figure.Variants(run), need)
}

// answer answers a need from variants of a run.
func answer(run *record.Run, variants []figure.Variant, need Need) Answer {
	a := Answer{Estimates: []Estimate{}, PortsPerAddress: cmp.Or(labPorts(need.Lab), ports(run)), DescriptorsPerProcess: descriptors(run)}
	kernelShare := 1.0
	if run.BothEnds() {
		kernelShare = 0.5
	}
	rounds := 0
	for _, v := range variants {
		if len(v.Valid) > 0 {
			rounds = max(rounds, len(v.Valid))
			a.Estimates = append(a.Estimates, estimate(v, need, kernelShare, a.PortsPerAddress))
		}
	}
	a.basis = basisOf(run, rounds)
	a.Assumptions = a.basis.assumptions(need)
	return a
}

// Source is a variant as a run measured it.
type Source struct {
	Run     *record.Run
	Variant figure.Variant
}

// OfEach answers a need for each of several variants, from the first of its sources that
// measured all that the need asks for. The estimates are in order of their bytes per
// connection.
func OfEach(sources []Source, need Need) Answer {
	sum := Answer{Estimates: []Estimate{}}
	known := map[string]int{}
	for _, source := range sources {
		one := answer(source.Run, []figure.Variant{source.Variant}, need)
		if len(one.Estimates) == 0 {
			continue
		}
		e := one.Estimates[0]
		e.Run = filepath.Base(source.Run.Dir)
		at, before := known[e.Variant]
		switch {
		case !before:
			known[e.Variant] = len(sum.Estimates)
			sum.Estimates = append(sum.Estimates, e)
		case !sum.Estimates[at].answers(need) && e.answers(need):
			sum.Estimates[at] = e
		default:
			continue
		}
		if sum.PortsPerAddress == 0 || one.PortsPerAddress > 0 && one.PortsPerAddress < sum.PortsPerAddress {
			sum.PortsPerAddress = one.PortsPerAddress // the pairs are those of the narrowest range
		}
		sum.DescriptorsPerProcess = cmp.Or(sum.DescriptorsPerProcess, one.DescriptorsPerProcess)
		sum.basis = sum.basis.add(one.basis)
	}
	sum.Assumptions = sum.basis.assumptions(need)
	slices.SortStableFunc(sum.Estimates, byMemory)
	return sum
}

// answers is true where the estimate has all that the need asks for.
func (e Estimate) answers(need Need) bool {
	return e.BytesPerConnection != nil && (need.MessagesPerSecond == 0 || e.Cores != nil) && (need.Cores == 0 || e.MessagesPerSecond != nil) &&
		(need.Lab == nil || e.Hosts.ClientBytes != nil)
}

// byMemory orders estimates by their bytes per connection, those without last, and after
// all of these those that have no kernel sockets.
func byMemory(a, b Estimate) int {
	bytes := func(e Estimate) float64 {
		if e.BytesPerConnection == nil {
			return math.Inf(1)
		}
		return e.BytesPerConnection.Median
	}
	return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(bytes(a), bytes(b)))
}

// Fitting are the estimates that fit into a machine's memory and cores, by the upper ends of
// their intervals, the one of the least memory first. Those without kernel sockets are no
// answer: they need a device, and do not come with what a kernel's TCP brings.
func (a Answer) Fitting(need Need, memoryBytes, cores float64) []Estimate {
	fits := slices.DeleteFunc(slices.Clone(a.Estimates), func(e Estimate) bool {
		return e.Device != "" || !e.answers(need) || e.MemoryBytes == nil || e.MemoryBytes.High > memoryBytes || e.Cores != nil && e.Cores.High > cores ||
			need.Lab != nil && !e.Hosts.fits(need.Lab)
	})
	slices.SortStableFunc(fits, byMemory)
	return fits
}

// estimate answers a need for one variant.
func estimate(v figure.Variant, need Need, kernelShare float64, ports int) Estimate {
	e := Estimate{Variant: v.String(), Model: v.Model, Waived: v.Note(), Device: v.Device}
	for _, trial := range v.Valid {
		e.Measured = max(e.Measured, trial.Connections.Reached)
	}
	if n := float64(need.Connections); n > 0 {
		e.Connections = &Interval{n, n, n}
	}
	e.BytesPerConnection, e.Doubt = BytesPer(v, kernelShare)
	if bytes := e.BytesPerConnection; bytes != nil {
		if n := float64(need.Connections); n > 0 {
			e.MemoryBytes = &Interval{n * bytes.Median, n * bytes.Low, n * bytes.High}
		} else if bytes.Low > 0 {
			e.Connections = &Interval{math.Floor(need.MemoryBytes / bytes.Median), math.Floor(need.MemoryBytes / bytes.High), math.Floor(need.MemoryBytes / bytes.Low)}
		}
	}
	if e.Connections != nil {
		n := int(e.Connections.Median)
		if e.Device == "" {
			e.Descriptors = n
		}
		if ports > 0 {
			e.Pairs = (n + ports - 1) / ports
		}
		if e.Measured > 0 {
			e.Beyond = e.Connections.Median / float64(e.Measured)
		}
	}
	e.carry(pricesOf(v), need)
	if need.Lab != nil {
		e.Hosts = hosts(v, e, need, kernelShare)
		e.FirstLimit = e.firstLimit(need.Lab)
	}
	return e
}

// BytesPer is what a connection takes of memory: the server's own as it runs, and a
// share of the kernel's. Bounds are added as if both were off to the same side. It is
// nil where one of the two was not measured or is not believed; doubt then says why.
func BytesPer(v figure.Variant, kernelShare float64) (bytes *Interval, doubt string) {
	user, kernel := v.Summary(figure.RSS), v.Summary(figure.Kernel)
	// A server cannot run in less than its connections keep, though a short ramp may fit
	// into what the process had taken before.
	if settled := v.Summary(figure.Must(figure.RSS.Settled)); settled.N() > 0 && (user.N() == 0 || settled.Median > user.Median) {
		user = settled
	}
	if user.N() == 0 || kernel.N() == 0 {
		return nil, doubts(v, figure.RSS, figure.Kernel)
	}
	sum := func(of func(stats.Summary) float64) float64 { return of(user) + kernelShare*of(kernel) }
	return &Interval{
		Median: sum(func(s stats.Summary) float64 { return s.Median }),
		Low:    sum(func(s stats.Summary) float64 { return s.Low }),
		High:   sum(func(s stats.Summary) float64 { return s.High }),
	}, ""
}

// doubts says why figures are not believed.
func doubts(v figure.Variant, figures ...figure.Figure) string {
	var list []string
	for _, f := range figures {
		if doubt := v.Doubt(f); doubt != "" {
			list = append(list, f.FullTitle()+": "+doubt)
		}
	}
	return strings.Join(list, "; ")
}

// price is the CPU time of a message, in microseconds, at a rate of messages per second.
type price struct {
	us   Interval
	rate float64
}

// pricesOf are the prices that a run has measured of the server, by rising rate.
func pricesOf(v figure.Variant) []price {
	return prices(v, func(f figure.Figure) *Interval {
		us := v.Summary(f)
		if us.N() == 0 {
			return nil
		}
		return &Interval{us.Median, us.Low, us.High}
	})
}

// prices are those that of finds for figures that are prices, by rising rate.
func prices(v figure.Variant, of func(figure.Figure) *Interval) []price {
	var list []price
	for _, f := range figure.All() {
		if f.Price == "" {
			continue
		}
		us, rate := of(f), v.Summary(figure.Must(f.Price))
		if us != nil && us.Low > 0 && rate.N() > 0 && rate.Median > 0 {
			list = append(list, price{*us, rate.Median})
		}
	}
	slices.SortFunc(list, func(a, b price) int { return cmp.Compare(a.rate, b.rate) })
	return list
}

// priceAt is the price at a rate. Between two rates that were measured it is taken to
// follow a power of the rate, outside of all of them to stay.
func priceAt(prices []price, rate float64) Interval {
	after := slices.IndexFunc(prices, func(p price) bool { return p.rate >= rate })
	switch after {
	case -1:
		return prices[len(prices)-1].us
	case 0:
		return prices[0].us
	}
	a, b := prices[after-1], prices[after]
	share := math.Log(rate/a.rate) / math.Log(b.rate/a.rate)
	between := func(a, b float64) float64 { return a * math.Pow(b/a, share) }
	return Interval{between(a.us.Median, b.us.Median), between(a.us.Low, b.us.Low), between(a.us.High, b.us.High)}
}

// carry says what CPU messages need, or how many messages cores carry.
func (e *Estimate) carry(prices []price, need Need) {
	if len(prices) == 0 {
		return
	}
	e.MeasuredRate = prices[len(prices)-1].rate
	if need.MessagesPerSecond > 0 {
		us, r := priceAt(prices, need.MessagesPerSecond), need.MessagesPerSecond/1e6
		e.Cores = &Interval{us.Median * r, us.Low * r, us.High * r}
		e.BeyondRate = need.MessagesPerSecond / e.MeasuredRate
	}
	if need.Cores > 0 { // all of them busy: as at the highest rate
		us, c := priceAt(prices, math.Inf(1)), need.Cores*1e6
		e.MessagesPerSecond = &Interval{c / us.Median, c / us.High, c / us.Low}
		e.BeyondRate = e.MessagesPerSecond.Median / e.MeasuredRate
	}
}

// ports is the number of source ports of the clients, 0 where it is not known.
func ports(run *record.Run) int {
	for _, host := range run.Manifest.Hosts {
		if !slices.Contains(host.Roles, record.RoleClient) {
			continue
		}
		usable, err := addresses.KernelPorts(host.Sysctls["net.ipv4.ip_local_port_range"], host.Sysctls["net.ipv4.ip_local_reserved_ports"])
		if err == nil {
			return int(usable.Len())
		}
	}
	return 0
}

// descriptors is the limit of open files of the server's host, 0 where it is not
// known.
func descriptors(run *record.Run) int {
	for _, host := range run.Manifest.Hosts {
		if slices.Contains(host.Roles, record.RoleServer) {
			n, err := strconv.Atoi(host.Limits["nofile_hard"])
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// measuredPayload is the payload of the messages whose price a run has measured, in
// bytes, and the phases that measured it.
func measuredPayload(run *record.Run) (bytes int, phases []string) {
	for _, f := range figure.All() {
		if f.Price == "" {
			continue
		}
		for i := range run.Trials {
			for name, load := range run.Trials[i].Loads() {
				if name == f.Phase && run.Trials[i].Valid && !slices.Contains(phases, name) {
					bytes, phases = max(bytes, load.PayloadBytes), append(phases, name)
				}
			}
		}
	}
	return bytes, phases
}

// basis is what the estimates of a run rest on.
type basis struct {
	bothEnds bool // server and clients shared a kernel
	payload  int  // of the messages whose price was measured, in bytes
	phases   []string
	rounds   int // 0 for no run
}

func basisOf(run *record.Run, rounds int) basis {
	b := basis{bothEnds: run.BothEnds(), rounds: rounds}
	b.payload, b.phases = measuredPayload(run)
	return b
}

// add is the basis of the estimates of both.
func (b basis) add(other basis) basis {
	if b.rounds == 0 {
		return other
	}
	b.bothEnds = b.bothEnds || other.bothEnds
	b.payload = max(b.payload, other.payload)
	for _, phase := range other.phases {
		if !slices.Contains(b.phases, phase) {
			b.phases = append(b.phases, phase)
		}
	}
	b.rounds = min(b.rounds, other.rounds)
	return b
}

// assumptions say what the answer to a need rests on.
func (b basis) assumptions(need Need) []string {
	list := []string{"Memory grows in proportion to connections, as the line through the steps of the ramp does; an empty server comes on top."}
	if b.bothEnds {
		list = append(list, "Where server and clients shared a kernel, half of its memory is taken as the server's.")
	}
	if (need.MessagesPerSecond > 0 || need.Cores > 0) && len(b.phases) > 0 {
		list = append(list, fmt.Sprintf("A message of %d bytes costs the CPU time that it did at the measured rates (%s). Between measured rates, the cost is interpolated by a power law; outside, it stays constant. The CPU time is that of the server's processes, and capacity is proportional to cores.", b.payload, table.List(b.phases)))
		const other = "EXTRAPOLATED: messages of %d bytes were not measured. The CPU is that of %d bytes; expect at %s that much."
		switch {
		case need.MessageBytes > b.payload:
			list = append(list, fmt.Sprintf(other, need.MessageBytes, b.payload, "least"))
		case need.MessageBytes > 0 && need.MessageBytes < b.payload:
			list = append(list, fmt.Sprintf(other, need.MessageBytes, b.payload, "most"))
		}
	}
	if need.Lab != nil {
		list = append(list, "The clients' memory is the swarm's peak, plus as much kernel memory as for the server's end. Their CPU is the swarm's, without interrupts. Connecting takes as long as at the measured rate, on that run's CPUs.")
	}
	if b.rounds < 2 {
		list = append(list, "One round: how far the figures scatter is unknown, so there is no interval.")
	}
	return append(list, "Descriptors leave out the few that each process needs for other things. A pair is a client's address with an address and port of the server. The number of pairs is the least: more addresses, or more ports on either side, give more.")
}
