package claims

import (
	"fmt"
	"math"
	"strings"

	"connbench/harness/cause"
	"connbench/harness/figure"
	"connbench/harness/limits"
	"connbench/harness/phase/connections"
	"connbench/harness/phase/loads"
	"connbench/harness/suite"
	"connbench/harness/table"
)

// Claim is a sentence that people repeat, and what became of it here.
type Claim struct {
	Claim string `json:"claim"`
	// Source says who repeats it, with a link.
	Source string `json:"source"`
	// Truth is what is true of it, with a source for what was not measured.
	Truth string `json:"truth"`
	// Trials are those that it is judged by.
	Trials    []string `json:"trials"`
	Predicted string   `json:"predicted"`
	Measured  string   `json:"measured"`
	Verdict   string   `json:"verdict"`
}

const (
	answer   = "[Stack Overflow, on the theoretical maximum of a Linux box](https://stackoverflow.com/questions/2332741), and its many copies"
	notShown = "not shown by this run"
)

// Judge judges all claims by the outcomes of trials that are valid. What could not be
// measured is said so.
func Judge(o Outcomes) []Claim {
	claims := []Claim{
		o.portsPerServer(), o.descriptors(), o.files(), o.statefulFirewall(),
		o.singleThread(), o.smallMachine(), o.million(), o.memory(),
	}
	for i := range claims {
		for _, name := range claims[i].Trials {
			switch outcome, made := o[name]; {
			case !made:
				claims[i].Predicted, claims[i].Measured, claims[i].Verdict = "", "trial “"+name+"” was not made", notShown
			case !outcome.Trial.Valid:
				claims[i].Predicted, claims[i].Measured, claims[i].Verdict = "", "trial “"+name+"” is invalid", notShown
			}
		}
	}
	return claims
}

func (o Outcomes) portsPerServer() Claim {
	c := Claim{
		Claim:  "“65,536 connections per server”",
		Source: "[answers collected by Joseph Mate](https://josephmate.github.io/2022-04-14-max-connections/)",
		Truth:  "Ports bound the connections of one client address to one address and port of the server; all four identify a connection (RFC 9293, section 3.3.1). Every further address or port, on either side, multiplies them.",
		Trials: []string{ports, twoSources, twoPorts, twoServers, oneCPU},
	}
	c.Predicted = fmt.Sprintf("%s × 1 × 1 × 1 with %s ports (scaled down from 64,512), twice as many with two of anything: %s, %s, %s",
		o.ceiling(ports), table.Count(portsEach), o.ceiling(twoSources), o.ceiling(twoPorts), o.ceiling(twoServers))
	c.Measured = fmt.Sprintf("%s; with two client addresses %s, two server ports %s, two server addresses %s; and %s on one server host at a time",
		o.reached(ports), o.reached(twoSources), o.reached(twoPorts), o.reached(twoServers), o.reached(oneCPU))
	doubled := true
	for _, name := range []string{twoSources, twoPorts, twoServers} {
		doubled = doubled && o.peak(name) == 2*o.peak(ports) && o.reason(name) == cause.ClientPorts.Reason
	}
	c.Verdict = verdict(doubled && o.peak(ports) == portsEach && o.peak(oneCPU) > quotedPorts, "false: it is per client address and server port")
	return c
}

func (o Outcomes) descriptors() Claim {
	c := Claim{
		Claim:  "“The real limit is file descriptors”",
		Source: answer,
		Truth:  "Each socket is a descriptor, and RLIMIT_NOFILE bounds those of a process (getrlimit(2)): it is what stops an untuned server. It can be raised, or met by more processes, and then another limit comes first.",
		Trials: []string{fewFiles, oneProcess, oneCPU},
	}
	c.Predicted = fmt.Sprintf("%s for a process with %s descriptors, %s with this machine's limit", o.ceiling(fewFiles), table.Count(defaultFiles), o.ceiling(oneProcess))
	c.Measured = fmt.Sprintf("%s and %s (both stopped by %s); %s with %d processes, by none",
		o.reached(fewFiles), o.reached(oneProcess), o.reason(fewFiles), o.reached(oneCPU), o[oneCPU].Trial.ServerProcesses)
	c.Verdict = verdict(o.reason(fewFiles) == cause.ServerDescriptors.Reason && o.reason(oneProcess) == cause.ServerDescriptors.Reason && o.peak(oneCPU) > o.peak(oneProcess),
		"true of one process with default limits, not of a machine")
	return c
}

func (o Outcomes) files() Claim {
	c := Claim{
		Claim:  "“The maximum is about 300K files”",
		Source: answer,
		Truth:  "The kernel sets fs.file-max to a tenth of the memory in KiB (files_maxfiles_init in its fs/file_table.c), 300,000 on a machine of 3 GB; systemd has raised it as far as it goes since version 240 of 2018, and it never held for root (proc_sys_fs(5)).",
		Trials: []string{firewall},
	}
	open := 2 * o.peak(firewall)
	for _, limit := range o[firewall].Prediction.Limits {
		if limit.Where == "fs.file-max" {
			c.Predicted = fmt.Sprintf("fs.file-max is %s here: %s", limit.Value, limit.How)
		}
	}
	c.Measured = fmt.Sprintf("%s sockets of %s connections were open at a time, both ends on this kernel", table.Count(open), o.reached(firewall))
	c.Verdict = verdict(open > quotedFiles, "outdated")
	return c
}

func (o Outcomes) statefulFirewall() Claim {
	c := Claim{
		Claim:  "“A stateful firewall in the middle has its own limit”",
		Source: "[those who run push servers, of cloud security groups](https://news.ycombinator.com/item?id=21222913)",
		Truth:  "It keeps an entry for each connection in a table of nf_conntrack_max (nf_conntrack-sysctl.rst), and drops the packets of those for which there is none. The client sees a timeout, the server nothing.",
		Trials: []string{firewall, leanMemory},
	}
	c.Predicted = o.ceiling(firewall) + ", which is nf_conntrack_max less what is in use"
	c.Measured = fmt.Sprintf("%s, stopped by %s", o.reached(firewall), o.reason(firewall))
	with, without := o.bytes(firewall), o.bytes(leanMemory)
	if with != nil && without != nil {
		c.Measured += fmt.Sprintf("; a connection took %s bytes of the kernel, and %s without the firewall", bytesPer(with.kernel), bytesPer(without.kernel))
	}
	c.Verdict = verdict(o.reason(firewall) == cause.Conntrack.Reason, "true, on this host as on one in the middle")
	return c
}

func (o Outcomes) singleThread() Claim {
	c := Claim{
		Claim:  "“80K is what a single-threaded server holds”",
		Source: answer,
		Truth:  "A thread limits the work, not the number of connections: idle ones take none of its time. It can serve as many as its messages per second divided by those of each connection.",
		Trials: []string{oneCPU},
	}
	trial := o[oneCPU].Trial
	c.Predicted = fmt.Sprintf("no limit at %s; here %d processes of GOMAXPROCS=1 share one CPU, since RLIMIT_NOFILE lets one have %s", table.Count(boasted), trial.ServerProcesses, perProcess(o[oneCPU]))
	c.Measured = fmt.Sprintf("%s held and answered on one CPU", o.reached(oneCPU))
	most, _ := loads.SaturatedRate.Value(&trial)
	if most != nil && *most > 0 {
		c.Measured += fmt.Sprintf("; it carries %s messages a second at most, one from each connection every %.1f s", table.Number(*most), float64(o.peak(oneCPU)) / *most)
	}
	c.Verdict = verdict(o.peak(oneCPU) >= boasted && most != nil, "no limit: one core held them; what is limited is the message rate")
	return c
}

func (o Outcomes) smallMachine() Claim {
	c := Claim{
		Claim:  "“70K on a small VM”",
		Source: "figures of this kind, such as [100K on a t2.medium](https://nacho-martin.com/posts/benchmarking-carotene)",
		Truth:  "It is arithmetic: memory that is free, divided by what a connection takes of kernel and program. The size of the VM says nothing without the server's model.",
		Trials: []string{leanMemory, plainMemory, smallHost},
	}
	c.Predicted = fmt.Sprintf("%s with 512 MiB to spare and both ends on this kernel (scaled down). By the same bytes, and half of the kernel's for the server's end, 70,000 take %s in the goroutine model and %s in the leanest",
		o.ceiling(smallHost), o.need(plainMemory, quotedSmall), o.need(leanMemory, quotedSmall))
	c.Measured = fmt.Sprintf("%s, stopped by %s", o.reached(smallHost), o.reason(smallHost))
	if !o.asPredicted(smallHost, 0.1) {
		c.Measured += "; that is further from the prediction than 10 %: other programs took or freed memory meanwhile"
	}
	c.Verdict = verdict(o.reason(smallHost) == cause.MemoryReserve.Reason && o.asPredicted(smallHost, 0.1) && o.bytes(plainMemory) != nil && o.bytes(leanMemory) != nil,
		fmt.Sprintf("arithmetic, and no limit: %s or %s, by the server's model", o.need(plainMemory, quotedSmall), o.need(leanMemory, quotedSmall)))
	return c
}

func (o Outcomes) million() Claim {
	c := Claim{
		Claim:  "“A million is mostly kernel tuning and memory while idle, and the work is in the messages”",
		Source: "[1m-go-websockets](https://github.com/eranyanay/1m-go-websockets) and [websocket.org](https://websocket.org/guides/connection-limits)",
		Truth:  "The limits that a million breaks are settings and memory; what costs CPU is what moves. Scaled down to 80,000; the million itself is in the published runs.",
		Trials: []string{oneCPU},
	}
	prediction := o[oneCPU].Prediction
	c.Predicted = fmt.Sprintf("a million idle ones would break here: %s; active or closed all at once: %s",
		names(prediction.Exceeded(quotedMillion)), names(prediction.Cautions(quotedMillion)))
	trial := o[oneCPU].Trial
	idle, _ := connections.IdleCPU.Value(&trial)
	each, _ := loads.EchoCPU.Value(&trial)
	rate, _ := loads.EchoRate.Value(&trial)
	if idle != nil && each != nil && rate != nil {
		cores := *each * *rate / 1e6
		c.Measured = fmt.Sprintf("%s connections take %s cores while idle, and %.2f at %s messages a second (%.0f µs each)", o.reached(oneCPU), few(*idle), cores, table.Number(*rate), *each)
		c.Verdict = verdict(*idle < cores/10, "true")
	} else {
		c.Verdict = notShown
	}
	return c
}

func (o Outcomes) memory() Claim {
	c := Claim{
		Claim:  "“Each connection needs memory in kernel and application”",
		Source: "[Stack Overflow, on how many socket connections are possible](https://stackoverflow.com/questions/651665)",
		Truth:  "The kernel's part is the same whatever the server is written in. The application's differs from model to model by two orders of magnitude, as the published runs show, and is the smaller one in most.",
		Trials: []string{leanMemory, plainMemory},
	}
	c.Predicted = "some of both; how much is measured, not predicted"
	var measured []string
	both := true
	for _, name := range c.Trials {
		per := o.bytes(name)
		if per == nil {
			both = false
			continue
		}
		measured = append(measured, fmt.Sprintf("%s: %s bytes of the server, %s of the kernel for both ends", o[name].Trial.Variant, bytesPer(per.server), bytesPer(per.kernel)))
	}
	c.Measured = strings.Join(measured, "; ")
	c.Verdict = verdict(both, "true")
	return c
}

func verdict(shown bool, words string) string {
	if !shown {
		return notShown
	}
	return words
}

// reached is the number of connections of a trial that answered, peak that of those
// open at the end of its ramp.
func (o Outcomes) reached(name string) string { return table.Count(o[name].Trial.Connections.Reached) }
func (o Outcomes) peak(name string) int       { return o[name].Trial.Connections.Peak }
func (o Outcomes) reason(name string) string  { return o[name].Trial.Stop.Reason }

func (o Outcomes) ceiling(name string) string {
	if ceiling := o[name].Prediction.Ceiling; ceiling != nil {
		return table.Count(int(*ceiling))
	}
	return "no known number"
}

func perProcess(o suite.Outcome) string {
	if o.Prediction.PerProcess == nil {
		return "any number"
	}
	return table.Count(int(*o.Prediction.PerProcess))
}

// asPredicted says whether a trial's ramp ended within a share of its ceiling.
func (o Outcomes) asPredicted(name string, within float64) bool {
	ceiling := o[name].Prediction.Ceiling
	return ceiling != nil && math.Abs(float64(o.peak(name))-float64(*ceiling)) <= within*float64(*ceiling)
}

// few writes a number of cores. The clock shows no more than thousandths.
func few(cores float64) string {
	if cores < 0.001 {
		return "less than 0.001"
	}
	return fmt.Sprintf("%.3f", cores)
}

// memory is what a connection took, in bytes.
type memory struct{ server, kernel float64 }

// bytes is what a connection took in a trial, nil where that is not known or not
// believed. While the kernel still frees what others took, it may seem to be less than
// nothing.
func (o Outcomes) bytes(name string) *memory {
	outcome, made := o[name]
	if !made {
		return nil
	}
	server, _ := figure.RSS.Value(&outcome.Trial)
	kernel, _ := figure.Kernel.Value(&outcome.Trial)
	if server == nil || kernel == nil || *server <= 0 || *kernel <= 0 {
		return nil
	}
	return &memory{*server, *kernel}
}

func names(list []limits.Limit) string {
	var names []string
	for _, limit := range list {
		names = append(names, limit.Name)
	}
	if len(names) == 0 {
		return "no limit that is known"
	}
	return table.List(names)
}

// bytesPer writes bytes per connection.
var bytesPer = table.Value(figure.UnitBytes)

// need is the memory of n connections at the server's end: half of what the kernel
// took for both.
func (o Outcomes) need(name string, n int) string {
	per := o.bytes(name)
	if per == nil {
		return "an unknown amount"
	}
	return table.Memory(int64(float64(n) * (per.server + per.kernel/2)))
}
